//! Commands that speak to a running service: keys, tokens, the audit log, and the service itself.

use super::client::Site;
use super::support::process::verify_audit;
use super::*;

#[test]
fn keys_are_added_listed_and_revoked() {
    let site = Site::start();
    let add = ["key", "add", "author.pub", "--label", "acme", "--names", "demo", "acme-*"];
    let added = site.run(&add).ok().stdout;
    assert!(added.starts_with("trusted key ") && added.contains("(acme) for demo, acme-*"), "{added}");
    site.run(&add).failed(4, "A key with this id is registered");
    let keys = site.json(&["key", "list"]);
    assert_eq!((&keys["total"], &keys["keys"][0]["label"]), (&1.into(), &"acme".into()));
    let id = keys["keys"][0]["key_id"].as_str().unwrap().to_owned();
    assert!(site.run(&["key", "list"]).ok().stdout.contains(&format!("{id}  acme")));

    site.run(&["install", "demo-1.0.0.tar.gz"]).ok();
    let revoked = site.json(&["key", "revoke", &id, "--reason", "laptop lost"]);
    assert_eq!(revoked["reason"], "laptop lost");
    assert!(site.run(&["key", "list"]).ok().stdout.contains("laptop lost"));
    let shown = site.run(&["show", "demo"]).ok().stdout;
    assert!(shown.contains("quarantine"), "{shown}");
    site.run(&["update", "demo", "demo-1.1.0.tar.gz"]).failed(5, "The key is revoked");
    site.run(&["key", "revoke", "0000000000000000"]).failed(3, "There is no such key");
}

