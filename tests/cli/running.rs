//! Commands about plugins that run: what they write, and how they end.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::scripted::{Scripted, events, json, problem, run};
use super::*;

const OK: &str = r#"{"success":true,"result":{"n":1.50,"list":[]},"execution_time":0.1,"call_id":"call_1"}"#;
const FAILED: &str =
    r#"{"success":false,"error":"ValueError: bad","error_kind":"ValueError","execution_time":0.1,"call_id":"call_1"}"#;

#[test]
fn exec_writes_the_result_and_sends_what_was_typed() {
    let server = Scripted::start(vec![json(200, OK)]);
    let arguments = ["exec", "demo", r#"{"a": 1.0}"#, "--method", "wave", "--timeout", "0.5"];
    assert_eq!(server.run(&arguments).ok().stdout, "{\n  \"n\": 1.50,\n  \"list\": []\n}\n");
    let request = server.request();
    assert!(request.starts_with("POST /api/plugins/demo/execute HTTP/1.1"), "{request}");
    assert!(request.ends_with(r#"{"context":{"a": 1.0},"method":"wave","timeout_ms":500}"#), "{request}");

    let text = r#"{"success":true,"result":"a\tb","execution_time":0.1,"call_id":"call_1"}"#;
    assert_eq!(run(&["exec", "demo"], json(200, text)).ok().stdout, "a\tb\n");
    assert_eq!(run(&["exec", "demo", "--json"], json(200, OK)).ok().stdout, format!("{OK}\n"));
}

#[test]
fn tools_of_all_pages_are_listed_and_hide_nothing() {
    let tool = |name: &str, reads: bool| {
        format!(
            r#"{{"name":"{name}","plugin":"git","tool":"t","method":"run","read_only":{reads},"mcp":{{"name":"{name}","description":"a\u001b[2Jb","inputSchema":{{"type":"object"}}}}}}"#
        )
    };
    let page = |tool: &str, next: &str| json(200, &format!(r#"{{"tools":[{tool}],"total":2,"next_cursor":{next}}}"#));
    let server = Scripted::start(vec![page(&tool("git.a", true), "\"bmV4dA\""), page(&tool("git.b", false), "null")]);
    let shown = server.run(&["list", "--tools"]).ok().stdout;
    assert!(server.request().starts_with("GET /api/tools?limit=1000 HTTP/1.1"));
    assert!(server.request().starts_with("GET /api/tools?limit=1000&cursor=bmV4dA HTTP/1.1"));
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..4], ["git.a", "git", "run", "yes"]);
    assert_eq!(lines[2][..4], ["git.b", "git", "run", "-"]);
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn exec_reads_its_context_from_stdin_and_says_where_it_is_wrong() {
    let server = Scripted::start(vec![json(200, OK)]);
    let mut command = server.command();
    let mut child = command.args(["exec", "demo", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"user\":\n \"Ada\"}\n").unwrap();
    finish(&child.wait_with_output().unwrap()).ok();
    assert!(server.request().ends_with("{\"context\":{\"user\":\n \"Ada\"}}"));
    let here = Path::new(".");
    plugbay(here, &["exec", "demo", "{user: Ada}"]).failed(2, "not JSON: key must be a string at line 1 column 2");
    assert_eq!(plugbay(here, &["exec", "demo", "--timeout", "0"]).code, 2);
}

#[test]
fn a_plugin_that_fails_ends_with_eight() {
    let said = run(&["exec", "demo"], json(200, FAILED)).failed(8, "error: The plugin failed: ValueError: bad");
    assert!(said.stderr.contains("fix: plugbay logs demo shows"), "{}", said.stderr);
    let json_run = run(&["exec", "demo", "--json"], json(200, FAILED));
    assert_eq!((json_run.code, json_run.stdout.as_str()), (8, format!("{FAILED}\n").as_str()));

    let more = r#","call_id":"call_7","exit_code":3,"log_tail":["one","two\u001b[2J"]"#;
    let crashed = run(&["exec", "demo"], problem(502, "plugin-crashed", more)).failed(8, "exit code: 3");
    assert!(crashed.stderr.contains("call: call_7"), "{}", crashed.stderr);
    assert!(crashed.stderr.contains("  | one\n  | two\\u{1b}[2J\n"), "{}", crashed.stderr);

    let more = r#","reason":"import-error","exit_code":1,"log_tail":["ModuleNotFoundError"]"#;
    let start = run(&["enable", "demo"], problem(502, "plugin-start-failed", more)).failed(8, "reason: import-error");
    assert!(start.stderr.contains("  | ModuleNotFoundError\n"), "{}", start.stderr);
    let value = run(&["enable", "demo", "--json"], problem(502, "plugin-start-failed", more)).json();
    assert_eq!(value["log_tail"][0], "ModuleNotFoundError");

    run(&["exec", "demo"], problem(504, "plugin-timeout", "")).failed(124, "error: T: D");
    run(&["exec", "demo"], problem(409, "plugin-not-enabled", "")).failed(4, "error");
    run(&["exec", "demo"], problem(503, "plugin-busy", "")).failed(1, "error");
}

#[test]
fn a_way_back_is_asked_for_and_told() {
    let done = |restored: bool| {
        json(
            200,
            &format!(
                r#"{{"plugin_id":"p","status":"rolled_back","version":"1.0.0","previous_version":"2.0.0","data_restored":{restored}}}"#
            ),
        )
    };
    for (arguments, body, told) in [
        (vec!["rollback", "demo"], r#"{"restore_data":false}"#, "rolled demo back from 2.0.0 to 1.0.0\n"),
        (
            vec!["rollback", "demo", "--to", "1.0.0", "--restore-data"],
            r#"{"version":"1.0.0","restore_data":true}"#,
            "rolled demo back from 2.0.0 to 1.0.0, with what it kept then\n",
        ),
    ] {
        let server = Scripted::start(vec![done(body.contains("true"))]);
        assert_eq!(server.run(&arguments).ok().stdout, told);
        let request = server.request();
        assert!(
            request.starts_with("POST /api/plugins/demo/rollback HTTP/1.1") && request.ends_with(body),
            "{request}"
        );
    }
    let more = r#","reason":"unhealthy","log_tail":["no ink"]"#;
    let failed = run(&["rollback", "demo"], problem(409, "update-rolled-back", more)).failed(8, "reason: unhealthy");
    assert!(failed.stderr.contains("  | no ink\n"), "{}", failed.stderr);
}

#[test]
fn what_was_changed_along_is_told_line_by_line() {
    let changed = |more: &str| {
        json(200, &format!(r#"{{"plugin_id":"plugin_1","status":"enabled","state":"active","message":"m"{more}}}"#))
    };
    let enabled = run(&["enable", "a"], changed(r#","also_enabled":["c","b"]"#)).ok().stdout;
    assert_eq!(enabled, "enabled c, which is required\nenabled b, which is required\nenabled a, it is active\n");
    assert_eq!(run(&["enable", "a"], changed("")).ok().stdout, "enabled a, it is active\n");
    for (arguments, query) in [(vec!["disable", "c"], ""), (vec!["disable", "c", "--cascade"], "?cascade=true")] {
        let server = Scripted::start(vec![changed(r#","also_disabled":["a","b"]"#)]);
        let disabled = server.run(&arguments).ok().stdout;
        assert!(disabled.starts_with("disabled a, which requires it\ndisabled b, which requires it\n"), "{disabled}");
        assert!(server.request().starts_with(&format!("POST /api/plugins/c/disable{query} HTTP/1.1")));
    }
}

#[test]
fn a_stream_is_one_line_per_chunk() {
    let stream = [
        "event: chunk\ndata: {\"seq\":0,\"da",
        "ta\":{\"i\":0}}\n\n: still here\n\nevent: progress\ndata: {\"percent\":50.0,\"message\":\"half\"}\n\n",
        "event: chunk\ndata: {\"seq\":1,\"data\":2.50}\n\n",
        "event: result\ndata: {\"success\":true,\"result\":null,\"execution_time\":0.5,\"call_id\":\"call_1\"}\n\n",
    ];
    let server = Scripted::start(vec![events(&stream)]);
    let text = server.run(&["exec", "demo", "--stream"]).ok();
    assert_eq!(text.stdout, "{\"i\":0}\n2.50\n");
    assert!(text.stderr.contains(" 50 %  half"), "{}", text.stderr);
    assert!(server.request().to_lowercase().contains("accept: text/event-stream\r\n"));

    let lines = run(&["exec", "demo", "--stream", "--json"], events(&stream)).ok().stdout;
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["chunk", "progress", "chunk", "result"]);
    assert_eq!((&lines[0]["data"]["i"], &lines[3]["success"]), (&0.into(), &true.into()));
}

#[test]
fn a_stream_that_fails_or_breaks_off_says_so() {
    let chunk = "event: chunk\ndata: {\"seq\":0,\"data\":1}\n\n";
    let error = "event: error\ndata: {\"type\":\"/problems/plugin-timeout\",\"title\":\"T\",\"status\":504,\"detail\":\"D\",\
                 \"instance\":\"i\",\"code\":\"plugin-timeout\",\"how\":\"h\",\"call_id\":\"call_1\"}\n\n";
    let timed_out = run(&["exec", "demo", "--stream"], events(&[chunk, error]));
    assert_eq!((timed_out.code, timed_out.stdout.as_str()), (124, "1\n"));
    assert!(timed_out.stderr.contains("call: call_1"), "{}", timed_out.stderr);
    let lines = run(&["exec", "demo", "--stream", "--json"], events(&[chunk, error])).stdout;
    let last: serde_json::Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&last["event"], &last["code"]), (&"error".into(), &"plugin-timeout".into()));
    assert_eq!(lines.lines().count(), 2);

    let cut = run(&["exec", "demo", "--stream"], events(&[chunk]));
    assert_eq!(cut.code, 7);
    assert!(cut.stderr.contains("ended the answer before its result"), "{}", cut.stderr);
    run(&["exec", "nobody", "--stream"], problem(404, "plugin-unknown", "")).failed(3, "error: T: D");
}

#[test]
fn logs_are_lines_for_people_or_for_programs() {
    let first = r#"{"ts":"2026-11-21T10:00:00.000Z","stream":"stderr","text":"a\u001b[2Jb"}"#;
    let second = r#"{"ts":"2026-11-21T10:00:01.000Z","stream":"log","level":"INFO","text":"two","fields":{"n":1}}"#;
    let both = format!("{first}\n{second}\n");
    let server = Scripted::start(vec![json(200, &both)]);
    let text = server.run(&["logs", "demo", "--tail", "2", "--since", "2026-11-21T09:00:00Z"]).ok().stdout;
    assert_eq!(text, "2026-11-21 10:00:00 stderr   a\\u{1b}[2Jb\n2026-11-21 10:00:01 log      INFO two  {\"n\":1}\n");
    let request = server.request();
    assert!(request.starts_with("GET /api/plugins/demo/logs?tail=2&since=2026-11-21T09%3A00%3A00.000Z "), "{request}");
    assert_eq!(run(&["logs", "demo", "--json"], json(200, &both)).ok().stdout, both);

    let stream = format!("event: log\ndata: {first}\n\n: ping\n\nevent: log\ndata: {second}\n\n");
    let followed = run(&["logs", "demo", "-f", "--json"], events(&[&stream])).ok();
    assert_eq!(followed.stdout, both);
    assert!(followed.stderr.contains("the service has ended the log"));
    plugbay(Path::new("."), &["logs", "demo", "--since", "yesterday"]).failed(2, "--since: expected an RFC 3339 time");
}

#[test]
fn control_c_ends_at_once_and_hangs_up() {
    for arguments in [&["exec", "demo"][..], &["logs", "demo", "-f"], &["exec", "demo", "--stream"]] {
        let server = Scripted::start(vec![Vec::new()]);
        let mut command = server.command();
        let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        server.request();
        let started = Instant::now();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let run = finish(&child.wait_with_output().unwrap());
        assert_eq!(run.code, 130, "{arguments:?}: {}", run.stderr);
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(server.request(), "gone 0");
    }
}

#[test]
fn a_reader_that_leaves_ends_what_it_read() {
    let line = "event: log\ndata: {\"ts\":\"2026-11-21T10:00:00.000Z\",\"stream\":\"stdout\",\"text\":\"x\"}\n\n";
    let server = Scripted::start(vec![events(&vec![line; 1_000])]);
    let mut command = server.command();
    let mut child = command.args(["logs", "demo", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let started = Instant::now();
    assert!(child.wait().unwrap().success());
    // All thousand would take twenty seconds.
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn limits_that_are_not_named_stay_set() {
    let nine = r#"{"memory_mb":512,"cpus":0.5,"cpu_shares":1024,"pids":64,"tmp_mb":64,"data_mb":16,
                   "timeout_seconds":30,"max_concurrency":16,"max_streams":128}"#;
    let ceiling = r#"{"memory_mb":2048,"cpus":2,"pids":512,"tmp_mb":1024,"data_mb":1024,"timeout_seconds":600,
                      "max_concurrency":256}"#;
    let view = format!(
        r#"{{"limits":{nine},"override":{{"memory_mb":512,"pids":64}},"manifest":{{"cpus":0.5}},"ceiling":{ceiling}}}"#
    );
    let server = Scripted::start(vec![json(200, &view), json(200, &view)]);
    let text = server.run(&["limits", "set", "demo", "cpus=1", "pids="]).ok().stdout;
    assert!(text.contains("memory_mb        512    512       -         2048"), "{text}");
    assert!(server.request().starts_with("GET /api/plugins/demo/limits "));
    let put = server.request();
    assert!(put.starts_with("PUT /api/plugins/demo/limits "), "{put}");
    assert!(put.ends_with(r#"{"memory_mb":512,"cpus":1.0}"#), "{put}");

    let server = Scripted::start(vec![json(200, &view)]);
    server.run(&["limits", "set", "demo", "--clear"]).ok();
    assert!(server.request().ends_with("\r\n\r\n{}"));
    let here = Path::new(".");
    assert!(plugbay(here, &["limits", "set", "demo", "memry_mb=1"]).stderr.contains("did you mean memory_mb?"));
    assert_eq!(plugbay(here, &["limits", "set", "demo"]).code, 2);
}

#[test]
fn doctor_without_a_service_looks_at_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = folder.path().join("docker.sock");
    let run = |more: &[&str]| {
        let mut command = command(folder.path(), env!("CARGO_BIN_EXE_plugbay"));
        command.env("PLUGBAY_URL", format!("http://{free}"));
        command.env("PLUGBAY__SANDBOX__DOCKER_HOST", format!("unix://{}", socket.display()));
        finish(&command.arg("doctor").args(more).output().unwrap())
    };
    let text = run(&[]);
    assert_eq!(text.code, 7);
    assert!(text.stdout.starts_with("missing docker: nothing answers at"), "{}", text.stdout);
    assert!(text.stderr.contains("The server cannot be reached"), "{}", text.stderr);
    let value = run(&["--json"]).json();
    assert_eq!((&value["code"], &value["doctor"][0]["ok"]), (&"server-unreachable".into(), &false.into()));
}

#[test]
fn a_plugins_own_tests_are_run_without_a_sandbox() {
    let base = demo();
    let passed = plugbay(base.path(), &["test", "demo", "--no-sandbox"]).ok();
    assert!(passed.stderr.contains("Ran 6 tests"), "{}", passed.stderr);
    assert!(!base.path().join("demo/tests/__pycache__").exists());
    fs::write(base.path().join("demo/tests/test_no.py"), "assert False\n").unwrap();
    let failed = plugbay(base.path(), &["test", "demo", "--no-sandbox"]).failed(1, "The plugin's tests failed");
    assert!(failed.stderr.contains("fix: mend what they show"), "{}", failed.stderr);
    fs::remove_dir_all(base.path().join("demo/tests")).unwrap();
    let none = plugbay(base.path(), &["test", "demo", "--no-sandbox", "--json"]).ok();
    assert_eq!(none.json()["unit_tests"], "none");
    plugbay(base.path(), &["test", "demo", "--context", "{"]).failed(2, "the context is not JSON");
    plugbay(base.path(), &["test", "gone"]).failed(2, "nothing at `gone");
}
