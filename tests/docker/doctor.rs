//! `plugbay doctor`: what each engine can do here, what is missing, and how to get it.

use std::fs;
use std::process::Command;

use plugbay::domain::Isolation;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::client::{example, fixture};
use super::kind::{kind, process_is_there};
use super::machine::{Machine, elsewhere};

/// As on a machine without bubblewrap.
const WITHOUT: &str = "mount --bind /dev/null /usr/bin/bwrap";

/// What it prints for programs, and how it ends.
fn doctor(machine: &Machine, url: &str, mut command: Command) -> (Option<i32>, Value) {
    command.env("PLUGBAY_URL", url).env("PLUGBAY_DATA_DIR", machine.data());
    command.env("PLUGBAY__SANDBOX__DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let found = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code(), found)
}

#[track_caller]
fn check<'a>(found: &'a Value, name: &str) -> &'a Value {
    let checks = found["doctor"].as_array().unwrap_or_else(|| panic!("{found}"));
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {found}"))
}

#[track_caller]
fn expect_missing(found: &Value, name: &str, detail: &str, how: &str) {
    let check = check(found, name);
    assert_eq!(check["ok"], false, "{check}");
    for (field, part) in [("detail", detail), ("how", how)] {
        assert!(check[field].as_str().is_some_and(|text| text.contains(part)), "{part}: {check}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
async fn what_works_is_told_with_its_version() {
    let Some(machine) = Machine::new() else { return };
    let (mut process, client) = machine.serve();
    client.run(&fixture("probe")).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugbay"));
    command.args(["doctor", "--json"]);
    let url = format!("http://{}", process.address);
    let (code, found) = block_in_place(|| doctor(&machine, &url, command));
    assert_eq!(code, Some(0), "{found}");
    let name = if kind() == Isolation::Docker { "Docker " } else { "bubblewrap " };
    for check in [check(&found, "engine"), check(&found, kind().as_str())] {
        let detail = check["detail"].as_str().unwrap();
        assert!(detail.starts_with(name) && detail.contains("cgroup v"), "{check}");
        assert_eq!((&check["ok"], &check["how"]), (&json!(true), &json!(null)), "{check}");
    }
    assert_eq!(found["isolation"], kind().as_str(), "{found}");
    assert!(block_in_place(|| process.stop()).success(), "{}", process.log());
}

/// `plugbay test` runs a service for a moment, which needs one engine and not both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "starts the program under test")]
async fn without_docker_a_plugin_can_be_tried() {
    if !process_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugbay"));
    command.args(["test", "--json"]).arg(example("echo")).current_dir(folder.path());
    command.env("PLUGBAY__SANDBOX__DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = block_in_place(|| command.output().unwrap());
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{told}");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["trial"]["isolation"], &report["name"]), (&json!("process"), &json!("echo")), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_both_engines_are_missing_both_are_named_with_their_packages() {
    if !process_is_there() {
        return;
    }
    let machine = Machine::with_config(
        "sandbox: { docker_host: \"unix:///nonexistent/docker.sock\", process: { python: /usr/bin/no-such-python } }\n",
    );
    let (mut process, _) = block_in_place(|| machine.serve_elsewhere(WITHOUT));
    assert!(fs::metadata("/usr/bin/bwrap").unwrap().is_file(), "here it is there");
    let url = format!("http://{}", process.address);
    let ask = || elsewhere(WITHOUT, &["doctor", "--json"]);
    let (code, found) = block_in_place(|| doctor(&machine, &url, ask()));
    assert_eq!((code, &found["isolation"], &found["engine"]), (Some(1), &json!(null), &json!("auto")), "{found}");
    expect_missing(&found, "docker", "/nonexistent/docker.sock", "apt-get install docker.io");
    expect_missing(&found, "process", "needs bubblewrap", "apt-get install bubblewrap");
    // All that is missing, not the first of it.
    expect_missing(&found, "process", "no Python at `/usr/bin/no-such-python`", "apt-get install python3");
    expect_missing(&found, "engine", "needs bubblewrap", "for the process engine: apt-get install bubblewrap");
    assert!(block_in_place(|| process.stop()).success(), "{}", process.log());
    // The same without a service.
    let (code, found) = block_in_place(|| doctor(&machine, &url, ask()));
    assert_eq!((code, &found["code"]), (Some(7), &json!("server-unreachable")), "{found}");
    expect_missing(&found, "docker", "/nonexistent/docker.sock", "apt-get install docker.io");
    expect_missing(&found, "process", "needs bubblewrap", "apt-get install bubblewrap");
}
