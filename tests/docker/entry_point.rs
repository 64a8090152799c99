//! Plugins as authors write them, and what authors are told when one does not start.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::fixture;
use super::kind::sandboxes;
use super::served::Served;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_with_its_life_and_handlers_beside_it_runs_as_it_is() {
    let Some(served) = Served::start_with(|config| config.health.interval = Duration::from_millis(200)).await else {
        return;
    };
    let name = "entry-point";
    served.add(&fixture(name), &[]).await;
    let enabled = served.enable(name).await.expect(200);
    assert_eq!((&enabled["status"], &enabled["state"]), (&json!("enabled"), &json!("active")));
    let plugin = served.plugin(name).await;
    let methods: Vec<_> = plugin["methods"].as_array().unwrap().iter().map(|method| method.as_str().unwrap()).collect();
    for offered in ["execute", "on_message", "on_file_upload", "on_command"] {
        assert!(methods.contains(&offered), "{offered} in {methods:?}");
    }
    // They are the service's to call: whoever may execute could tell a plugin of messages that nobody wrote.
    for handler in ["on_message", "on_file_upload", "on_command", "initialize", "cleanup", "health_check", "configure"]
    {
        let context = json!({"text": "hello", "command": "/help", "args": []});
        served.call(name, handler, context).await.expect_problem(422, "method-not-offered");
    }
    let answer = served.call(name, "execute", json!({"message": "hello world", "user": "ada"})).await.expect(200);
    assert_eq!((&answer["success"], &answer["result"]), (&json!(true), &json!("hallo welt")));
    assert_eq!(answer["message"], "translated for ada");
    let answer = served.call(name, "execute", json!({"message": "hello mars"})).await.expect(200);
    assert_eq!((&answer["success"], &answer["error"]), (&json!(false), &json!("no translation for 'mars'")));
    assert!(answer.get("error_kind").is_none() && answer.get("result").is_none(), "{answer}");

    let deadline = Instant::now() + Duration::from_secs(10);
    let health = loop {
        let health = served.about(name, "health").await;
        if !health["health"].is_null() {
            break health;
        }
        assert!(Instant::now() < deadline, "{health}");
    };
    assert_eq!((&health["health"]["status"], &health["health"]["words"]), (&json!("healthy"), &json!(2)), "{health}");
    served.until_logged(name, "dictionary opened").await;
    let disabled = served.disable(name).await.expect(200);
    assert_eq!((&disabled["status"], &disabled["state"]), (&json!("disabled"), &json!("unloaded")));
    served.until_logged(name, "dictionary closed").await;
    served.end().await;
}

/// What must be told of a plugin that does not start.
struct Failing {
    main: &'static str,
    reason: &'static str,
    exit_code: Option<i64>,
    /// In the last lines of its output and the detail.
    tells: &'static [&'static str],
}

const FAILING: [Failing; 10] = [
    Failing {
        main: "class Other:\n    def execute(self, context): return 1\n",
        reason: "initialize-failed",
        exit_code: Some(1),
        tells: &["no class `Probe`"],
    },
    Failing {
        main: "import nowhere_to_be_found\nclass Probe: pass\n",
        reason: "import-error",
        exit_code: Some(1),
        tells: &["Traceback", "line 1", "No module named 'nowhere_to_be_found'"],
    },
    Failing {
        main: "class Probe:\n    def execute(self context): return 1\n",
        reason: "import-error",
        exit_code: Some(1),
        tells: &["main.py", "line 2", "SyntaxError"],
    },
    Failing {
        main: "def half():\n    return 1 / 0\nhalf()\n",
        reason: "initialize-failed",
        exit_code: Some(1),
        tells: &["Traceback", "in half", "ZeroDivisionError"],
    },
    Failing {
        main: "INITIALIZE print('no database'); return False",
        reason: "initialize-failed",
        exit_code: Some(1),
        tells: &["no database", "initialize() returned False"],
    },
    Failing {
        main: "INITIALIZE raise OSError('no license')",
        reason: "initialize-failed",
        exit_code: Some(1),
        tells: &["Traceback", "in initialize", "OSError: no license"],
    },
    Failing {
        main: "INITIALIZE print('waiting', flush=True); time.sleep(60)",
        reason: "start-timeout",
        exit_code: None,
        tells: &["waiting", "within 2 s"],
    },
    Failing {
        main: "INITIALIZE print('bye', flush=True); os._exit(3)",
        reason: "exited",
        exit_code: Some(3),
        tells: &["bye", "exit code 3"],
    },
    Failing {
        main: "import sys\nprint('not today')\nsys.exit(4)\n",
        reason: "initialize-failed",
        exit_code: Some(1),
        tells: &["not today", "SystemExit: 4"],
    },
    Failing {
        main: "INITIALIZE held = [bytearray(1 << 20) for _ in range(400)]",
        reason: "out-of-memory",
        exit_code: None,
        tells: &["64 MiB"],
    },
];