#[test]
fn keys_that_are_none_are_refused_with_the_fix() {
    let site = Site::start();
    let add = |key: &str, more: &[&str]| site.run(&[&["key", "add", key, "--label", "a"], more].concat());
    add("gone.pub", &["--names", "*"]).failed(2, "nothing at `gone.pub`");
    add("RWnonsense", &["--names", "*"]).failed(5, "not a minisign public key");
    assert_eq!(add("author.pub", &[]).code, 2, "names are required");
    let run = add("author.pub", &["--names", "UPPER!"]).failed(4, "/names/0");
    assert!(run.stderr.contains("fix: "), "{}", run.stderr);
    // The secret key is refused and not repeated.
    let secret = fs::read_to_string(site.folder.path().join("author.key")).unwrap();
    let run = add("author.key", &["--names", "*"]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(!run.stderr.contains(secret.lines().nth(1).unwrap()), "{}", run.stderr);
}

#[test]
fn a_token_is_alone_on_stdout_and_works_until_it_is_revoked() {
    let site = Site::with_plugin();
    let made = site.run(&["token", "create", "--scopes", "read", "--label", "ci", "--expires", "90d"]).ok();
    let token = made.stdout.trim();
    assert!(token.starts_with("pbt_") && token.len() == 47 && !token.contains(char::is_whitespace), "{token}");
    assert!(made.stderr.contains("it is not shown again") && !made.stderr.contains(token), "{}", made.stderr);
    site.run_as(token, &["list"]).ok();
    let run = site.run_as(token, &["uninstall", "demo"]).failed(6, "The token lacks a scope");
    assert!(run.stderr.contains("`install`"), "{}", run.stderr);

    assert_eq!(site.json(&["token", "create", "--scopes", "read", "--rate", "50"])["rate"], 50);
    site.run(&["token", "create", "--scopes", "read", "--rate", "0"]).ok();
    let tokens = site.run(&["token", "list"]).ok().stdout;
    assert!(["RATE", " 50/s ", " no limit ", " - "].iter().all(|text| tokens.contains(text)), "{tokens}");
    assert!(tokens.contains("first token") && tokens.contains("ci") && !tokens.contains(token), "{tokens}");
    let limited = ["token", "create", "--scopes", "read,execute", "--tools", "git.git_status,fs.*", "--read-only"];
    let limited = site.json(&limited);
    assert_eq!(limited["tools"], serde_json::json!(["git.git_status", "fs.*"]));
    let tokens = site.run(&["token", "list"]).ok().stdout;
    assert!(tokens.contains("git.git_status, fs.* (read-only)"), "{tokens}");
    let none = site.run_as(limited["token"].as_str().unwrap(), &["list", "--tools"]).ok();
    assert!(none.stderr.contains("no tools that this token may use"), "{}", none.stderr);
    site.run(&["token", "create", "--scopes", "operate", "--read-only"]).failed(4, "leads around them");
    let list = site.json(&["token", "list"]);
    let entry = list["tokens"].as_array().unwrap().iter().find(|entry| entry["label"] == "ci").unwrap();
    let id = entry["id"].as_str().unwrap();
    let revoked = site.run(&["token", "revoke", id]).ok().stdout;
    assert_eq!(revoked, format!("revoked {id} (ci)\n"));
    site.run_as(token, &["list"]).failed(6, "The token is not valid");
    site.run(&["token", "revoke", id]).ok();
    site.run(&["token", "revoke", "token_x"]).failed(3, "There is no such token");
    let json = site.json(&["token", "create", "--scopes", "read,install", "--plugins", "acme-*"]);
    assert_eq!(json["scopes"], serde_json::json!(["read", "install"]));
    let first = list["tokens"].as_array().unwrap().iter().find(|entry| entry["label"] == "first token").unwrap();
    site.run(&["token", "revoke", first["id"].as_str().unwrap()]).failed(4, "The last administrator");
}

#[test]
fn a_missing_or_wrong_token_ends_with_six() {
    let site = Site::start();
    let run = site.run_as("pbt_wrong", &["list"]).failed(6, "The token is not valid");
    assert!(run.stderr.contains("fix: "), "{}", run.stderr);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut bare = command(elsewhere.path(), env!("CARGO_BIN_EXE_plugbay"));
    bare.env("PLUGBAY_URL", format!("http://{}", site.process.address));
    let run = finish(&bare.args(["install", "x"]).output().unwrap());
    assert_eq!(run.code, 2, "a path that does not exist comes first: {}", run.stderr);
    fs::copy(site.folder.path().join("unsigned.tar.gz"), elsewhere.path().join("x")).unwrap();
    let run = finish(&bare.output().unwrap()).failed(6, "A token is needed");
    assert!(run.stderr.contains("PLUGBAY_TOKEN"), "a user of the command sends no header: {}", run.stderr);
    let run = finish(&bare.env("PLUGBAY_DATA_DIR", "/nowhere").output().unwrap());
    run.failed(2, "nothing at `/nowhere/admin.token`");
    for arguments in [
        &["token", "create", "--scopes", "nonsense"][..],
        &["token", "create", "--scopes", "read", "--expires", "soon"],
        &["token", "create", "--scopes", "read", "--rate", "1000001"],
    ] {
        let run = site.run(arguments);
        assert!(matches!(run.code, 2 | 4) && run.stderr.contains("fix: "), "{}{}", run.code, run.stderr);
    }
}

#[test]
fn the_audit_log_is_read_and_verified_also_offline() {
    let mut site = Site::with_plugin();
    let rows = site.run(&["audit"]).ok().stdout;
    assert!(rows.starts_with("ROW") && rows.contains("plugin.installed"), "{rows}");
    let list = site.json(&["audit", "list", "--plugin", "demo", "--limit", "1"]);
    assert_eq!(list["entries"][0]["plugin"], "demo");
    assert_eq!(site.json(&["audit", "list", "--since", "2099-01-01T00:00:00Z"])["entries"], serde_json::json!([]));
    site.run(&["audit", "list", "--since", "yesterday"]).failed(4, "since");
    let verified = site.json(&["audit", "verify"]);
    let head = verified["head"].as_str().unwrap().to_owned();
    assert!(site.run(&["audit", "verify"]).ok().stdout.contains(&head));

    let data = site.folder.path().join("data");
    site.run(&["audit", "verify", "--data-dir", "data"]).failed(4, "Another plugbay uses this data directory");
    assert!(site.process.stop().success());
    let run = site.run(&["audit", "verify", "--data-dir", "data", "--expect", &head]).ok();
    assert!(run.stdout.contains("the audit log is whole"), "{}", run.stdout);
    assert_eq!(verify_audit(&data, &head).0, 0);
    let (seq, _) = head.split_once(':').unwrap();
    let wrong = format!("{seq}:{}", "0".repeat(64));
    let (code, text) = verify_audit(&data, &wrong);
    assert!(code == 4 && text.contains("audit-broken"), "{code} {text}");
    site.run(&["audit", "verify", "--data-dir", "data", "--expect", "nonsense"]).failed(2, "--expect");
    site.run(&["audit", "verify", "--data-dir", "gone"]).failed(2, "nothing at `gone`");
    assert_eq!(site.run(&["audit", "verify", "--expect", &head]).code, 2, "--expect needs --data-dir");
}

#[test]
fn doctor_tells_what_is_there() {
    let site = Site::start();
    let text = site.run(&["doctor"]).ok().stdout;
    for line in ["signatures are required", "ok      database: ", "ok      disk: ", "ok      packages: "] {
        assert!(text.contains(line), "{text}");
    }
    let json = site.json(&["doctor"]);
    assert_eq!((&json["signatures"], &json["insecure_dev"]), (&"required".into(), &false.into()));
}

#[test]
fn documents_need_no_service() {
    let here = Path::new(".");
    let openapi = plugbay(here, &["openapi"]).ok().json();
    assert_eq!(openapi["openapi"], "3.1.0");
    assert_eq!(plugbay(here, &["openapi", "--json"]).ok().json(), openapi);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(plugbay(here, &["completions", shell, "--json"]).ok().json()["completions"].is_string());
    }
    assert_eq!(plugbay(here, &["completions", "cobol"]).code, 2);
}

#[test]
fn every_command_and_subcommand_explains_itself() {
    let help = plugbay(Path::new("."), &["--help"]).ok().stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 18, "{commands:?}");
    for name in commands.iter().filter(|name| **name != "help") {
        let text = plugbay(Path::new("."), &[name, "--help"]).ok().stdout;
        assert!(text.contains("Example") && text.contains("plugbay "), "{text}");
    }
}
