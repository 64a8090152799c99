//! Entry points that speak the protocol themselves: descriptors, exit codes and output.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use serde_json::json;

use super::Shim;

/// Writes its open descriptors as a message to descriptor `$OUT`.
const LIST: &str = "import os, json
found = []
for fd in range(64):
    try: os.fstat(fd); found.append(fd)
    except OSError: pass
os.write(OUT, (json.dumps(found) + '\\n').encode())";

#[test]
fn python_finds_the_socket_as_descriptor_3_and_nothing_else() {
    let mut shim = Shim::python("python", &LIST.replace("OUT", "3"));
    assert_eq!(shim.receive(), json!([0, 1, 2, 3]));
    shim.assert_code(0);
}

#[test]
fn stdio_has_the_socket_as_stdin_and_stdout_and_nothing_else() {
    let mut shim = Shim::python("stdio", &LIST.replace("OUT", "1"));
    assert_eq!(shim.receive(), json!([0, 1, 2]));
    let mut shim = Shim::start("stdio", &["/bin/sh", "-c", "read line; echo \"$line\"; echo aside >&2"]);
    shim.send(&json!({"echo": 1}));
    assert_eq!(shim.receive(), json!({"echo": 1}));
    shim.assert_code(0);
    assert_eq!(shim.log()[0], json!({"stream": "stderr", "text": "aside"}));
}

#[test]
fn a_message_reaches_the_plugin_whole_and_comes_back() {
    let code = "import socket; s = socket.socket(fileno=3); f = s.makefile('rwb')
while line := f.readline(): f.write(line); f.flush()";
    let mut shim = Shim::python("python", code);
    for size in [1, 70_000, 3_000_000] {
        let message = json!({"text": "x".repeat(size)});
        let mut writer = shim.host.get_ref().try_clone().unwrap();
        let copy = message.clone();
        let sender = std::thread::spawn(move || writeln!(writer, "{copy}").unwrap());
        assert_eq!(shim.receive(), message);
        sender.join().unwrap();
    }
}

#[test]
fn exit_codes_are_forwarded() {
    for (program, code, signal) in [("exit 7", Some(7), None), ("kill -SEGV $$", None, Some(11))] {
        let mut shim = Shim::start("python", &["/bin/sh", "-c", program]);
        shim.assert_code(code.unwrap_or(128 + signal.unwrap_or(0)));
        assert_eq!(shim.log(), [json!({"exit": {"code": code, "signal": signal, "oom": false}})]);
    }
    for runtime in ["python", "stdio", "exec"] {
        let mut shim = Shim::start(runtime, &["/no/such/program"]);
        shim.assert_code(127);
        let log = shim.log();
        assert!(log[0]["text"].as_str().unwrap().contains("/no/such/program"), "{log:?}");
        assert_eq!(log[1], json!({"exit": {"code": 127, "signal": null, "oom": false}}));
    }
}

#[test]
fn output_becomes_lines_of_the_log() {
    let code = "import os
os.write(1, b'one\\ntwo \"\\xff\\x01\\n')
os.write(1, b'x' * 9000 + b'\\n')
os.write(1, b'unfinished')";
    let mut shim = Shim::python("python", code);
    shim.assert_code(0);
    let log = shim.log();
    assert_eq!(log[0], json!({"stream": "stdout", "text": "one"}));
    assert_eq!(log[1], json!({"stream": "stdout", "text": "two \"\u{fffd}\u{1}"}));
    assert_eq!(log[2], json!({"stream": "stdout", "text": "x".repeat(8192), "cut": true}));
    assert_eq!(log[3], json!({"stream": "stdout", "text": "unfinished"}));
    assert_eq!(log[4], json!({"exit": {"code": 0, "signal": null, "oom": false}}));
    assert_eq!(log.len(), 5);
}

#[test]
fn a_log_that_nobody_reads_costs_lines_and_not_progress() {
    let code = "import os
for n in range(20000): os.write(1, b'%d ' % n + b'x' * 100 + b'\\n')
os.write(3, b'1\\n'); os.read(3, 1)
os.write(1, b'later\\n')";
    let mut shim = Shim::python("python", code);
    assert_eq!(shim.receive(), json!(1));
    let mut writer = shim.host.get_ref().try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let log = shim.log();
        shim.assert_code(0);
        log
    });
    std::thread::sleep(Duration::from_millis(100));
    writer.write_all(b"x").unwrap();
    let log = reader.join().unwrap();
    let dropped = log.iter().filter_map(|line| line["dropped"].as_u64()).sum::<u64>();
    let kept = log.iter().filter(|line| line["stream"] == "stdout").count() as u64;
    assert!(dropped > 0);
    assert_eq!(kept + dropped, 20_001);
    assert_eq!(log.last().unwrap()["exit"]["code"], 0);
}

#[test]
fn a_closed_log_harms_nobody() {
    let code = "import os
os.read(3, 1)
for n in range(20000): os.write(1, b'x' * 100 + b'\\n')
os.write(3, b'1\\n')";
    let mut shim = Shim::python("python", code);
    shim.log.get_ref().shutdown(Shutdown::Both).unwrap();
    shim.host.get_mut().write_all(b"x").unwrap();
    assert_eq!(shim.receive(), json!(1));
    shim.assert_code(0);
}
