//! Plugins as authors write them, and what authors are told when one does not start.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::fixture;
use super::served::{Served, containers};

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

/// Python code whose class has this as its `initialize`.
fn initialize(code: &str) -> String {
    format!(
        "import os, sys, time\nclass Probe:\n    def initialize(self):\n        {code}\n    def execute(self, context):\n        return 1\n"
    )
}

/// What must be told of a plugin that does not start.
struct Failing {
    what: &'static str,
    main: String,
    reason: &'static str,
    exit_code: Value,
    /// In the last lines of its output, or in the detail where it printed nothing.
    tells: &'static str,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_plugin_that_does_not_start_is_told_with_its_traceback() {
    let Some(served) = Served::start_with(|config| config.calls.start = Duration::from_secs(2)).await else { return };
    let failing =
        |what, main: &str, reason, exit_code, tells| Failing { what, main: main.to_owned(), reason, exit_code, tells };
    let cases = [
        failing(
            "missing class",
            "class Other:\n    def execute(self, context): return 1\n",
            "initialize-failed",
            json!(1),
            "Probe",
        ),
        failing(
            "import error",
            "import nowhere_to_be_found\nclass Probe: pass\n",
            "import-error",
            json!(1),
            "nowhere_to_be_found",
        ),
        failing(
            "syntax error",
            "class Probe:\n    def execute(self context): return 1\n",
            "import-error",
            json!(1),
            "main.py",
        ),
        failing("raises in its code", "1 / 0\n", "initialize-failed", json!(1), "ZeroDivisionError"),
        failing(
            "returns False",
            &initialize("print('no database'); return False"),
            "initialize-failed",
            json!(1),
            "no database",
        ),
        failing(
            "raises",
            &initialize("raise OSError('no license')"),
            "initialize-failed",
            json!(1),
            "OSError: no license",
        ),
        failing(
            "hangs",
            &initialize("print('waiting', flush=True); time.sleep(60)"),
            "start-timeout",
            json!(null),
            "waiting",
        ),
        failing("exits", &initialize("print('bye', flush=True); os._exit(3)"), "exited", json!(3), "bye"),
        failing(
            "exits while it is imported",
            "import sys\nprint('not today')\nsys.exit(4)\n",
            "initialize-failed",
            json!(1),
            "not today",
        ),
        failing(
            "eats",
            &initialize("held = [bytearray(1 << 20) for _ in range(400)]"),
            "out-of-memory",
            json!(null),
            "",
        ),
    ];
    let name = served.add(&fixture("probe"), &[]).await;
    for (number, case) in cases.iter().enumerate() {
        let Failing { what, main, reason, exit_code, tells } = case;
        served.delete(&format!("/api/plugins/{name}?purge=true")).await;
        let manifest = std::fs::read_to_string(fixture("probe").join("plugin.yaml")).unwrap();
        let manifest = manifest.replace("version: 1.0.0", &format!("version: 1.0.{}", number + 1));
        served.add(&fixture("probe"), &[("main.py", main), ("plugin.yaml", &manifest)]).await;
        let began = Instant::now();
        let problem = served.enable(&name).await.expect_problem(502, "plugin-start-failed");
        let tail = problem["log_tail"]
            .as_array()
            .map(|lines| lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"));
        let told = format!("{}\n{}", tail.unwrap_or_default(), problem["detail"].as_str().unwrap());
        println!("{what}: {:?} {} {}", began.elapsed(), problem["reason"], problem["detail"]);
        assert_eq!(problem["reason"], *reason, "{what}: {problem:#}");
        assert!(told.contains(tells), "{what}: {problem:#}");
        if !exit_code.is_null() {
            assert_eq!(problem["exit_code"], *exit_code, "{what}: {problem:#}");
        }
        assert!(began.elapsed() < Duration::from_secs(6), "{what}: {:?}", began.elapsed());
        let plugin = served.plugin(&name).await;
        assert_eq!((&plugin["status"], &plugin["state"]), (&json!("installed"), &json!("unloaded")), "{what}");
        assert_eq!(containers(served.instance()), Vec::<String>::new(), "{what}");
        assert_eq!(std::fs::read_dir(served.run_dir()).unwrap().count(), 0, "{what}");
        served.call(&name, "execute", json!({})).await.expect_problem(409, "plugin-not-enabled");
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
        assert_eq!(containers(served.instance()), Vec::<String>::new());
        served.delete(&format!("/api/plugins/{name}?purge=true")).await;
    }
    served.end().await;
}
