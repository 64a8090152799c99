//! What can be seen of a plugin that runs: health, usage, logs, figures, sandbox, plan, events.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{events_of, fixture};
use super::kind::docker_is_there;
use super::served::{Served, inspect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_calls_tell_what_happened() {
    let Some(served) = Served::with("probe").await else { return };
    assert_eq!(served.about("probe", "metrics").await["success_rate"], Value::Null);
    served.result("probe", "execute", json!({})).await;
    served.result("probe", "sleep", json!({"seconds": 0.2})).await;
    served.call("probe", "answer", json!({"answer": {"success": false, "error": "no"}})).await;
    served.call("probe", "fail", json!({})).await;
    served.execute("probe", &json!({"method": "sleep", "context": {"seconds": 5}, "timeout_ms": 100})).await;
    served.call("probe", "crash", json!({"code": 6})).await;
    served.until_active("probe").await;
    let calls = served.about("probe", "calls").await;
    let calls = calls["calls"].as_array().unwrap();
    let seen: Vec<_> =
        calls.iter().rev().map(|call| (call["method"].as_str().unwrap(), call["outcome"].as_str().unwrap())).collect();
    let methods: Vec<_> = seen.iter().map(|(method, _)| *method).collect();
    assert_eq!(methods, ["execute", "sleep", "answer", "fail", "sleep", "crash"]);
    let outcomes: Vec<_> = seen.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, ["ok", "ok", "failed", "raised", "timeout", "ended"]);
    assert!(calls.iter().all(|call| call["call_id"].as_str().unwrap().starts_with("call_")));
    let metrics = served.about("probe", "metrics").await;
    let of = |name: &str| metrics[name].as_f64().unwrap();
    assert_eq!((of("invocations"), of("successes"), of("failures")), (6.0, 3.0, 3.0), "{metrics}");
    assert!((of("success_rate") - 0.5).abs() < 1e-9, "{metrics}");
    assert!(of("max_execution_time_ms") >= 200.0 && of("min_execution_time_ms") < 50.0, "{metrics}");
    let health = served.about("probe", "health").await;
    let failures = health["failures"].as_array().unwrap();
    let kinds: Vec<_> = failures.iter().map(|one| (one["kind"].as_str().unwrap(), one["count"].as_u64())).collect();
    assert_eq!(kinds, [("raised", Some(1)), ("timeout", Some(1)), ("crash", Some(1))]);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_and_health_are_those_of_the_plugin() {
    let change = |config: &mut plugbay::config::Config| config.health.interval = Duration::from_millis(200);
    let Some(served) = Served::start_with(change).await else { return };
    served.add(&fixture("probe"), &[]).await;
    let stats = served.about("probe", "stats").await;
    assert_eq!((&stats["status"], &stats["memory_mb"]), (&json!("unloaded"), &Value::Null), "{stats}");
    served.enable("probe").await.expect(200);
    served.result("probe", "store", json!({"text": "x".repeat(2 << 20)})).await;
    let stats = served.about("probe", "stats").await;
    let memory = stats["memory_mb"].as_f64().unwrap();
    assert!(memory > 3.0 && memory < 64.0, "{stats}");
    assert_eq!((&stats["status"], &stats["memory_limit_mb"]), (&json!("active"), &json!(64)), "{stats}");
    assert!(stats["pids"].as_u64().unwrap() >= 2 && stats["cpu_percent"].is_number(), "{stats}");
    assert!((stats["data_used_mb"].as_f64().unwrap() - 2.0).abs() < 0.2, "{stats}");
    served.result("probe", "execute", json!({})).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while served.about("probe", "health").await["health"]["calls"] != 1 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let health = served.about("probe", "health").await;
    assert_eq!((&health["state"], &health["health"]["status"]), (&json!("active"), &json!("degraded")), "{health}");
    let all = super::support::app::send(served.bare(Method::GET, "/health")).await.expect(200);
    assert_eq!(all["plugins"]["probe"]["health"]["status"], "degraded", "{all}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_prints_can_be_read_and_followed() {
    let Some(served) = Served::with("probe").await else { return };
    let path = "/api/plugins/probe/logs";
    let following = served.request(Method::GET, &format!("{path}?tail=0&follow=true")).send().await.unwrap();
    for text in ["one", "two", "drei ✓\u{1b}[31m"] {
        served.result("probe", "say", json!({"text": text})).await;
    }
    served.until_logged("probe", "drei").await;
    let mut following = following;
    let mut text = String::new();
    while text.matches("drei").count() < 3 {
        let bytes = tokio::time::timeout(Duration::from_secs(5), following.chunk()).await.unwrap().unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    let followed = events_of(&text);
    assert!(followed.iter().all(|event| event.name == "log"), "{followed:?}");
    let log = served.log("probe").await;
    for (stream, level) in [("stdout", None), ("stderr", None), ("log", Some("WARNING"))] {
        let found: Vec<_> = log.iter().filter(|line| line["stream"] == stream && line["text"] == "two").collect();
        assert_eq!(found.len(), 1, "{stream}: {log:#?}");
        assert_eq!(found[0]["level"].as_str(), level, "{found:?}");
    }
    assert!(log.iter().any(|line| line["fields"]["number"] == 7), "{log:#?}");
    let tail = served.get(&format!("{path}?tail=2")).await.text;
    assert_eq!(tail.lines().count(), 2);
    let later = served.get(&format!("{path}?since=2030-01-01T00:00:00Z")).await.text;
    assert_eq!(later, "");
    let since = served.get(&format!("{path}?since=2020-01-01T00:00:00Z")).await.text;
    assert_eq!(since.lines().count(), log.len());
    assert_eq!(served.get(&format!("{path}?since=yesterday")).await.status, 400);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_and_its_plan_are_shown_as_docker_has_them() {
    if !docker_is_there() {
        return;
    }
    let Some(served) = Served::start().await else { return };
    served.add(&fixture("probe"), &[]).await;
    assert_eq!(served.about("probe", "sandbox").await["container_id"], Value::Null);
    let plan = served.about("probe", "sandbox/plan").await;
    served.enable("probe").await.expect(200);
    let sandbox = served.about("probe", "sandbox").await;
    let found = inspect(sandbox["container_id"].as_str().unwrap());
    assert_eq!(sandbox["image"], found["Image"]);
    assert_eq!((&sandbox["weaker"], &sandbox["isolation"]), (&json!([]), &json!("docker")), "{sandbox}");
    assert!(sandbox["report"].is_object() && sandbox["spec"].is_object());
    let (plan, made) = (&plan["body"]["HostConfig"], &found["HostConfig"]);
    for same in [
        "CapDrop",
        "NanoCpus",
        "CpuShares",
        "Memory",
        "MemorySwap",
        "PidsLimit",
        "ReadonlyRootfs",
        "NetworkMode",
        "Tmpfs",
    ] {
        assert!(!plan[same].is_null() && plan[same] == made[same], "{same}: {} and {}", plan[same], made[same]);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_state_is_an_event() {
    let Some(served) = Served::start().await else { return };
    served.add(&fixture("probe"), &[]).await;
    let mut stream = served.request(Method::GET, "/api/events").send().await.unwrap();
    served.enable("probe").await.expect(200);
    served.call("probe", "crash", json!({"code": 2})).await;
    served.result("probe", "execute", json!({})).await;
    served.disable("probe").await.expect(200);
    let mut text = String::new();
    while !text.contains("\"to\":\"unloaded\"") {
        let bytes = tokio::time::timeout(Duration::from_secs(5), stream.chunk()).await.unwrap().unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    let states: Vec<_> =
        events_of(&text).into_iter().map(|event| event.data["to"].as_str().unwrap().to_owned()).collect();
    let start = ["loading", "loaded", "initializing", "active"];
    assert_eq!(states, [&start[..], &start[..], &["unloading", "unloaded"]].concat());
    served.end().await;
}
