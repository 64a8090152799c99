//! Deciding on the command line: with flags, with --yes, and on a terminal.

use serde_json::json;

use super::client::Site;
use super::*;

const WANTS: &str = "permissions: [chat_access]\noptional_permissions: [network_access]\n";

impl Site {
    /// Packs and signs the plugin with something more in its manifest.
    pub(super) fn pack(&self, version: &str, extra: &str) -> String {
        self.pack_with(version, extra, "")
    }

    /// The same with something more in its code.
    fn pack_with(&self, version: &str, extra: &str, code: &str) -> String {
        let path = self.folder.path();
        let manifest = format!(
            "name: demo\nversion: {version}\ndescription: Demo\nauthor: Ada\nlicense: MIT\nmain: main.py\n{extra}"
        );
        let source = path.join(format!("source-{version}"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("plugin.yaml"), manifest).unwrap();
        let code = format!("{code}class Demo:\n    def execute(self, context):\n        return 'hello'\n");
        fs::write(source.join("main.py"), code).unwrap();
        let archive = format!("wants-{version}.tar.gz");
        plugbay(path, &["pack", source.to_str().unwrap(), "-o", &archive]).ok();
        plugbay(path, &["sign", &archive, "--key", "author.key"]).ok();
        archive
    }

    fn with_wants() -> Self {
        let site = Self::start();
        let archive = site.pack("1.0.0", WANTS);
        site.run(&["install", &archive, "--trust", "author.pub"]).ok();
        site
    }

    /// Runs a line of shell with the service's address, on a terminal of its own where these words are typed.
    pub(super) fn on_a_terminal(&self, line: &str, typed: &str) -> Run {
        let program = env!("CARGO_BIN_EXE_plugbay");
        let script = format!("printf '{typed}\\n' | script -qec \"{program} {line}\" /dev/null");
        let mut command = command(self.folder.path(), "sh");
        command.env("PLUGBAY_URL", format!("http://{}", self.process.address)).env("NO_COLOR", "1");
        finish(&command.args(["-c", &script]).output().unwrap())
    }
}

/// It asks for no permission, and still waits for a decision.
#[test]
fn a_suspicious_look_is_shown_and_accepted_by_name() {
    let site = Site::start();
    let archive = site.pack_with("1.0.0", "", "import os\n\nKEY = open(os.path.expanduser('~/.ssh/id_rsa'))\n");
    let installed = site.run(&["install", &archive, "--trust", "author.pub"]).ok();
    let warning = "its code looks suspicious: plugbay scan --installed demo shows why";
    assert!(installed.stderr.contains(warning), "{}", installed.stderr);
    let shown = site.run(&["show", "demo"]).ok().stdout;
    for line in ["code         looks suspicious", "trust        4 of 6", "trust        -2 Its code looks suspicious."] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let found = site.run(&["scan", "--installed", "demo"]);
    assert!(found.code == 0 && found.stdout.starts_with("demo 1.0.0: suspicious ("), "{}", found.stdout);
    assert!(found.stdout.contains("  main.py:3:7: credentials: "), "{}", found.stdout);
    let again = site.run(&["scan", "--installed", "demo", "--again", "--json"]);
    assert_eq!((again.code, again.json()["verdict"].as_str()), (0, Some("suspicious")));
    site.run(&["scan", "--installed", "demo", "--format", "sarif"]).failed(2, "error:");
    site.json_failure(&["enable", "demo"], 4, "permissions-pending");
    site.json_failure(&["approve", "demo", "--yes"], 4, "risk-not-accepted");
    let asked = site.on_a_terminal("approve demo", "scan-suspicious");
    let words = "scan-suspicious: its code looks as an attack would: read what the scan found before you accept it";
    assert!(asked.stdout.contains(words), "{}", asked.stdout);
    assert!(asked.stdout.contains("4 of 6 now"), "{}", asked.stdout);
    assert!(site.run(&["approve", "demo"]).ok().stdout.contains("nothing is open"));
}

#[test]
fn flags_decide_and_show_and_list_tell() {
    let site = Site::with_wants();
    assert!(site.run(&["list"]).ok().stdout.contains("installed, 1 to approve"));
    site.json_failure(&["enable", "demo"], 4, "permissions-pending");
    let decided = site.run(&["approve", "demo", "--grant", "chat_access", "--note", "ticket 42", "--expires", "90d"]);
    assert_eq!(decided.ok().stdout, "granted chat_access\n");
    let shown = site.run(&["show", "demo"]).ok().stdout;
    assert!(shown.contains("granted      chat_access by first token until 2"), "{shown}");
    let narrowed = site.json(&["approve", "demo", "--grant", "network_access:api.example.com:8443"]);
    let host = json!([{"permission": "network_access", "scope": ["api.example.com:8443"]}]);
    assert_eq!(narrowed["permissions"]["granted"][1], host[0]);
    site.json_failure(&["approve", "demo", "--grant", "network_access"], 4, "risk-not-accepted");
    site.run(&["approve", "demo", "--grant", "network_access", "--accept-risk", "data-egress"]).ok();
    site.json_failure(&["approve", "demo", "--grant", "database_read"], 4, "permission-not-requested");
    let wrong = format!("sha256:{}", "0".repeat(64));
    site.json_failure(&["approve", "demo", "--grant", "chat_access", "--digest", &wrong], 4, "digest-changed");
    let revoked = site.run(&["revoke", "demo", "chat_access", "--note", "incident"]).ok().stdout;
    assert!(revoked.starts_with("revoked chat_access\ndemo does not run without"), "{revoked}");
    assert_eq!(site.run(&["revoke", "demo", "chat_access"]).ok().stdout, "demo had none of these\n");
    assert_eq!(site.json(&["revoke", "demo", "network_access"])["records"][0]["ended"], "revoked");
}

#[test]
fn yes_grants_what_is_required_and_nothing_else() {
    let site = Site::with_wants();
    let decided = site.json(&["approve", "demo", "--yes"]);
    assert_eq!(decided["permissions"]["granted"], json!(["chat_access"]));
    assert!(site.run(&["approve", "demo", "--yes"]).ok().stdout.contains("nothing is open"));
    let risky = site.pack("2.0.0", "permissions: [chat_access, network_access]\n");
    site.run(&["update", "demo", &risky]).ok();
    site.json_failure(&["approve", "demo", "--yes"], 4, "risk-not-accepted");
    let started = site.run(&["approve", "demo", "--yes", "--accept-risk", "data-egress"]).ok().stdout;
    assert!(started.contains("updated demo from 1.0.0 to 2.0.0"), "{started}");
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let site = Site::with_wants();
    let refused = site.run(&["approve", "demo"]).failed(2, "there is no terminal to ask on");
    assert!(refused.stderr.contains("chat_access: reads chat messages and writes answers"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("plugbay approve demo --grant chat_access --accept-risk data-egress"),
        "{}",
        refused.stderr
    );
    site.json_failure(&["approve", "demo"], 2, "usage");
    let other = Site::start();
    let archive = other.pack("1.0.0", WANTS);
    other
        .run(&["install", &archive, "--trust", "author.pub", "--approve"])
        .failed(2, "--yes --accept-risk data-egress");
    assert_eq!(other.json(&["list"])["total"], 0, "nothing was done");
    assert_eq!(other.json(&["key", "list"])["total"], 0);
}

#[test]
fn on_a_terminal_there_is_one_summary_and_one_question() {
    let site = Site::start();
    let archive = site.pack("1.0.0", "permissions: [chat_access]\n");
    let install = format!("install {archive} --trust author.pub --approve");
    let refused = site.on_a_terminal(&install, "no");
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert_eq!(site.json(&["list"])["total"], 0, "nothing was done");
    let done = site.on_a_terminal(&install, "yes").ok().stdout;
    for text in
        ["demo 1.0.0", "which will be trusted for demo", "chat_access: reads chat messages", "Grant what it needs?"]
    {
        assert!(done.contains(text), "{text}\n{done}");
    }
    assert_eq!(done.matches("Type `").count(), 1, "{done}");
    assert_eq!(site.json(&["show", "demo"])["permissions"]["granted"], json!(["chat_access"]));
    let more = site.pack("2.0.0", "permissions: [chat_access, network_access]\n");
    site.run(&["update", "demo", &more]).ok();
    let asked = site.on_a_terminal("approve demo", "yes");
    assert_eq!(asked.code, 1, "a risk is accepted by its name: {}", asked.stdout);
    assert!(asked.stdout.contains("more: network_access"), "{}", asked.stdout);
    assert!(asked.stdout.contains("EVERY PUBLIC HOST"), "{}", asked.stdout);
    let done = site.on_a_terminal("approve demo", "data-egress").ok().stdout;
    assert!(done.contains("updated demo from 1.0.0 to 2.0.0"), "{done}");
}

#[test]
fn an_install_that_is_approved_is_one_outcome() {
    let site = Site::start();
    let archive = site.pack("1.0.0", "permissions: [chat_access]\n");
    let done = site.json(&["install", &archive, "--trust", "author.pub", "--approve", "--yes"]);
    assert_eq!((&done["approved"]["permissions"]["pending"], &done["enabled"]), (&json!([]), &json!(null)));
    assert_eq!(done["name"], "demo");
    assert_eq!(site.run(&["install", &archive, "--yes"]).code, 2, "--yes is about --approve");
}

#[test]
fn show_tells_what_was_decided_and_taken_back_one_line_each() {
    let site = Site::start();
    let wants = "permissions: [chat_access]\noptional_permissions: [network_access, filesystem_read, database_read]\n\
                 network: { allow: [a.example, b.example] }\n\
                 access: { filesystem_read: [docs], database_read: [chat] }\n";
    let archive = site.pack("1.0.0", wants);
    site.run(&["install", &archive, "--trust", "author.pub"]).ok();
    site.run(&["approve", "demo", "--grant", "chat_access", "--note", "ticket 42"]).ok();
    site.run(&["approve", "demo", "--deny", "filesystem_read", "--note", "not here\u{1b}[2J"]).ok();
    let grant = ["approve", "demo", "--grant", "network_access", "--accept-risk", "data-egress"];
    site.run(&grant).ok();
    let shown = site.run(&["show", "demo"]).ok().stdout;
    assert!(shown.contains("\nmay use      network_access, database_read (chat)\n"), "{shown}");
    site.run(&["revoke", "demo", "network_access:a.example", "--note", "incident 7"]).ok();
    let shown = site.run(&["show", "demo"]).ok().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    let found = |head: &str| lines.iter().filter(|line| line.starts_with(head)).copied().collect::<Vec<_>>();
    assert_eq!(found("may use "), ["may use      network_access, database_read (chat)"], "{shown}");
    let granted = found("granted ");
    assert_eq!(granted[0], "granted      chat_access by first token: ticket 42", "{shown}");
    assert!(granted[1].starts_with("granted      network_access (b.example:443) by first token"), "{shown}");
    assert_eq!(found("denied "), ["denied       filesystem_read (docs) by first token: not here\\u{1b}[2J"], "{shown}");
    let revoked = found("revoked ");
    assert!(revoked[0].starts_with("revoked      network_access (a.example:443) at 2"), "{shown}");
    assert!(revoked.len() == 1 && revoked[0].ends_with(": incident 7"), "{shown}");
    site.run(&["revoke", "demo", "network_access"]).ok();
    let shown = site.run(&["show", "demo"]).ok().stdout;
    assert!(
        shown.contains("\nmay use      database_read (chat)\n") && !shown.contains("\ngranted      network_access"),
        "{shown}"
    );
    // Granted again it is no longer among what was taken back.
    site.run(&grant).ok();
    let shown = site.run(&["show", "demo"]).ok().stdout;
    assert!(shown.contains("may use      network_access, database_read (chat)"), "{shown}");
    assert!(!shown.contains("\nrevoked "), "{shown}");
}

#[test]
fn an_update_says_how_long_it_is_watched() {
    let site = Site::start();
    let first = site.pack("1.0.0", "");
    site.run(&["install", &first, "--trust", "author.pub"]).ok();
    let second = site.pack("1.1.0", "");
    let updated = site.run(&["update", "demo", &second]).ok().stdout;
    let until = site.json(&["show", "demo"])["last_update"]["watched_until"].as_str().unwrap().to_owned();
    let expected =
        format!("updated demo from 1.0.0 to 1.1.0\nwatched     until {until}; it goes back by itself if it fails\n");
    assert_eq!(updated, expected);
    assert_eq!(site.json(&["update", "demo", &second])["watched_until"], json!(null));
}

#[test]
fn on_a_terminal_an_error_is_its_detail_alone() {
    let site = Site::start();
    let shown = site.on_a_terminal("show nope", "").stdout;
    assert!(shown.contains("error: there is no plugin `nope`"), "{shown}");
    assert!(!shown.contains("There is no such plugin"), "{shown}");
    site.json_failure(&["show", "nope"], 3, "plugin-unknown");
    assert_eq!(site.run(&["show", "nope", "--json"]).json()["title"], "There is no such plugin");
}
