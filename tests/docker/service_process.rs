//! The service as a process that is killed and stopped while its plugins run.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;

use super::client::{Client, fixture};
use super::kind::sandboxes;
use super::machine::Machine;
use super::support::process::until;

/// What a test machine runs: one plugin under its own name, the others beside it.
const PLUGINS: [&str; 3] = ["one", "two", "three"];

async fn run_three(client: &Client) {
    for name in PLUGINS {
        client.add_as(&fixture("probe"), name).await;
        client.enable(name).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_leaves_nothing_running_and_comes_back_with_its_plugins() {
    let Some(machine) = Machine::new() else { return };
    let (mut process, client) = machine.serve();
    run_three(&client).await;
    let under_way = join_all(PLUGINS.map(|name| {
        let request = client.request(reqwest::Method::POST, &format!("/api/plugins/{name}/execute"));
        request.json(&json!({"method": "stubborn", "context": {"seconds": 15}})).send()
    }));
    let killing = async {
        for name in PLUGINS {
            client.until_in_flight(name, 1).await;
        }
        tokio::task::block_in_place(|| process.kill());
        Instant::now()
    };
    let (answers, killed) = tokio::join!(under_way, killing);
    assert!(answers.iter().all(Result::is_err), "the service is gone");
    tokio::task::block_in_place(|| until("no container runs", Duration::from_secs(5), || machine.running() == 0));
    println!("no container ran {:?} after the service was killed", killed.elapsed());
    assert_eq!((sandboxes(&machine.instance()).len(), machine.run_dirs()), (3, 3), "a killed service removes nothing");

    let began = Instant::now();
    let (mut process, client) = machine.serve();
    for name in PLUGINS {
        client.until_active(name).await;
        assert_eq!(client.result(name, "execute", json!({})).await, json!({"echo": {}}));
    }
    println!("three plugins answer {:?} after the restart", began.elapsed());
    let swept = || sandboxes(&machine.instance()).len() == 3 && machine.run_dirs() == 3;
    tokio::task::block_in_place(|| until("left-overs are gone", Duration::from_secs(5), swept));
    assert!(tokio::task::block_in_place(|| process.stop()).success(), "{}", process.log());
    assert_eq!((sandboxes(&machine.instance()), machine.run_dirs()), (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_stopped_under_load_ends_in_time_and_tells_every_caller() {
    let Some(machine) = Machine::new() else { return };
    let (mut process, client) = machine.serve();
    run_three(&client).await;
    let call = async |number: usize| {
        let (mut good, mut told) = (0, Vec::new());
        let (method, seconds) =
            if number == 0 { ("stubborn", 19.0) } else { ("sleep", [0.1, 0.2, 0.4, 0.7, 1.1][number % 5]) };
        loop {
            let request =
                client.request(reqwest::Method::POST, &format!("/api/plugins/{}/execute", PLUGINS[number % 3]));
            let sent = request.json(&json!({"method": method, "context": {"seconds": seconds}})).send().await;
            // The service does not listen any more.
            let Ok(answer) = sent else { return (good, told) };
            match answer.status().as_u16() {
                200 => good += 1,
                _ => told.push(answer.json::<serde_json::Value>().await.unwrap()["code"].as_str().unwrap().to_owned()),
            }
        }
    };
    // Streams that would never end by themselves.
    let following = async |path: &str| {
        let answer = client.get(path).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream");
    };
    let stopping = async {
        for name in PLUGINS {
            client.until_in_flight(name, 6).await;
        }
        let began = Instant::now();
        process.signal(Signal::TERM);
        let status = tokio::task::block_in_place(|| process.wait(Duration::from_secs(20)));
        (status, began.elapsed())
    };
    let events = following("/api/events");
    let logs = following("/api/plugins/one/logs?follow=true");
    let (calls, (status, took), (), ()) = tokio::join!(join_all((0..18).map(call)), stopping, events, logs);
    let good: usize = calls.iter().map(|(good, _)| good).sum();
    let mut told: Vec<&String> = calls.iter().flat_map(|(_, told)| told).collect();
    told.sort();
    told.dedup();
    println!("stopped under load in {took:?} with {status}; {good} calls answered, others told {told:?}");
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(told.iter().all(|code| ["plugin-stopping", "stopping"].contains(&code.as_str())), "{told:?}");
    assert!(!calls[0].1.is_empty(), "the call that does not end is told");
    assert_eq!((sandboxes(&machine.instance()), machine.run_dirs()), (Vec::new(), 0));
}

/// What the service writes for people to read is looked at byte by byte: on a terminal an escape sequence would rewrite
/// what stands there, and a line break begins a line of the service's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_writes_no_line_of_the_services_log() {
    if Machine::new().is_none() {
        return;
    }
    let machine = Machine::with_config("logging: { format: text }\n");
    let (mut process, client) = machine.serve();
    let forged =
        r"x\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\n2026-11-30T00:00:00Z  INFO audit: an administrator approved";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plugin.yaml"), "name: loud\nversion: 1.0.0\nmain: main.py\nclass: P\n").unwrap();
    std::fs::write(folder.path().join("main.py"), format!("raise RuntimeError(\"{forged}\")\n")).unwrap();
    client.add(folder.path(), &[]).await;
    client.enable("loud").await.expect_problem(502, "plugin-start-failed");
    assert!(tokio::task::block_in_place(|| process.stop()).success(), "{}", process.log());
    let log = process.log();
    assert!(log.contains("an administrator approved"), "the plugin's text is there: {log}");
    let is_harmless = |character: char| character == '\n' || !character.is_control() && character != '\u{202e}';
    assert!(log.chars().all(is_harmless), "{log:?}");
    let forged_lines: Vec<&str> = log.lines().filter(|line| line.starts_with("2026-11-30T00:00:00Z")).collect();
    assert!(forged_lines.is_empty(), "{forged_lines:?}");
}
