//! Many things at once, and changes in the middle of others.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::client::fixture;
use super::kind::{remove_sandboxes, sandboxes};
use super::served::Served;
use super::support::app::{form, send};
use super::support::author::pack_folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_ran_out_of_memory_is_not_the_plugins_end() {
    let Some(served) = Served::with("probe").await else { return };
    assert_eq!(served.result("probe", "feed_child", json!({})).await, -9);
    assert_eq!(served.plugin("probe").await["restarts"], 0);
    // Nor is it the reason of an end that comes later.
    let problem = served.call("probe", "crash", json!({"code": 3})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(problem["exit_code"], 3);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_does_not_say_how_it_is_gets_replaced() {
    let Some(served) = Served::start_with(|config| config.health.interval = Duration::from_millis(200)).await else {
        return;
    };
    served.run(&fixture("probe")).await;
    let began = Instant::now();
    let blocked = served.call("probe", "block", json!({"seconds": 8}));
    let watching = async {
        let plugin = served.until("probe", |plugin| plugin["restarts"] == 1).await;
        assert_eq!(plugin["last_failure"]["kind"], "unresponsive", "{plugin}");
        let replaced = began.elapsed();
        served.result("probe", "execute", json!({})).await;
        replaced
    };
    let (blocked, replaced) = tokio::join!(blocked, watching);
    println!("replaced after {replaced:?}");
    assert!(replaced < Duration::from_secs(7), "{replaced:?}");
    assert_eq!(blocked.expect(200)["result"], "unblocked", "the old session may finish its calls");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_replaced_has_ended_when_its_plugin_is_disabled() {
    let Some(served) = Served::start_with(|config| config.health.interval = Duration::from_millis(200)).await else {
        return;
    };
    served.run(&fixture("probe")).await;
    let blocked = served.call("probe", "block", json!({"seconds": 8}));
    let disabling = async {
        served.until("probe", |plugin| plugin["restarts"] == 1).await;
        assert_eq!(sandboxes(served.instance()).len(), 2, "the old session still has its call");
        served.disable("probe").await.expect(200);
        assert_eq!(sandboxes(served.instance()), Vec::<String>::new());
    };
    tokio::join!(blocked, disabling);
    // Nobody holds its volume any more.
    served.delete("/api/plugins/probe?purge=true").await.expect(204);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_does_not_read_costs_its_callers_and_nobody_else() {
    let quick = Served::start_with(|config| {
        config.health.interval = Duration::from_millis(500);
        // Every one of many calls is to be tried.
        config.breaker.failures = 0;
    });
    let Some(served) = quick.await else { return };
    served.run(&fixture("raw")).await;
    served.run(&fixture("probe")).await;
    let deaf = json!({"context": {"deaf": 30}, "timeout_ms": 1_000});
    let deaf = served.execute("raw", &deaf);
    let text = "x".repeat(3_000_000);
    let large = json!({"context": { "text": text }, "timeout_ms": 1_000});
    let others = async {
        served.until_in_flight("raw", 1).await;
        join_all((0..7).map(|_| served.execute("raw", &large))).await
    };
    let (deaf, others) = tokio::join!(deaf, others);
    deaf.expect_problem(504, "plugin-timeout");
    let codes: Vec<_> = others.iter().map(|answer| answer.json()["code"].as_str().unwrap().to_owned()).collect();
    println!("a plugin that does not read: {codes:?}");
    assert!(codes.iter().all(|code| ["plugin-timeout", "plugin-busy"].contains(&code.as_str())), "{codes:?}");
    assert!(codes.iter().any(|code| code == "plugin-busy"), "what waits for a plugin is bounded: {codes:?}");
    served.result("probe", "execute", json!({})).await;
    served.until("raw", |plugin| plugin["state"] == "active" && plugin["restarts"] == 1).await;
    served.result("raw", "execute", json!({})).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_prints_without_end_fills_no_disk() {
    let Some(served) = Served::with("probe").await else { return };
    let began = Instant::now();
    served.result("probe", "chatter", json!({"lines": 100_000})).await;
    println!("100,000 lines of 100 bytes in {:?}", began.elapsed());
    served.until_logged("probe", "lines were dropped").await;
    served.result("probe", "execute", json!({})).await;
    let files = std::fs::read_dir(served.data().join("logs")).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 2 * (1 << 20) + (64 << 10), "{bytes} bytes of log");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_plugins_start_together_and_come_back_together() {
    let Some(mut served) = Served::start().await else { return };
    let names: Vec<String> = (0..10).map(|number| format!("probe-{number}")).collect();
    for name in &names {
        served.add_as(&fixture("probe"), name).await;
    }
    let began = Instant::now();
    for answer in join_all(names.iter().map(|name| served.enable(name))).await {
        answer.expect(200);
    }
    println!("ten plugins were enabled in {:?}", began.elapsed());
    assert_eq!(sandboxes(served.instance()).len(), 10);
    let began = Instant::now();
    served.restart().await;
    join_all(names.iter().map(|name| served.until_active(name))).await;
    println!("they stopped and were back in {:?}", began.elapsed());
    let answers = join_all(names.iter().map(|name| served.result(name, "execute", json!({ "name": name })))).await;
    for (name, answer) in names.iter().zip(answers) {
        assert_eq!(answer, json!({"echo": { "name": name }}));
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enable_whose_caller_goes_away_is_carried_out() {
    let Some(served) = Served::start().await else { return };
    served.add(&fixture("probe"), &[]).await;
    let head = format!(
        "POST /api/plugins/probe/enable HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
        served.token
    );
    let mut connection = TcpStream::connect(served.address).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    served.until("probe", |plugin| plugin["state"] != "unloaded").await;
    drop(connection);
    served.until("probe", |plugin| plugin["status"] == "enabled" && plugin["state"] == "active").await;
    served.result("probe", "execute", json!({})).await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_that_is_removed_while_it_starts_is_a_failed_start() {
    let Some(served) = Served::start().await else { return };
    let main = "import time\nclass Probe:\n    def initialize(self):\n        time.sleep(30)\n    \
                def execute(self, context):\n        return 1\n";
    served.add(&fixture("probe"), &[("main.py", main)]).await;
    let removing = async {
        served.until("probe", |plugin| plugin["state"] == "initializing").await;
        remove_sandboxes(served.instance());
        Instant::now()
    };
    let (enabled, removed) = tokio::join!(served.enable("probe"), removing);
    assert!(removed.elapsed() < Duration::from_secs(3), "{:?}", removed.elapsed());
    let problem = enabled.expect_problem(502, "plugin-start-failed");
    assert_eq!(problem["reason"], "exited", "{problem}");
    assert_eq!(served.plugin("probe").await["status"], "installed");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_see_an_update_only_as_a_short_wait_or_a_documented_refusal() {
    let Some(served) = Served::with("probe").await else { return };
    let stop = AtomicBool::new(false);
    let caller = async |number: usize| {
        let (mut good, mut told) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let answer = served.call("probe", "sleep", json!({"seconds": ([0.0, 0.05, 0.3][number % 3])})).await;
            if answer.status == 200 {
                good += 1;
                continue;
            }
            assert!(answer.headers.contains_key("retry-after"), "{}", answer.text);
            told.push(answer.json()["code"].as_str().unwrap().to_owned());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (good, told)
    };
    let updating = async {
        for version in ["1.1.0", "1.2.0", "1.3.0"] {
            let manifest = std::fs::read_to_string(fixture("probe").join("plugin.yaml")).unwrap();
            let manifest = manifest.replace("version: 1.0.0", &format!("version: {version}"));
            let archive = pack_folder(&fixture("probe"), &[("plugin.yaml", &manifest)]);
            let request = served.request(Method::POST, "/api/plugins/probe/update").multipart(form(&archive, None));
            send(request).await.expect(200);
            let plugin = served.until_active("probe").await;
            assert_eq!(plugin["version"], version);
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (calls, ()) = tokio::join!(join_all((0..6).map(caller)), updating);
    let good: usize = calls.iter().map(|(good, _)| good).sum();
    let mut told: Vec<&String> = calls.iter().flat_map(|(_, told)| told).collect();
    told.sort();
    told.dedup();
    println!("three updates under load: {good} calls answered, others told {told:?}");
    assert!(told.iter().all(|code| ["plugin-stopping", "plugin-restarting"].contains(&code.as_str())), "{told:?}");
    served.end().await;
}
