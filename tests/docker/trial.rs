//! `plugbay test` with permissions, hooks, commands, streams, and host functions that are answered by stand-ins.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::client::fixture;
use super::kind::{choice, engine_is_there};

/// A folder with a plugin in it, and what is beside it.
struct Bench(tempfile::TempDir);

/// One run of `plugbay test --json`.
struct Tried {
    code: i32,
    said: Value,
    stderr: String,
}

impl Bench {
    /// With a plugin of the fixtures, and what its manifest has more.
    fn with(name: &str, more: &str) -> Self {
        let bench = Self::empty();
        let (from, to) = (fixture(name), bench.0.path().join("plugin"));
        fs::create_dir(&to).unwrap();
        fs::copy(from.join("main.py"), to.join("main.py")).unwrap();
        let manifest = fs::read_to_string(from.join("plugin.yaml")).unwrap();
        fs::write(to.join("plugin.yaml"), format!("{manifest}{more}\n")).unwrap();
        bench
    }

    fn empty() -> Self {
        Self(tempfile::Builder::new().prefix("pt-").tempdir_in("/tmp").unwrap())
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.0.path().join(path), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        command(self.0.path(), env!("CARGO_BIN_EXE_plugbay")).args(["test", "plugin"]).args(arguments).output().unwrap()
    }

