//! What plugins write and read in the chat, and what they need for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chat::Hears;
use super::served::Served;

const COMMAND: &str = "commands: [{ name: /ask }]\nhooks: [on_message]";

fn command(function: &str, params: &Value) -> String {
    format!("/ask '{}'", json!({"function": function, "params": params}))
}

impl Served {
    /// What a function of the service says to a plugin that serves a command.
    async fn ask_by_command(&self, conversation: &str, function: &str, params: Value) -> Value {
        let posted = self.say(conversation, &command(function, &params)).await;
        assert_eq!(posted["errors"], json!([]), "{posted}");
        posted["answers"][0]["result"].clone()
    }

    /// What a function says to a plugin that is called from outside of the chat.
    async fn ask_outside(&self, name: &str, function: &str, params: Value) -> Value {
        self.result(name, "execute", json!({"function": function, "params": params})).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_writes_and_reads_where_it_was_asked() {
    let Some(served) = Served::start().await else { return };
    served.listen(Hears { name: "writer", mood: "ask", extra: COMMAND }).await;
    served.listen(Hears { name: "neighbour", mood: "hear", extra: "hooks: [on_message]" }).await;
    let (here, there) = (served.conversation().await, served.conversation().await);
    served.say(&there, "elsewhere").await;
    served.say(&here, "hello").await;
    let sent = served.ask_by_command(&here, "chat.send", json!({"text": "hi"})).await;
    assert_eq!((&sent["role"], &sent["plugin"], &sent["text"]), (&json!("plugin"), &json!("writer"), &json!("hi")));
    assert_eq!(sent["conversation"], json!(here));
    let history = served.ask_by_command(&here, "chat.history", json!({"limit": 2, "conversation": here})).await;
    let texts: Vec<_> = history["messages"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(texts[0], "hi");
    assert!(texts[1].as_str().unwrap().contains("chat.history"), "the command itself is the newest");

    // Plugins hear nothing of what plugins write.
    let calls = served.about("neighbour", "calls").await["calls"].take();
    assert_eq!(calls.as_array().unwrap().len(), 2);
    // Nor does one get to another conversation, with or without a call from the chat.
    let refused = json!({"code": "conversation-out-of-reach"});
    for function in ["chat.send", "chat.history"] {
        let params = |id: &str| match function {
            "chat.send" => json!({"text": "x", "conversation": id}),
            _ => json!({ "conversation": id }),
        };
        let answer = served.ask_by_command(&here, function, params(&there)).await;
        assert_eq!((&answer["code"], &answer["data"]), (&json!(-32002), &refused), "{answer}");
        let answer = served.ask_outside("writer", function, params(&here)).await;
        assert_eq!(answer["data"], refused);
        assert_eq!(answer["text"], "the call does not come from the chat, so there is no conversation");
        let answer = served.ask_by_command(&here, function, params("x")).await;
        assert_eq!(answer["code"], -32602);
    }
    assert_eq!(served.ask_by_command(&here, "chat.send", json!({"text": ""})).await["code"], -32602);
    for limit in [0, 101] {
        let answer = served.ask_by_command(&here, "chat.history", json!({ "limit": limit })).await;
        assert_eq!(
            (&answer["code"], &answer["text"]),
            (&json!(-32602), &json!(format!("the parameters do not fit: `limit` is 1 to 100, found {limit}")))
        );
    }
    assert_eq!(served.said(&there).await, [("user".to_owned(), "elsewhere".to_owned())]);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_writes_too_much_is_slowed_down() {
    let Some(served) = Served::start().await else { return };
    served.listen(Hears { name: "writer", mood: "ask", extra: COMMAND }).await;
    let here = served.conversation().await;
    let many =
        |times: u32| format!("/ask '{}'", json!({"function": "chat.send", "params": {"text": "x"}, "times": times}));
    assert_eq!(served.say(&here, &many(60)).await["answers"][0]["result"].as_array().unwrap().len(), 60);
    let refused = served.ask_by_command(&here, "chat.send", json!({"text": "x"})).await;
    assert_eq!((&refused["code"], &refused["data"]), (&json!(-32002), &json!({"code": "rate-limited"})));
    assert_eq!(refused["text"], "a plugin writes at most 60 messages in a minute");
    served.clock().advance(Duration::from_mins(1));
    assert_eq!(served.ask_by_command(&here, "chat.send", json!({"text": "x"})).await["text"], "x");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chat_is_for_those_that_hold_chat_access_now() {
    let Some(served) = Served::start().await else { return };
    served.add_listener(&Hears { name: "writer", mood: "ask", extra: COMMAND }).await;
    served.enable("writer").await.expect(200);
    let here = served.conversation().await;
    let denied = async |served: &Served, when: &str| {
        let posted = served.say(&here, &command("chat.history", &json!({}))).await;
        assert_eq!((&posted["answers"], &posted["errors"]), (&json!([]), &json!([])), "{when}: not told");
        for (function, params) in [("chat.send", json!({"text": "x"})), ("chat.history", json!({}))] {
            let answer = served.ask_outside("writer", function, params).await;
            assert_eq!(
                (&answer["code"], &answer["text"]),
                (&json!(-32001), &json!("`chat_access` is not granted")),
                "{when}"
            );
            assert_eq!(answer["data"]["permission"], "chat_access");
            assert_eq!(answer["data"]["how"], "plugbay approve writer --grant chat_access");
        }
    };
    let granted = async |served: &Served| {
        assert!(served.ask_by_command(&here, "chat.history", json!({})).await["messages"].is_array());
    };
    denied(&served, "absent").await;
    served.decide_about("writer", &json!({"deny": ["chat_access"]})).await.expect(200);
    denied(&served, "denied").await;
    served.decide_about("writer", &json!({"grant": ["chat_access"]})).await.expect(200);
    granted(&served).await;
    let revoke = json!({"permissions": ["chat_access"]});
    served.post("/api/plugins/writer/permissions/revoke", &revoke).await.expect(200);
    denied(&served, "revoked").await;
    let end = json!({"grant": ["chat_access"], "expires_at": "2026-11-20T13:00:00Z"});
    served.decide_about("writer", &end).await.expect(200);
    granted(&served).await;
    served.clock().advance(Duration::from_hours(2));
    // Hooks ask the database, where a grant ends with its time; a session learns of it within one period.
    let posted = served.say(&here, &command("chat.history", &json!({}))).await;
    assert_eq!(posted["answers"], json!([]));
    let deadline = Instant::now() + Duration::from_secs(15);
    while served.ask_outside("writer", "chat.history", json!({})).await["code"] != -32001 {
        assert!(Instant::now() < deadline, "within one period");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    denied(&served, "expired").await;
    let audit = served.get("/api/audit?plugin=writer&limit=1000").await.expect(200)["entries"].take();
    assert!(audit.as_array().unwrap().iter().any(|entry| entry["action"] == "host.refused"), "{audit}");
    served.end().await;
}
