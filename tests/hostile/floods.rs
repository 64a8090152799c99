//! More than anybody wants to hear, in every kind of message, and messages that take more room than they seem to.

use std::time::{Duration, Instant};

use futures_util::future::FutureExt as _;
use serde_json::{Value, json};

use super::target::{Attack, Target, attack};

pub(crate) const TABLE: &[Attack] = &[
    attack(&["A.168"], "a flood of every kind", |target| floods(target).boxed()),
    attack(&[], "parts that nobody asked for in parts", |target| parts(target).boxed()),
    attack(&[], "messages that are wide", |target| wide(target).boxed()),
    attack(&[], "an offer and a health without end", |target| boasts(target).boxed()),
    attack(&["B.34", "B.39"], "output without end", |target| output(target).boxed()),
];

async fn floods(target: &Target) {
    let victim = target.raw().await;
    let notes = [
        r#"{"jsonrpc":"2.0","method":"log","params":{"message":"x"}}"#,
        r#"{"jsonrpc":"2.0","method":"progress","params":{"call":"$call","percent":1}}"#,
        r#"{"jsonrpc":"2.0","method":"progress","params":{"call":"call_00000000000070008000000000000000","percent":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#,
    ];
    for line in notes {
        victim.breaks(json!({"do": "bad.flood", "line": line, "seconds": 10})).await;
    }
    // Questions are answered as fast as they may come, and not faster: that holds up nobody but who asks.
    let line = r#"{"jsonrpc":"2.0","id":1,"method":"kv.get","params":{"key":"x"}}"#;
    let restarts = victim.shown().await["restarts"].take();
    let asked = victim.result("bad.flood", json!({"line": line, "seconds": 2, "block": 500})).await;
    assert_eq!((asked, &victim.shown().await["restarts"]), (json!("flooded"), &restarts));
}

/// The caller of such a call gets told that it was too much; who goes on after that is cut off.
async fn parts(target: &Target) {
    let victim = target.raw().await;
    let began = Instant::now();
    let problem = victim
        .perform("bad.flood_chunks", json!({"seconds": 15, "bytes": 100}))
        .await
        .expect_problem(502, "plugin-protocol");
    println!("    parts: {} after {:?}", problem["detail"], began.elapsed());
    target.until(&victim.name, |plugin| plugin["restarts"] == 1 && plugin["state"] == "active").await;
    assert_eq!(victim.shown().await["last_failure"]["kind"], "protocol");
    victim.works().await;
    // Who wants them gets them, in order and without a gap: all of them, or as many as the caller had read in time.
    let body = json!({"context": {"do": "bad.flood_chunks", "seconds": 2, "bytes": 100}});
    let events = target.stream(&victim.name, &body).await;
    let (last, chunks) = events.split_last().unwrap();
    println!("    {} parts in a stream of two seconds, then {}", chunks.len(), last.name);
    assert!(chunks.len() > 1_000 && chunks.iter().zip(0_u64..).all(|(chunk, seq)| chunk.data["seq"] == seq));
    match last.name.as_str() {
        "result" => assert_eq!(last.data["result"], json!(chunks.len())),
        _ => assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!("plugin-busy")), "{last:?}"),
    }
    victim.expect_restarts(1).await;
}

async fn wide(target: &Target) {
    let victim = target.install_raw(&[]).await;
    // The messages are for the service to bear. To make them takes more than half of what it has otherwise.
    target.put(&format!("/api/plugins/{}/limits", victim.name), &json!({"memory_mb": 192})).await.expect(200);
    target.enable(&victim.name).await.expect(200);
    let wide = |line: &str, times: u32| json!({"count": 2_000_000, "line": line, "times": times});
    let log = r#"{"jsonrpc":"2.0","method":"log","params":{"message":"wide","fields":{"x":$wide}}}"#;
    assert_eq!(victim.result("bad.wide", wide(log, 4)).await, "sent");
    let many = json!({"count": 4_000, "times": 1_500,
        "line": r#"{"jsonrpc":"2.0","method":"log","params":{"message":"many","fields":{"x":$wide}}}"#});
    // Somebody who follows and does not read.
    let path = format!("/api/plugins/{}/logs?follow=true", victim.name);
    let follower = target.request(reqwest::Method::GET, &path).send().await.unwrap();
    assert_eq!(victim.result("bad.wide", many).await, "sent");
    drop(follower);
    let mut error = wide(r#"{"jsonrpc":"2.0","id":$id,"error":{"code":1,"message":"x","data":{"x":$wide}}}"#, 1);
    error["silent"] = true.into();
    let answer = victim.perform("bad.wide", error).await.expect(200);
    assert_eq!((&answer["success"], &answer["error"]), (&json!(false), &json!("x")));
    let mut result = wide(r#"{"jsonrpc":"2.0","id":$id,"result":$wide}"#, 1);
    result["silent"] = true.into();
    let answer = victim.perform("bad.wide", result).await;
    assert!(answer.text.matches("0,").count() > 1_000_000, "{:.400}", answer.text);
    answer.expect(200);
    victim.perform("bad.keys", json!({"count": 300_000})).await.expect(200);
    victim.expect_restarts(0).await;
}

async fn boasts(target: &Target) {
    let start = json!({"do": "bad.boast", "what": "offer", "count": 400_000});
    let boaster = target.install_raw(&[("start.json", &start.to_string())]).await;
    let problem = target.enable(&boaster.name).await.expect_problem(502, "plugin-start-failed");
    assert_eq!(problem["reason"], "protocol", "{problem}");
    let victim = target.raw().await;
    assert_eq!(victim.result("bad.boast", json!({"what": "health", "count": 500_000})).await, "boasting");
    let told = async {
        loop {
            let health = target.about(&victim.name, "health").await["health"].take();
            if health["status"] == "unhealthy" {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let health = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
    assert!(health["error"].as_str().unwrap().contains("longer than"), "{health}");
    victim.works().await;
    victim.expect_restarts(0).await;
}

/// At the rate that was measured, 10 GiB would take minutes; memory and disk stay as they are after the first second.
async fn output(target: &Target) {
    let victim = target.raw().await;
    for text in ["A line as long as lines of a log often are, with some words in it.\n", "no end "] {
        let seconds = 3.0;
        let written = victim.result("greed.print_endlessly", json!({"text": text, "seconds": seconds})).await;
        println!("    {} MiB a second were taken", written.as_f64().unwrap() / seconds / f64::from(1 << 20));
        assert!(written.as_u64().unwrap() > 8 << 20, "output is never waited for: {written}");
    }
    let kept: u64 = log_files(target).iter().sum();
    assert!(kept <= (2 << 20) + (64 << 10), "{kept} bytes of log");
    let log: Vec<Value> = target.log(&victim.name).await;
    assert!(log.iter().any(|line| line["text"].as_str().unwrap().contains("were dropped")), "what is missing is told");
    victim.works().await;
    victim.expect_restarts(0).await;
}

fn log_files(target: &Target) -> Vec<u64> {
    let files = std::fs::read_dir(target.machine.data().join("logs")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).collect()
}