/// The whole file where only what `initialize` does was given.
fn main_of(failing: &Failing) -> String {
    let Some(code) = failing.main.strip_prefix("INITIALIZE ") else { return failing.main.to_owned() };
    format!(
        "import os, time\n\nclass Probe:\n    def initialize(self):\n        {code}\n\n    def execute(self, context):\n        return 1\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_plugin_that_does_not_start_is_told_with_its_traceback() {
    let Some(served) = Served::start_with(|config| config.calls.start = Duration::from_secs(2)).await else { return };
    for (number, failing) in FAILING.iter().enumerate() {
        // A version that was installed once may not come back with another content.
        let manifest = std::fs::read_to_string(fixture("probe").join("plugin.yaml")).unwrap();
        let manifest = manifest.replace("version: 1.0.0", &format!("version: 1.0.{number}"));
        let name = served.add(&fixture("probe"), &[("main.py", &main_of(failing)), ("plugin.yaml", &manifest)]).await;
        let began = Instant::now();
        let problem = served.enable(&name).await.expect_problem(502, "plugin-start-failed");
        let tail = problem["log_tail"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        let told = format!("{}\n{}", tail.join("\n"), problem["detail"].as_str().unwrap());
        println!("{:?}: {} {}", began.elapsed(), problem["reason"], problem["detail"]);
        assert_eq!(problem["reason"], failing.reason, "{problem:#}");
        assert_eq!(problem["exit_code"].as_i64(), failing.exit_code, "{problem:#}");
        assert!(failing.tells.iter().all(|text| told.contains(text)), "{problem:#}");
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        let plugin = served.plugin(&name).await;
        assert_eq!((&plugin["status"], &plugin["state"]), (&json!("installed"), &json!("unloaded")));
        assert_eq!(sandboxes(served.instance()), Vec::<String>::new());
        assert_eq!(std::fs::read_dir(served.run_dir()).unwrap().count(), 0);
        served.call(&name, "execute", json!({})).await.expect_problem(409, "plugin-not-enabled");
        served.delete(&format!("/api/plugins/{name}?purge=true")).await.expect(204);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_plugin_yaml_promises_must_be_offered() {
    let Some(served) = Served::start().await else { return };
    let main = std::fs::read_to_string(fixture("entry-point").join("main.py")).unwrap();
    for handler in ["on_message", "on_command"] {
        let lacking = main.replace(handler, &format!("other_{handler}"));
        let name = served.add(&fixture("entry-point"), &[("main.py", &lacking)]).await;
        let problem = served.enable(&name).await.expect_problem(502, "plugin-start-failed");
        assert!(problem["detail"].as_str().unwrap().contains(handler), "{problem}");
        served.delete(&format!("/api/plugins/{name}")).await;
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_cannot_be_started_is_told() {
    let Some(served) = Served::start().await else { return };
    let interpreter = "#!/usr/bin/no-such-interpreter\n";
    let at_once = "#!/bin/sh\necho no time >&2\nexit 9\n";
    let cases = [
        (interpreter, "not-startable", 127, ""),
        ("neither a script nor a program\n", "not-startable", 127, ""),
        (at_once, "exited", 9, "no time"),
    ];
    for (number, (main, reason, exit_code, tells)) in cases.into_iter().enumerate() {
        let manifest = std::fs::read_to_string(fixture("raw").join("plugin.yaml")).unwrap();
        let manifest = manifest.replace("1.0.0", &format!("1.0.{number}"));
        let name = served.add(&fixture("raw"), &[("main.py", main), ("plugin.yaml", &manifest)]).await;
        let problem = served.enable(&name).await.expect_problem(502, "plugin-start-failed");
        assert_eq!((&problem["reason"], &problem["exit_code"]), (&json!(reason), &json!(exit_code)), "{problem}");
        assert!(problem["log_tail"].to_string().contains(tells), "{problem}");
        assert_eq!(sandboxes(served.instance()), Vec::<String>::new());
        served.delete(&format!("/api/plugins/{name}?purge=true")).await;
    }
    served.end().await;
}
