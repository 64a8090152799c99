//! The order of hooks: the table of docs/chat.md, for answers, streams and failures.

use serde_json::{Value, json};

use super::client::fixture;
use super::exchanges::{PARROT, ask, streamed};
use super::served::Served;
use super::support::app::until;

const PRIORITIES: [&str; 5] = ["CRITICAL", "HIGH", "NORMAL", "LOW", "MONITORING"];

/// Hooks that may change what is said, and those that only hear of it.
const CHANGING: [&str; 4] = ["on_request_start", "on_before_message", "on_stream_chunk", "on_after_message"];
const OBSERVING: [&str; 9] = [
    "on_message",
    "on_before_model_load",
    "on_model_switch",
    "on_retry",
    "on_after_model_load",
    "on_request_complete",
    "on_request_error",
    "on_error",
    "on_plugin_load",
];

impl Served {
    /// One plugin for each priority, with every hook. Later names come first, so that names alone would turn the order.
    async fn record_hooks(&self) {
        for (index, priority) in PRIORITIES.iter().enumerate() {
            let changing = CHANGING
                .map(|hook| format!("{{ name: {hook}, priority: {priority}, effect: transform, timeout_ms: 20000 }}"));
            let observing = OBSERVING.map(|hook| format!("{{ name: {hook}, priority: {priority} }}"));
            let hooks = [changing.as_slice(), observing.as_slice()].concat().join(", ");
            let name = format!("{}-{}", ["e", "d", "c", "b", "a"][index], priority.to_ascii_lowercase());
            let folder = fixture("recorder");
            let manifest = std::fs::read_to_string(folder.join("plugin.yaml")).unwrap();
            let manifest = manifest
                .replace("name: recorder", &format!("name: {name}"))
                .replace("default: none", &format!("default: \"{}\"", &priority[..1]));
            self.add(&folder, &[("plugin.yaml", &format!("{manifest}hooks: [{hooks}]\n"))]).await;
            self.decide_about(&name, &json!({"grant": ["chat_access"]})).await.expect(200);
            self.enable(&name).await.expect(200);
        }
    }

    /// Which hooks one of them has heard, each once, in their order.
    async fn heard(&self, name: &str) -> Vec<String> {
        let told = self.execute(name, &json!({})).await.expect(200)["result"].take();
        let mut hooks: Vec<String> =
            told.as_array().unwrap().iter().map(|hook| hook.as_str().unwrap().to_owned()).collect();
        hooks.sort_unstable();
        hooks.dedup();
        hooks
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_stand_in_the_order_of_the_table_and_hear_of_answers_and_failures() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    served.record_hooks().await;
    // Each adds its letter: what is said shows who came first.
    let expected = "you saidCHNLM: hi+s=CHNLM+b=CHNLM +a=CHNLM".to_owned();
    assert_eq!(served.chat("hi").await.expect(200)["response"], expected);
    let mut body = ask("hi");
    body["stream"] = json!(true);
    // A hook that sees the answer as a whole makes it wait, so it is the same.
    assert_eq!(streamed(&served.complete(&body).await), (expected, Some("[DONE]")));

    let common = ["on_after_message", "on_after_model_load", "on_before_message", "on_before_model_load", "on_message"];
    let of_answers = [&common[..], &["on_request_complete", "on_request_start", "on_stream_chunk"]].concat();
    for name in ["e-critical", "a-monitoring"] {
        until("it has heard of the answers", async || {
            let heard = served.heard(name).await;
            heard.iter().filter(|hook| *hook != "on_plugin_load").eq(&of_answers)
        })
        .await;
    }

    // A member that raises is told of, and so is an exchange that fails; none of it is told of itself.
    served.take_part(("raises", "raise", "{ kind: message_processor, priority: LOW }")).await;
    served.chat("hi").await.expect(200);
    served.post("/chat", &json!({"message": "hi", "model": "none"})).await.expect_problem(404, "model-unknown");
    until("it has heard of the failures", async || {
        let heard = served.heard("c-normal").await;
        ["on_error", "on_request_error"].iter().all(|hook| heard.contains(&(*hook).to_owned()))
    })
    .await;
    let raised: Value =
        served.execute("c-normal", &json!({"context": {"errors": true}})).await.expect(200)["result"].take();
    assert!(raised.as_array().unwrap().iter().all(|plugin| plugin == "raises"), "{raised}");

    let figures = served.get("/metrics").await.text;
    for figure in [
        r#"plugbay_chat_exchanges_total{front="/chat",outcome="answered"} 2"#,
        r#"plugbay_chat_exchanges_total{front="/chat",outcome="failed"} 1"#,
        r#"plugin_chat_steps_total{plugin="parrot-backend",stage="backend",outcome="answered"} 3"#,
        r#"plugin_chat_steps_total{plugin="raises",stage="request",outcome="skipped"} 2"#,
        r#"plugin_chat_tokens_total{plugin="parrot-backend",kind="completion"} 15"#,
    ] {
        assert!(figures.contains(figure), "{figure} in {figures}");
    }
    served.end().await;
}
