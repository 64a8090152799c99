//! Other bytes under the same version, on a service for development: an author edits, installs again, and calls.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use super::client::fixture;
use super::served::Served;
use super::support::app::{Answer, form, send};
use super::support::author::pack_folder;

/// The ledger 1.0.0 after an edit: it says `word` for its version, and has another manner.
async fn edit(served: &Served, word: &str, manner: &str, asks: &str) -> Answer {
    let read = |file: &str| fs::read_to_string(fixture("ledger").join(file)).unwrap();
    let main = read("main.py")
        .replace("VERSION = \"1.0.0\"", &format!("VERSION = \"{word}\""))
        .replace("MANNER = \"good\"", &format!("MANNER = \"{manner}\""));
    let manifest = read("plugin.yaml") + asks;
    let archive = pack_folder(&fixture("ledger"), &[("plugin.yaml", &manifest), ("main.py", &main)]);
    send(served.request(Method::POST, "/api/plugins/ledger/update").multipart(form(&archive, None))).await
}

async fn answered(served: &Served) -> Value {
    served.call("ledger", "execute", json!({"number": 7})).await.expect(200)["result"]["version"].take()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_under_the_same_version_answers_and_what_is_kept_stays() {
    let Some(mut served) = Served::with("ledger").await else { return };
    served.result("ledger", "keep", json!({"state": "first"})).await;
    assert_eq!(answered(&served).await, "1.0.0");
    for word in ["edited", "edited again"] {
        assert_eq!(edit(&served, word, "good", "").await.expect(200)["status"], "updated");
        assert_eq!(answered(&served).await, word);
        assert_eq!(served.plugin("ledger").await["version"], "1.0.0");
    }
    // An edit that does not start changes nothing.
    let problem = edit(&served, "broken", "does-not-start", "").await.expect_problem(409, "update-rolled-back");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("`ledger` stays at 1.0.0: what replaces 1.0.0 was started beside it"), "{detail}");
    assert_eq!(
        (answered(&served).await, served.plugin("ledger").await["version"].take()),
        (json!("edited again"), json!("1.0.0"))
    );
    // One that asks for more waits, and the one before answers on.
    let waiting = edit(&served, "asks", "good", "permissions: [chat_access]\n").await.expect(200);
    assert_eq!(waiting["status"], "pending_approval");
    assert_eq!(answered(&served).await, "edited again");
    assert_eq!(served.plugin("ledger").await["restarts"], 0);
    served.restart().await;
    served.until_active("ledger").await;
    assert_eq!(answered(&served).await, "edited again");
    served.post("/api/plugins/ledger/permissions/approve", &json!({"grant": ["chat_access"]})).await.expect(200);
    assert_eq!(answered(&served).await, "asks");
    assert_eq!(served.result("ledger", "keep", json!({})).await, "first");
    // Bytes that fail their first calls give way to those before, data and all.
    edit(&served, "dies", "dies-in-calls", "permissions: [chat_access]\n").await.expect(200);
    served.call("ledger", "execute", json!({"number": 8})).await.expect_problem(502, "plugin-crashed");
    assert_eq!(answered(&served).await, "asks");
    served.end().await;
}
