//! What plugins ask of the service: host functions, as the SDK calls them from inside a sandbox.

use serde_json::{Value, json};

use super::client::fixture;
use super::served::Served;

async fn served() -> Option<Served> {
    let served = Served::start().await?;
    served.add(&fixture("asker"), &[]).await;
    served.enable("asker").await.expect(200);
    Some(served)
}

impl Served {
    async fn ask(&self, function: &str, params: Value) -> Value {
        self.result("asker", "execute", json!({"function": function, "params": params})).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_values_stay_over_restarts_and_belong_to_one_plugin() {
    let Some(mut served) = served().await else { return };
    let value = json!({"visits": [1, null, "é"]});
    assert_eq!(served.ask("kv.set", json!({"key": "state", "value": value})).await, Value::Null);
    assert_eq!(served.ask("kv.get", json!({"key": "state"})).await, value);
    assert_eq!(served.ask("kv.get", json!({"key": "other", "default": 7})).await, 7);
    served.ask("kv.set", json!({"key": "soon", "value": 1, "expires_seconds": 0.001})).await;

    served.add_as(&fixture("asker"), "neighbour").await;
    served.enable("neighbour").await.expect(200);
    let asked = json!({"function": "kv.list", "params": {}});
    assert_eq!(served.result("neighbour", "execute", asked).await, json!([]));

    served.restart().await;
    served.until_active("asker").await;
    assert_eq!(served.ask("kv.get", json!({"key": "state"})).await, value);
    served.clock().advance(std::time::Duration::from_secs(1));
    assert_eq!(served.ask("kv.list", json!({})).await, json!(["state"]));
    served.ask("kv.delete", json!({"key": "state"})).await;
    assert_eq!(served.ask("kv.list", json!({})).await, json!([]));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_are_all_answered_and_refusals_say_why() {
    let Some(served) = served().await else { return };
    let asked = json!({"function": "kv.get", "params": {"key": "k", "default": 1}, "times": 500});
    assert_eq!(served.result("asker", "execute", asked).await, json!(vec![1; 500]));

    let refused = served.ask("kv.set", json!({"key": "k", "value": "x".repeat(70_000)})).await;
    assert_eq!((&refused["code"], &refused["data"]), (&json!(-32002), &json!({"code": "quota-exceeded"})));
    assert_eq!(refused["text"], "a value has 70002 bytes; at most 65536 are kept");
    let denied = served.ask("plugins.list", json!({})).await;
    assert_eq!((&denied["code"], &denied["text"]), (&json!(-32001), &json!("`admin_access` is not granted")));
    served.end().await;
}