    #[track_caller]
    fn try_out(&self, arguments: &[&str]) -> Tried {
        let output = self.run(&[arguments, &["--json"]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        Tried { code: output.status.code().unwrap(), said, stderr }
    }
}

impl Tried {
    /// What the sandbox made of it, where everything went well.
    #[track_caller]
    fn trial(&self) -> &Value {
        assert_eq!(self.code, 0, "{}\n{}", self.said, self.stderr);
        &self.said["trial"]
    }

    #[track_caller]
    fn failed(&self, code: i32, name: &str, how: &str) {
        assert_eq!((self.code, &self.said["code"]), (code, &json!(name)), "{}\n{}", self.said, self.stderr);
        let told = format!("{} {}", self.said["detail"], self.said["how"]);
        assert!(told.contains(how), "{}", self.said);
    }
}

#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
fn command(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("TMPDIR", folder).env("PLUGBAY__SANDBOX__ENGINE", choice().as_str());
    command
}

fn asks(function: &str, params: &Value) -> String {
    json!({"function": function, "params": params}).to_string()
}

const HEARS: &str = "permissions: [chat_access]\nhooks: [on_message]\ncommands: [{ name: /ask }]";

fn listener() -> Bench {
    let bench = Bench::with("listener", HEARS);
    let path = bench.0.path().join("plugin/plugin.yaml");
    let manifest = fs::read_to_string(&path).unwrap();
    let manifest = manifest.replace("optional_permissions: [chat_access, admin_access]\n", "");
    fs::write(path, manifest.replace("default: hear", "default: ask")).unwrap();
    bench
}

#[test]
fn hooks_and_commands_are_called_with_what_is_granted() {
    if !engine_is_there() {
        return;
    }
    let bench = listener();
    let (send, keep) = (asks("chat.send", &json!({"text": "hi"})), asks("kv.set", &json!({"key": "k", "value": 7})));
    let message = json!({"text": send, "user": "ada"}).to_string();
    bench.write("message.json", &json!({"text": asks("kv.get", &json!({"key": "k"}))}).to_string());
    let keep = format!("/ask '{keep}'");
    let hooks = [
        "--hook",
        "on_message",
        &message,
        "--command",
        &keep,
        "--command",
        "/ask '{\"function\": \"kv.list\", \"params\": {}}'",
    ];

    // What the plugin needs is named, and the flag that grants it.
    bench.try_out(&hooks).failed(4, "permissions-pending", "--grant chat_access");
    let tried = bench.try_out(&[&["--grant", "chat_access"][..], &hooks].concat());
    let trial = tried.trial();
    let heard = trial["heard"].as_array().unwrap();
    assert_eq!(heard.len(), 3, "{trial}");
    assert_eq!((&heard[0]["hook"], &heard[0]["answers"][0]["result"]["text"]), (&json!("on_message"), &json!("hi")));
    assert_eq!((&heard[1]["hook"], &heard[1]["errors"]), (&json!("on_command"), &json!([])));
    // Values last from one call to the next.
    assert_eq!(heard[2]["answers"][0]["result"], json!(["k"]), "{trial}");
    assert_eq!(
        trial["requests"][0],
        json!({"function": "chat.send", "params": {"text": "hi"}, "answered_by": "plugbay"})
    );
    assert!(trial.get("answer").is_none(), "nothing else was called: {trial}");

    let found = bench.try_out(&["--grant", "chat_access", "--hook", "on_message", "@message.json"]);
    assert_eq!(found.trial()["heard"][0]["answers"][0]["result"], Value::Null, "each run begins with nothing");
    let run = bench.run(&["--grant", "chat_access", "--hook", "on_message", &message]);
    let (out, log) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(log.contains(r#"chat.send {"text":"hi"}"#), "{log}");
    assert!(out.contains("on_message answers:\n{\n"), "{out}");
}

#[test]
fn what_a_hook_raises_is_a_failure_and_what_is_no_hook_is_named() {
    if !engine_is_there() {
        return;
    }
    let bench = listener();
    let granted = ["--grant", "chat_access", "--hook", "on_message"];
    bench.write("config.json", r#"{"mood": "raise"}"#);
    let failed = bench.try_out(&[&granted[..], &[r#"{"text": "x"}"#, "--config", "config.json"]].concat());
    assert_eq!(failed.code, 8, "{}", failed.said);
    assert_eq!(failed.said["trial"]["heard"][0]["errors"][0]["error_kind"], "ValueError", "{}", failed.said);
    let upload = bench.try_out(&["--grant", "chat_access", "--hook", "on_file_upload", r#"{"name": "a.txt"}"#]);
    upload.failed(2, "usage", "hooks: [on_file_upload]");
    bench.try_out(&["--grant", "chat_access", "--hook", "on_mesage", "{}"]).failed(2, "usage", "on_message");
    bench.try_out(&["--grant", "chat_access", "--command", "/roll 3"]).failed(2, "usage", "/ask");
    bench.try_out(&[&granted[..], &["{text}"]].concat()).failed(2, "usage", "single quotes");
    bench.try_out(&["--grant", "chat_acess"]).failed(2, "usage", "did you mean `chat_access`?");
    bench.try_out(&["--grant", "chat_access,network_access"]).failed(4, "permission-not-requested", "plugin.yaml");
}

const NETWORK: &str = "optional_permissions: [network_access, database_read, api_access]\n\
                       network: { allow: [api.example.com] }\naccess: { database_read: [crm], api_access: [chat] }";

#[test]
fn functions_of_the_service_are_answered_from_a_file() {
    if !engine_is_there() {
        return;
    }
    let bench = Bench::with("asker", NETWORK);
    let fetch = asks("http.fetch", &json!({"url": "https://api.example.com/v1?q=1"}));
    let text = |tried: &Tried| tried.trial()["answer"]["result"]["text"].as_str().unwrap_or_default().to_owned();

    let denied = bench.try_out(&["--context", &fetch]);
    let how = &denied.trial()["answer"]["result"]["data"]["how"];
    assert_eq!(how, "plugbay test DIR --grant network_access:api.example.com:443", "{}", denied.said);
    let refused = bench.try_out(&["--grant", "network_access", "--context", &fetch]);
    assert!(text(&refused).contains("--fake-host"), "{}", refused.said);
    assert_eq!(refused.said["trial"]["requests"][0]["refused"], json!(text(&refused)));

    bench.write(
        "fake.yaml",
        "http.fetch:\n  - { status: 200, body: one }\n  - refuse: { code: rate-limited, text: too many }\n\
         db.query: { columns: [id], rows: [[1], [2]] }\nkv.get: { found: true, value: canned }\n",
    );
    let call = |function: &str, params: &Value, grant: &str| {
        let asked = asks(function, params);
        let flags = ["--grant", grant, "--fake-host", "fake.yaml", "--context", &asked];
        bench.try_out(&flags)
    };
    let answered = call("http.fetch", &json!({"url": "https://api.example.com/"}), "network_access");
    assert_eq!(answered.trial()["answer"]["result"]["text"], "one", "{}", answered.said);
    assert_eq!(answered.said["trial"]["requests"][0]["answered_by"], "file");
    // What is answered is still asked for by the rules.
    let other = call("http.fetch", &json!({"url": "https://other.example.com/"}), "network_access");
    assert!(text(&other).contains("is not granted"), "{}", other.said);
    let rows = call("db.query", &json!({"name": "crm", "sql": "SELECT id FROM t"}), "database_read:crm");
    assert_eq!(rows.trial()["answer"]["result"]["rows"], json!([[1], [2]]), "{}", rows.said);
    let other = call("db.query", &json!({"name": "crm", "sql": "SELECT id FROM t"}), "network_access,api_access:chat");
    assert_eq!(other.trial()["answer"]["result"]["data"]["how"], "plugbay test DIR --grant database_read:crm");
    let value = call("kv.get", &json!({"key": "x"}), "network_access");
    assert_eq!(value.trial()["answer"]["result"], "canned", "{}", value.said);

    bench.write("fake.json", r#"{"http.fetc": {}, "db.query": {"rows": []}, "kv.get": []}"#);
    let bad = bench.try_out(&["--fake-host", "fake.json"]);
    bad.failed(2, "usage", "docs/authors.md");
    let errors = bad.said["errors"].to_string();
    for part in ["did you mean `http.fetch`?", "`columns`", "at least one"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

/// The files and the commands of the section of authors.md that is marked as tested here.
fn documented() -> [Vec<(String, String)>; 2] {
    let page = include_str!("../../docs/authors.md");
    let section = page.split_once("<!-- tested by tests/docker/trial.rs -->\n").unwrap().1;
    let section = &section[..section.find("\n## ").unwrap()];
    let (mut files, mut commands) = (Vec::new(), Vec::new());
    for block in section.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        if language == "sh" {
            let prints = |line: &str| {
                line.split_once("  # prints ").map(|(command, part)| (command.to_owned(), part.to_owned()))
            };
            commands.extend(text.lines().map(|line| prints(line).unwrap()));
        } else {
            let (path, text) = text.split_once('\n').unwrap();
            files.push((path.strip_prefix("# ").unwrap().to_owned(), text.to_owned()));
        }
    }
    [files, commands]
}

#[test]
fn the_examples_of_the_documentation_do_what_they_say() {
    if !engine_is_there() {
        return;
    }
    let (bench, [files, commands]) = (Bench::empty(), documented());
    fs::create_dir(bench.0.path().join("dice")).unwrap();
    for (path, text) in &files {
        bench.write(path, text);
    }
    assert_eq!((files.len(), commands.len()), (3, 6));
    let programs = Path::new(env!("CARGO_BIN_EXE_plugbay")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var_os("PATH").unwrap().to_string_lossy());
    for (line, part) in commands {
        let output = command(bench.0.path(), "sh").args(["-c", &line]).env("PATH", &path).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains(&part), "{line} does not print {part}:\n{said}");
    }
}

const STREAMS: &str = "import plugbay\nclass Plugin:\n    async def execute(self, context):\n        for number in range(3):\n            \
                       yield {'step': number}\n    @plugbay.method\n    def double(self, context):\n        return context['n'] * 2\n";

#[test]
fn chunks_are_shown_as_they_come_and_other_methods_are_called() {
    if !engine_is_there() {
        return;
    }
    let bench = Bench::empty();
    fs::create_dir(bench.0.path().join("plugin")).unwrap();
    bench.write("plugin/plugin.yaml", "name: steps\nversion: 1.0.0\nmain: main.py\nclass: Plugin\n");
    bench.write("plugin/main.py", STREAMS);
    let run = bench.run(&["--stream"]);
    let (out, log) = (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(out.starts_with("{\"step\":0}\n{\"step\":1}\n{\"step\":2}\nsteps starts"), "{out}{log}");
    let tried = bench.try_out(&["--stream"]);
    assert_eq!(tried.trial()["chunks"], json!([{"step": 0}, {"step": 1}, {"step": 2}]), "{}", tried.said);
    let doubled = bench.try_out(&["--method", "double", "--context", r#"{"n": 4}"#]);
    assert_eq!(doubled.trial()["answer"]["result"], 8, "{}", doubled.said);
    bench.try_out(&["--method", "treble"]).failed(2, "usage", "double, execute");
}
