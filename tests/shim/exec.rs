//! The `exec` runtime against messages of the test.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Shim;

fn shim(flags: &[&str], script: &str) -> Shim {
    Shim::start_with(&[], "exec", flags, &["/bin/sh", "-c", script])
}

fn invoke(shim: &mut Shim, id: u64, params: &Value, deadline_ms: u64) {
    let params =
        json!({"method": "execute", "params": params, "call": format!("call_{id}"), "deadline_ms": deadline_ms});
    shim.send(&json!({"jsonrpc": "2.0", "id": id, "method": "invoke", "params": params}));
}

/// The kind of the error that one call of a script ends with.
fn kind_of(flags: &[&str], script: &str, deadline_ms: u64) -> Value {
    let mut shim = shim(flags, script);
    invoke(&mut shim, 1, &Value::Null, deadline_ms);
    let answer = shim.receive();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-32000)), "{answer}");
    answer["error"]["data"]["kind"].clone()
}

#[test]
fn life_of_a_session() {
    let mut shim = shim(&["--methods", "execute,on_message"], "cat");
    shim.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocol": 1}}));
    let answer = shim.receive();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["result"]["protocol"], 1);
    assert_eq!(answer["result"]["methods"], json!(["execute", "on_message"]));
    let params = json!({"context": {"text": "é\n\u{1F600}\"", "number": 1.50, "deep": [[{}], null, true]}});
    invoke(&mut shim, 2, &params, 5000);
    assert_eq!(shim.receive(), json!({"jsonrpc": "2.0", "id": 2, "result": params}));
    shim.send(&json!({"jsonrpc": "2.0", "id": 3, "method": "health"}));
    assert_eq!(shim.receive()["result"]["status"], "healthy");
    shim.send(&json!({"jsonrpc": "2.0", "id": 4, "method": "unheard_of"}));
    assert_eq!(shim.receive()["error"]["code"], -32601);
    shim.send(&json!({"jsonrpc": "2.0", "id": 5, "method": "invoke", "params": {"call": "c", "method": "cleanup"}}));
    assert_eq!(shim.receive()["error"]["code"], -32601);
    shim.send(&json!({"jsonrpc": "2.0", "id": 6, "method": "invoke", "params": []}));
    assert_eq!(shim.receive()["error"]["code"], -32602);
    shim.send(&json!({"jsonrpc": "2.0", "id": 7, "method": "shutdown"}));
    assert_eq!(shim.receive()["id"], 7);
    shim.assert_code(0);
}

#[test]
fn a_large_input_comes_back_whole() {
    let mut shim = shim(&[], "cat");
    let params = json!("x".repeat(1_000_000));
    invoke(&mut shim, 1, &params, 5000);
    assert_eq!(shim.receive()["result"], params);
}

#[test]
fn a_failed_program_is_an_error_with_its_last_words() {
    let mut shim = shim(&[], "echo first >&2; echo last >&2; exit 3");
    invoke(&mut shim, 1, &Value::Null, 5000);
    let error = shim.receive()["error"].clone();
    assert_eq!(error["code"], -32000);
    assert_eq!(error["message"], "exit code 3: last");
    let data = json!({"kind": "ExitCode", "exit_code": 3, "signal": null, "trace": "first\nlast"});
    assert_eq!(error["data"], data);
    assert_eq!(shim.log_line(), json!({"stream": "stderr", "text": "first"}));
}

#[test]
fn every_limit_has_its_error() {
    let start = Instant::now();
    assert_eq!(kind_of(&[], "sleep 60", 100), "Timeout");
    assert_eq!(kind_of(&["--timeout-ms", "100"], "sleep 60", 60_000), "Timeout");
    assert_eq!(kind_of(&["--output-bytes", "1000"], "yes", 60_000), "OutputTooLarge");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(kind_of(&[], "echo no json", 5000), "OutputInvalid");
    assert_eq!(kind_of(&[], "echo 1 2", 5000), "OutputInvalid");
    assert_eq!(kind_of(&[], "kill -SEGV $$", 5000), "Signal");
    assert_eq!(kind_of(&[], "kill -KILL $$", 5000), "Signal");
}

#[test]
fn calls_run_together_up_to_a_limit() {
    let mut shim = shim(&["--calls", "2"], "sleep 0.4; cat");
    let start = Instant::now();
    for id in 1..=3 {
        invoke(&mut shim, id, &json!(id), 5000);
    }
    let refused = shim.receive();
    assert_eq!((&refused["id"], &refused["error"]["data"]["kind"]), (&json!(3), &json!("Busy")));
    let mut results = [shim.receive()["result"].as_u64(), shim.receive()["result"].as_u64()];
    results.sort_unstable();
    assert_eq!(results, [Some(1), Some(2)]);
    assert!(start.elapsed() < Duration::from_millis(780), "{:?}", start.elapsed());
}

#[test]
fn a_cancelled_call_dies_and_others_live() {
    let mut shim = shim(&[], "read word; case $word in 1) sleep 60;; esac; echo $word");
    invoke(&mut shim, 1, &json!(1), 60_000);
    shim.send(&json!({"jsonrpc": "2.0", "method": "cancel", "params": {"call": "call_9", "reason": "client"}}));
    shim.send(&json!({"jsonrpc": "2.0", "method": "cancel", "params": {"call": "call_1", "reason": "client"}}));
    assert_eq!(shim.receive()["error"]["data"]["kind"], "Cancelled");
    invoke(&mut shim, 2, &json!(2), 5000);
    assert_eq!(shim.receive()["result"], 2);
}

#[test]
fn a_line_that_is_not_the_protocol_ends_it() {
    let deep = "[".repeat(100);
    for line in ["not json", "[]", "{}", "{\"method\":1}", "{\"id\":\"x\",\"method\":\"health\"}", &deep, "\u{0}"] {
        let mut shim = shim(&[], "cat");
        writeln!(shim.host.get_mut(), "{line}").unwrap();
        shim.assert_code(65);
    }
}

#[test]
fn the_service_gone_ends_running_calls() {
    let mut shim = shim(&[], "echo started >&2; sleep 60");
    invoke(&mut shim, 1, &Value::Null, 60_000);
    assert_eq!(shim.log_line()["text"], "started");
    let start = Instant::now();
    shim.host.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
    shim.assert_code(75);
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[test]
fn what_is_no_json_is_shown_as_it_was_printed() {
    let message_of = |script: &str| {
        let mut shim = shim(&[], script);
        invoke(&mut shim, 1, &Value::Null, 5000);
        shim.receive()["error"]["message"].as_str().unwrap().to_owned()
    };
    let said = "stdout is not one JSON value: it is";
    assert_eq!(message_of("echo hello"), format!("{said} `hello`; a text needs quotes"));
    assert_eq!(message_of("true"), "stdout is empty; one JSON value is expected");
    assert_eq!(message_of("printf 'a\\033[2J\\nb'"), format!("{said} `a\\u{{1b}}[2J b`; a text needs quotes"));
    // A word is shown whole or not at all: the service would not know half of a secret.
    let long = message_of("echo first; head -c 200 /dev/zero | tr '\\0' x");
    assert_eq!(long, format!("{said} `first…`; a text needs quotes"));
}

#[test]
fn a_script_without_its_first_line_is_told_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main");
    for (content, hint) in [("echo 1\n", "such as `#!/bin/sh`"), ("#!/no/such\n", "is not in the image")] {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut shim = Shim::start_with(&[], "exec", &[], &[path.to_str().unwrap()]);
        invoke(&mut shim, 1, &Value::Null, 5000);
        let message = shim.receive()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(hint), "{message}");
    }
}
