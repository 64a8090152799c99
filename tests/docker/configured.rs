//! Configuration of plugins that run: a new one reaches them without a lost call, and what is secret is seen nowhere else.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::fixture;
use super::kind::docker_is_there;
use super::served::{Served, inspect};
use super::support::app::{Answer, send};
use super::support::author::pack_folder;

/// Not to be found where it has no business.
const CANARY: &str = "CANARY-7f3a9c51d2";
const LATER: &str = "CANARY-later-40b1";
const NEVER: &str = "CANARY-never-99e0";

impl Served {
    async fn configure(&self, body: &Value) -> Answer {
        let request = self.request(Method::PUT, "/api/plugins/configured/config").header("If-Match", "*");
        send(request.json(body)).await
    }

    async fn told(&self) -> Value {
        self.result("configured", "execute", json!({})).await
    }

    /// Waits until the plugin tells a word it was configured with.
    async fn until_told(&self, word: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let told = self.told().await;
            if told["config"]["word"] == word {
                return told;
            }
            assert!(Instant::now() < deadline, "{told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A service with the plugin, some of its files replaced, which runs.
async fn served(instead: &[(&str, &str)]) -> Option<Served> {
    let served = Served::start().await?;
    served.add(&fixture("configured"), instead).await;
    served.enable("configured").await.expect_problem(409, "config-incomplete");
    served.configure(&json!({"api_key": CANARY, "sent": NEVER})).await.expect(200);
    served.enable("configured").await.expect(200);
    Some(served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_plugin_gets_a_new_configuration_without_a_restart() {
    let Some(mut served) = served(&[]).await else { return };
    let told = served.told().await;
    assert_eq!(told["config"], json!({"api_key": CANARY, "word": "quiet"}), "what is never delivered is not there");
    let container = served.container("configured").await;
    served.configure(&json!({"api_key": null, "sent": null, "word": "loud"})).await.expect(200);
    let told = served.told().await;
    assert_eq!((&told["config"], &told["configured"]), (&json!({"api_key": CANARY, "word": "loud"}), &json!(1)));
    served.configure(&json!({"api_key": LATER, "sent": null, "word": "loud"})).await.expect(200);
    assert_eq!(served.told().await["config"]["api_key"], LATER);
    // What the plugin does not get to see is not told to it.
    served.configure(&json!({"api_key": null, "sent": CANARY, "word": "loud"})).await.expect(200);
    assert_eq!(served.told().await["configured"], 2);
    assert_eq!(served.container("configured").await, container);
    assert_eq!(served.plugin("configured").await["restarts"], 0);
    // A new process has it from the start.
    served.restart().await;
    served.until_active("configured").await;
    let told = served.told().await;
    assert_eq!((&told["config"], &told["configured"]), (&json!({"api_key": LATER, "word": "loud"}), &json!(0)));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_cannot_take_it_is_started_anew_and_loses_no_call() {
    let source = fs::read_to_string(fixture("configured").join("main.py")).unwrap();
    let without = source.replace("def configure(", "def some_other(");
    let Some(served) = served(&[("main.py", &without)]).await else { return };
    let old = served.container("configured").await;
    // Eight run, four wait for a place.
    let calls = join_all((0..12).map(|_| served.result("configured", "execute", json!({"seconds": 2}))));
    let changing = async {
        served.until_in_flight("configured", 8).await;
        served.configure(&json!({"api_key": null, "sent": null, "word": "loud"})).await.expect(200);
        served.told().await
    };
    let (answers, after) = tokio::join!(calls, changing);
    assert_eq!(after["config"]["word"], "loud", "a call that comes after has the new one");
    let with = |word: &str| answers.iter().filter(|told| told["config"]["word"] == word).count();
    assert_eq!((with("quiet"), with("loud")), (8, 4), "{answers:?}");
    assert_ne!(served.container("configured").await, old);
    let metrics = served.about("configured", "metrics").await;
    assert_eq!((&metrics["invocations"], &metrics["failures"]), (&json!(13), &json!(0)));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_configuration_is_brought_by_a_restart() {
    let Some(served) = served(&[]).await else { return };
    for word in ["refuse", "raise"] {
        let before = served.container("configured").await;
        served.configure(&json!({"api_key": null, "sent": null, "word": word})).await.expect(200);
        assert_eq!(served.until_told(word).await["configured"], 0);
        assert_ne!(served.container("configured").await, before, "{word}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_waits_for_a_configuration_replaces_the_running_one() {
    let Some(served) = served(&[]).await else { return };
    let manifest = fs::read_to_string(fixture("configured").join("plugin.yaml")).unwrap();
    let manifest = manifest.replace("version: 1.0.0", "version: 2.0.0");
    let manifest = manifest.replace("default: quiet }", "required: true }");
    let archive = pack_folder(&fixture("configured"), &[("plugin.yaml", &manifest)]);
    let form = super::support::app::form(&archive, None);
    let waits = send(served.request(Method::POST, "/api/plugins/configured/update").multipart(form)).await.expect(200);
    assert_eq!(waits["status"], "pending_config");
    assert_eq!(served.told().await["config"]["word"], "quiet", "the old one serves on");
    let started = served.configure(&json!({"api_key": null, "sent": null, "word": "new"})).await.expect(200);
    assert_eq!(started["update"]["version"], "2.0.0");
    served.until_active("configured").await;
    assert_eq!(served.told().await["config"], json!({"api_key": CANARY, "word": "new"}));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_an_approved_update_delivers_is_there_when_it_serves() {
    let Some(served) = served(&[]).await else { return };
    let manifest = fs::read_to_string(fixture("configured").join("plugin.yaml")).unwrap();
    let manifest = manifest.replace("version: 1.0.0", "version: 2.0.0").replace("deliver: false", "deliver: true");
    let archive = pack_folder(&fixture("configured"), &[("plugin.yaml", &manifest)]);
    let form = super::support::app::form(&archive, None);
    let waits = send(served.request(Method::POST, "/api/plugins/configured/update").multipart(form)).await.expect(200);
    let added = json!(["secret sent delivered to the plugin"]);
    assert_eq!((&waits["status"], &waits["permission_diff"]["added"]), (&json!("pending_approval"), &added));
    assert_eq!(served.told().await["config"], json!({"api_key": CANARY, "word": "quiet"}), "the old one serves on");
    let digest = served.plugin("configured").await["pending"]["digest"].take();
    let approved = served.post("/api/plugins/configured/permissions/approve", &json!({ "digest": digest })).await;
    assert_eq!(approved.expect(200)["update"]["version"], "2.0.0");
    assert_eq!(served.told().await["config"], json!({"api_key": CANARY, "sent": NEVER, "word": "quiet"}));
    assert_eq!(served.plugin("configured").await["restarts"], 0);
    served.end().await;
}

/// Everything that a caller can read about the plugin and the service.
async fn everything_shown(served: &Served) -> Vec<(String, String)> {
    let mut shown = Vec::new();
    for path in [
        "",
        "/config",
        "/health",
        "/stats",
        "/metrics",
        "/calls",
        "/logs",
        "/sandbox",
        "/sandbox/plan",
        "/manifest",
        "/versions",
        "/permissions",
    ] {
        let path = format!("/api/plugins/configured{path}");
        shown.push((path.clone(), served.get(&path).await.text));
    }
    for path in ["/api/audit?limit=1000", "/api/plugins", "/health", "/api/system", "/api/openapi.json"] {
        shown.push((path.to_owned(), served.get(path).await.text));
    }
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_seen_by_the_plugin_and_nowhere_else() {
    if !docker_is_there() {
        return;
    }
    let Some(mut served) = served(&[]).await else { return };
    let mut shown = Vec::new();
    for round in 0..2 {
        for method in ["shout", "fail"] {
            let answer = served.call("configured", method, json!({})).await;
            assert!(answer.text.contains("[redacted]"), "{}", answer.text);
            shown.push((method.to_owned(), answer.text));
        }
        // The old value is masked after a change, too.
        if round == 0 {
            served.configure(&json!({"api_key": LATER, "sent": NEVER})).await.expect(200);
        }
    }
    let bad = json!({"api_key": LATER, "colour": 1, "word": 1});
    shown.push(("refused".to_owned(), served.configure(&bad).await.text));
    let inside = served.result("configured", "surroundings", json!({})).await;
    shown.push(("inside".to_owned(), inside.to_string()));
    shown.push(("inspect".to_owned(), inspect(&served.container("configured").await).to_string()));
    served.until_logged("configured", "logged [redacted]").await;
    served.until_logged("configured", "started with [redacted]").await;
    served.until_logged("configured", "ValueError: raised [redacted]").await;
    // A start that fails says why, without the secret.
    served.disable("configured").await.expect(200);
    served.configure(&json!({"api_key": null, "sent": null, "word": "fail at start"})).await.expect(200);
    let failed = served.enable("configured").await;
    assert!(failed.expect_problem(502, "plugin-start-failed")["detail"].as_str().unwrap().contains("[redacted]"));
    shown.push(("failed start".to_owned(), failed.text));
    shown.extend(everything_shown(&served).await);
    let health = served.get("/api/plugins/configured/health").await.text;
    assert!(health.contains("[redacted]"), "failures are kept without secrets: {health}");
    for (place, text) in &shown {
        assert!(!text.contains("CANARY"), "{place}: {text}");
    }
    let setup = served.stop_service().await;
    let mut folders = vec![setup.data()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                assert!(!bytes.windows(6).any(|window| window == b"CANARY"), "{}", path.display());
            }
        }
    }
}
