//! Enable, disable, uninstall and limits of plugins that run.

use std::time::{Duration, Instant};

use serde_json::json;

use super::client::fixture;
use super::kind::docker_is_there;
use super::kind::sandboxes;
use super::served::{Served, inspect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_enabled_and_disabled_as_often_as_somebody_likes() {
    let Some(served) = Served::with("probe").await else { return };
    let first = served.container("probe").await;
    let again = served.enable("probe").await.expect(200);
    assert_eq!((&again["status"], &again["state"]), (&json!("enabled"), &json!("active")));
    assert_eq!(served.container("probe").await, first, "it goes on as it was");
    let (one, other) = tokio::join!(served.disable("probe"), served.disable("probe"));
    for answer in [one, other, served.disable("probe").await] {
        let answer = answer.expect(200);
        assert_eq!((&answer["status"], &answer["state"]), (&json!("disabled"), &json!("unloaded")));
    }
    assert_eq!(sandboxes(served.instance()), Vec::<String>::new());
    served.until_logged("probe", "cleaned up").await;
    served.call("probe", "execute", json!({})).await.expect_problem(409, "plugin-not-enabled");
    let (one, other) = tokio::join!(served.enable("probe"), served.enable("probe"));
    for answer in [one, other] {
        assert_eq!(answer.expect(200)["state"], "active");
    }
    assert_eq!(sandboxes(served.instance()).len(), 1);
    let log = served.log("probe").await;
    let count = |text: &str| log.iter().filter(|line| line["text"] == text).count();
    assert_eq!((count("initialized"), count("cleaned up")), (2, 1));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_end_before_a_plugin_is_disabled() {
    let Some(served) = Served::with("probe").await else { return };
    let call = served.result("probe", "sleep", json!({"seconds": 1.5}));
    let disabling = async {
        served.until_in_flight("probe", 1).await;
        let disabling = served.disable("probe");
        let refused = async {
            served.until("probe", |plugin| plugin["state"] == "unloading").await;
            let answer = served.call("probe", "execute", json!({})).await;
            answer.expect_problem(503, "plugin-stopping");
            assert!(answer.headers.contains_key("retry-after"));
        };
        tokio::join!(disabling, refused).0
    };
    let (slept, disabled) = tokio::join!(call, disabling);
    assert_eq!(slept, "sleep");
    disabled.expect(200);
    served.until_logged("probe", "cleaned up").await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_do_not_end_are_told_and_cancelled() {
    let Some(served) = Served::with("probe").await else { return };
    let call = served.call("probe", "sleep", json!({"seconds": 19}));
    let streamed = json!({"method": "forever"});
    let streamed = served.stream("probe", &streamed);
    let disabling = async {
        served.until_in_flight("probe", 2).await;
        let began = Instant::now();
        served.disable("probe").await.expect(200);
        began.elapsed()
    };
    let (call, streamed, took) = tokio::join!(call, streamed, disabling);
    let last = streamed.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["code"]), ("error", &json!("plugin-stopping")), "{last:?}");
    println!("disabled with a long call under way after {took:?}");
    call.expect_problem(503, "plugin-stopping");
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(20), "{took:?}");
    served.until_logged("probe", "sleep cancelled: shutdown").await;
    served.until_logged("probe", "cleaned up").await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstalling_stops_and_removes_and_purging_forgets() {
    let Some(served) = Served::with("probe").await else { return };
    served.result("probe", "store", json!({"text": "kept"})).await;
    let volumes = served.data().join("volumes");
    let count = || std::fs::read_dir(&volumes).unwrap().count();
    assert_eq!(count(), 1);
    served.delete("/api/plugins/probe").await.expect(204);
    assert_eq!((sandboxes(served.instance()).len(), count()), (0, 1), "without purge the data stays");
    served.call("probe", "execute", json!({})).await.expect_problem(404, "plugin-unknown");
    served.add_as(&fixture("probe"), "other").await;
    served.enable("other").await.expect(200);
    served.result("other", "store", json!({"text": "gone"})).await;
    served.delete("/api/plugins/other?purge=true").await.expect(204);
    assert_eq!((sandboxes(served.instance()).len(), count()), (0, 1));
    let logs = std::fs::read_dir(served.data().join("logs")).unwrap().count();
    assert_eq!(logs, 0);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_limits_are_in_force_at_once_and_stay_so() {
    if !docker_is_there() {
        return;
    }
    let Some(mut served) = Served::with("probe").await else { return };
    let memory = |container: &str| inspect(container)["HostConfig"]["Memory"].as_i64().unwrap();
    let before = served.container("probe").await;
    assert_eq!(memory(&before), (64 + 1) << 20, "/tmp counts as memory");
    let path = "/api/plugins/probe/limits";
    let limits = served.put(path, &json!({"memory_mb": 96, "max_concurrency": 2})).await.expect(200);
    assert_eq!(limits["override"], json!({"memory_mb": 96, "max_concurrency": 2}), "{limits}");
    served.until_active("probe").await;
    let after = served.container("probe").await;
    assert_ne!(before, after);
    assert_eq!(memory(&after), (96 + 1) << 20);
    assert_eq!(served.plugin("probe").await["limits"]["memory_mb"], 96);
    let began = Instant::now();
    let sleep = || served.result("probe", "sleep", json!({"seconds": 0.3}));
    tokio::join!(sleep(), sleep(), sleep());
    assert!(began.elapsed() > Duration::from_millis(550), "only two at once: {:?}", began.elapsed());
    served.put(path, &json!({"memory_mb": 100_000_000})).await.expect_problem(422, "limits-exceed-ceiling");
    assert_eq!(served.container("probe").await, after, "what is refused changes nothing");
    served.restart().await;
    served.until_active("probe").await;
    assert_eq!(memory(&served.container("probe").await), (96 + 1) << 20);
    served.put(path, &json!({})).await.expect(200);
    served.until_active("probe").await;
    assert_eq!(memory(&served.container("probe").await), (64 + 1) << 20);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_serves_the_new_version_and_keeps_the_data() {
    let Some(served) = Served::with("probe").await else { return };
    served.result("probe", "store", json!({"text": "kept"})).await;
    let manifest = std::fs::read_to_string(fixture("probe").join("plugin.yaml")).unwrap();
    let manifest = manifest.replace("version: 1.0.0", "version: 1.1.0");
    let main = std::fs::read_to_string(fixture("probe").join("main.py")).unwrap().replace("{\"echo\"", "{\"new\"");
    let archive =
        super::support::author::pack_folder(&fixture("probe"), &[("plugin.yaml", &manifest), ("main.py", &main)]);
    let form = super::support::app::form(&archive, None);
    let request = served.request(reqwest::Method::POST, "/api/plugins/probe/update").multipart(form);
    super::support::app::send(request).await.expect(200);
    served.until_active("probe").await;
    assert_eq!(served.result("probe", "execute", json!({})).await, json!({"new": {}}));
    assert_eq!(served.result("probe", "store", json!({})).await, "kept");
    assert_eq!(served.plugin("probe").await["version"], "1.1.0");
    served.end().await;
}
