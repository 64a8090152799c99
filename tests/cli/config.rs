//! Configuration on the command line: what is shown, how secrets come in, and what is said about those that came in openly.

use super::client::Site;
use super::*;

const FIELDS: &str = "config_schema:\n  api_key: { type: string, required: true, secret: true, description: Your key }\n  \
    endpoint: { type: string, default: 'https://api.example.com' }\n  port: { type: integer }\n";

impl Site {
    /// Runs a line of shell with the service's address.
    fn shell(&self, line: &str) -> Run {
        let mut command = command(self.folder.path(), "sh");
        command.env("PLUGBAY_URL", format!("http://{}", self.process.address));
        finish(&command.args(["-c", line]).env("PLUGBAY", env!("CARGO_BIN_EXE_plugbay")).output().unwrap())
    }
}

fn configured() -> Site {
    let site = Site::start();
    let archive = site.pack("1.0.0", FIELDS);
    site.run(&["install", &archive, "--trust", "author.pub"]).ok();
    site
}

#[test]
fn fields_are_set_shown_and_forgotten() {
    let site = configured();
    let shown = site.run(&["config", "get", "demo"]).ok().stdout;
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = shown.lines().map(cells).collect();
    assert_eq!(lines[1], ["api_key", "(missing)", "Your", "key"]);
    assert_eq!(lines[2], ["endpoint", "https://api.example.com"]);
    assert!(site.run(&["show", "demo"]).ok().stdout.contains("api_key; plugbay config set demo"));
    site.json_failure(&["enable", "demo"], 4, "config-incomplete");

    let set = site.json(&["config", "set", "demo", "port=8080", "endpoint=1234"]);
    assert_eq!((&set["config"]["port"], &set["config"]["endpoint"]), (&8080.into(), &"1234".into()));
    assert_eq!(site.run(&["config", "get", "demo", "port"]).ok().stdout, "8080\n");
    assert_eq!(site.run(&["config", "get", "demo", "api_key"]).ok().stdout, "(secret, not set)\n");
    site.json_failure(&["config", "get", "demo", "colour"], 1, "failed");
    site.json_failure(&["config", "set", "demo", "port=many"], 4, "config-invalid");
    site.run(&["config", "set", "demo", "port=many"]).failed(4, "/port: expected integer, found string");
    let unset = site.json(&["config", "unset", "demo", "port"]);
    assert!(unset["config"].get("port").is_none());
    site.json_failure(&["config", "unset", "demo", "colour"], 3, "not-found");
    site.json_failure(&["config", "get", "nobody"], 3, "plugin-unknown");
}

#[test]
fn secrets_come_from_stdin_or_a_question() {
    let site = configured();
    site.shell("printf 'hunter2-piped\\n' | $PLUGBAY config set demo api_key").ok();
    assert!(site.run(&["config", "get", "demo"]).ok().stdout.contains("(secret, set)"));
    let open = site.run(&["config", "set", "demo", "api_key=hunter2-open"]).ok();
    assert!(open.stderr.contains("leave the value out"), "{}", open.stderr);
    let asked = site.on_a_terminal("config set demo api_key", "hunter2-typed");
    assert!(asked.stdout.contains("api_key: ") && asked.stdout.contains("(secret, set)"), "{}", asked.stdout);
    for run in [&open, &asked] {
        let said = run.stdout.replace("printf", "") + &run.stderr;
        assert!(!said.contains("hunter2-open"), "{said}");
    }
    let two = site.shell("echo x | $PLUGBAY config set demo api_key endpoint");
    assert_eq!(two.code, 2, "{}", two.stderr);
}

#[test]
fn a_file_is_the_whole_but_for_the_secrets() {
    let site = configured();
    site.shell("echo hunter2 | $PLUGBAY config set demo api_key").ok();
    fs::write(site.folder.path().join("config.json"), r#"{"port": 1}"#).unwrap();
    assert_eq!(site.run(&["config", "validate", "demo", "--file", "config.json"]).ok().stdout, "demo accepts it\n");
    let set = site.json(&["config", "set", "demo", "--file", "config.json"]);
    assert_eq!((&set["config"]["port"], &set["secrets"]["api_key"]["set"]), (&1.into(), &true.into()));
    let piped = site.shell(r#"echo '{"port": "x"}' | $PLUGBAY config validate demo --file -"#);
    assert_eq!(piped.code, 4, "{}", piped.stderr);
    fs::write(site.folder.path().join("config.json"), "{\"api_key\": \"hunter2").unwrap();
    let broken = site.run(&["config", "set", "demo", "--file", "config.json"]);
    assert!(broken.code == 2 && !broken.stderr.contains("hunter2"), "{}", broken.stderr);
    site.json_failure(&["config", "set", "demo", "--file", "nowhere.json"], 2, "path-missing");
    assert_eq!(site.run(&["config", "set", "demo"]).code, 2);
}

#[test]
fn install_and_update_say_what_configuration_they_wait_for() {
    let site = Site::start();
    let archive = site.pack("1.0.0", FIELDS);
    let install = site.run(&["install", &archive, "--trust", "author.pub", "--enable"]);
    assert!(install.code == 4 && install.stderr.contains("api_key"), "{}{}", install.stdout, install.stderr);
    site.shell("echo hunter2 | $PLUGBAY config set demo api_key port=1").ok();
    let newer = site.pack("2.0.0", &FIELDS.replace("port: { type: integer }", "port: { type: string }"));
    let updated = site.run(&["update", "demo", &newer]).ok().stdout;
    assert!(updated.contains("plugbay config get demo"), "{updated}");
    assert!(site.run(&["show", "demo"]).ok().stdout.contains("waits for another configuration because of /port"));
    let shown = site.run(&["config", "get", "demo"]).ok();
    assert!(shown.stderr.contains("expected string, found integer"), "{}", shown.stderr);
    let started = site.run(&["config", "set", "demo", "--file", "-"]);
    assert_eq!(started.code, 2, "nothing is no object");
    site.shell(r#"echo '{"port": "1"}' | $PLUGBAY config set demo --file -"#).ok();
    assert!(site.run(&["show", "demo"]).ok().stdout.contains("2.0.0"));
}
