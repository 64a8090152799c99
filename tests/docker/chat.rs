//! The chat with plugins that hear it: who is told what, in which order, and what becomes of those that fail.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::fixture;
use super::served::Served;
use super::support::app::{Answer, send};

/// A plugin that hears the chat, what it does, and what its manifest adds.
pub(super) struct Hears<'a> {
    pub(super) name: &'a str,
    pub(super) mood: &'a str,
    pub(super) extra: &'a str,
}

impl Served {
    /// Runs a plugin that may hear the chat.
    pub(super) async fn listen(&self, plugin: Hears<'_>) {
        self.add_listener(&plugin).await;
        self.decide_about(plugin.name, &json!({"grant": ["chat_access"]})).await.expect(200);
        self.enable(plugin.name).await.expect(200);
    }

    /// The same without any grant, and not yet running.
    pub(super) async fn add_listener(&self, Hears { name, mood, extra }: &Hears<'_>) {
        let folder = fixture("listener");
        let manifest = std::fs::read_to_string(folder.join("plugin.yaml")).unwrap();
        let manifest = manifest
            .replace("name: listener", &format!("name: {name}"))
            .replace("default: hear", &format!("default: {mood}"));
        self.add(&folder, &[("plugin.yaml", &format!("{manifest}{extra}\n"))]).await;
    }

    pub(super) async fn decide_about(&self, name: &str, body: &Value) -> Answer {
        self.post(&format!("/api/plugins/{name}/permissions/approve"), body).await
    }

    pub(super) async fn conversation(&self) -> String {
        let begun = self.post("/api/chat/conversations", &json!({})).await.expect(201);
        begun["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn write(&self, conversation: &str, body: &Value) -> Answer {
        self.post(&format!("/api/chat/conversations/{conversation}/messages"), body).await
    }

    /// What plugins have to say about a text.
    pub(super) async fn say(&self, conversation: &str, text: &str) -> Value {
        self.write(conversation, &json!({"text": text, "user": "john_doe", "channel": "#general"})).await.expect(200)
    }

    /// Authors and texts of a conversation.
    pub(super) async fn said(&self, conversation: &str) -> Vec<(String, String)> {
        let list = self.get(&format!("/api/chat/conversations/{conversation}/messages")).await.expect(200);
        let said = list["messages"].as_array().unwrap().iter().map(|message| {
            let by = message["plugin"].as_str().or(message["role"].as_str()).unwrap();
            (by.to_owned(), message["text"].as_str().unwrap().to_owned())
        });
        said.collect()
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["plugin"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_the_same_and_answers_come_by_priority_then_by_name() {
    let Some(served) = Served::start().await else { return };
    for (name, priority) in
        [("e", "MONITORING"), ("d", "LOW"), ("c", "NORMAL"), ("b", "NORMAL"), ("h", "HIGH"), ("z", "CRITICAL")]
    {
        let extra = format!("hooks: [{{ name: on_message, priority: {priority} }}]");
        served.listen(Hears { name, mood: "hear", extra: &extra }).await;
    }
    served.listen(Hears { name: "files", mood: "hear", extra: "hooks: [on_file_upload]" }).await;
    served.add_listener(&Hears { name: "denied", mood: "hear", extra: "hooks: [on_message]" }).await;
    served.enable("denied").await.expect(200);

    let here = served.conversation().await;
    let posted = served.say(&here, "hello /there").await;
    assert_eq!(names(&posted["answers"]), ["z", "h", "b", "c", "d", "e"]);
    assert_eq!(posted["errors"], json!([]));
    let message = &posted["message"];
    let told = json!({"id": message["id"], "text": "hello /there", "content": "hello /there", "role": "user",
        "user": "john_doe", "channel": "#general", "conversation": here, "timestamp": message["timestamp"]});
    for answer in posted["answers"].as_array().unwrap() {
        assert_eq!((&answer["hook"], &answer["result"]), (&json!("on_message"), &told));
    }
    let file = json!({"name": "a.txt", "media_type": "text/plain", "content_base64": "aGVsbG8="});
    let posted = served.write(&here, &json!({ "file": file })).await.expect(200);
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let told = json!({"id": posted["message"]["id"], "name": "a.txt", "size": 5, "media_type": "text/plain", "sha256": sha256});
    assert_eq!(posted["answers"], json!([{"plugin": "files", "hook": "on_file_upload", "result": told}]));

    // A token for some plugins hears those alone, also where another one has the last word.
    let token = served.post("/api/tokens", &json!({"label": "t", "scopes": ["execute"], "plugins": ["b", "z"]})).await;
    let token = token.expect(201)["token"].as_str().unwrap().to_owned();
    let path = format!("/api/chat/conversations/{here}/messages");
    let request = served.bare(reqwest::Method::POST, &path).bearer_auth(token).json(&json!({"text": "hello"}));
    assert_eq!(names(&send(request).await.expect(200)["answers"]), ["z", "b"]);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_is_an_entry_and_harms_nobody() {
    let Some(served) = Served::start().await else { return };
    for (name, mood, timeout) in [
        ("crashes", "exit", 5_000),
        ("fails", "fail", 5_000),
        ("good", "hear", 5_000),
        ("raises", "raise", 5_000),
        ("slow", "sleep", 300),
    ] {
        let extra = format!("hooks: [{{ name: on_message, timeout_ms: {timeout} }}]");
        served.listen(Hears { name, mood, extra: &extra }).await;
    }
    let here = served.conversation().await;
    let posted = served.say(&here, "hello").await;
    assert_eq!(names(&posted["answers"]), ["good"]);
    let errors = posted["errors"].as_array().unwrap();
    let found: Vec<_> =
        errors.iter().map(|error| (error["plugin"].as_str().unwrap(), error["code"].as_str().unwrap())).collect();
    let expected =
        [("crashes", "plugin-crashed"), ("fails", "failed"), ("raises", "raised"), ("slow", "plugin-timeout")];
    assert_eq!(found, expected);
    assert_eq!((&errors[1]["error"], &errors[2]["error"]), (&json!("not here"), &json!("ValueError: bad thing")));
    assert_eq!((&errors[2]["error_kind"], &errors[1]["error_kind"]), (&json!("ValueError"), &json!(null)));
    assert_eq!(errors[3]["error"], "`slow` did not answer `on_message` within 300 ms");
    assert_eq!(served.said(&here).await, [("user".to_owned(), "hello".to_owned())]);

    // One that ends again and again is an entry, too, and costs no time, until it is held back.
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|code| code != "plugin-quarantined") {
        assert!(Instant::now() < deadline, "{seen:?}");
        let began = Instant::now();
        let posted = served.say(&here, "hello").await;
        assert_eq!(names(&posted["answers"]), ["good"]);
        assert!(began.elapsed() < Duration::from_secs(6));
        seen.push(posted["errors"][0]["code"].as_str().unwrap().to_owned());
    }
    assert!(seen.iter().any(|code| code == "plugin-restarting"), "{seen:?}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_may_refuse_a_message_does() {
    let Some(served) = Served::start().await else { return };
    served.listen(Hears { name: "good", mood: "hear", extra: "hooks: [on_message]" }).await;
    let here = served.conversation().await;
    let hook = |failure: &str| format!("hooks: [{{ name: on_message, timeout_ms: 300, on_failure: {failure} }}]");
    for (name, mood, text) in [
        ("fails", "fail", "`fails` refused the message: not here"),
        ("raises", "raise", "`raises` refused the message: ValueError: bad thing"),
        ("slow", "sleep", "`slow` refused the message: `slow` did not answer `on_message` within 300 ms"),
    ] {
        served.listen(Hears { name, mood, extra: &hook("block") }).await;
        let problem = served.write(&here, &json!({"text": "hello"})).await.expect_problem(409, "hook-blocked");
        assert_eq!(problem["detail"], text);
        served.disable(name).await.expect(200);
    }
    assert_eq!(served.said(&here).await, []);
    served.listen(Hears { name: "guard", mood: "hear", extra: &hook("block") }).await;
    assert_eq!(names(&served.say(&here, "hello").await["answers"]), ["good", "guard"]);
    assert_eq!(served.said(&here).await, [("user".to_owned(), "hello".to_owned())]);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_goes_to_the_plugin_that_has_it() {
    let Some(served) = Served::start().await else { return };
    let hears = "hooks: [on_message]\ncommands: [{ name: /first }]";
    served.listen(Hears { name: "first", mood: "hear", extra: hears }).await;
    served.listen(Hears { name: "second", mood: "hear", extra: "hooks: [on_message]" }).await;
    let here = served.conversation().await;
    let posted = served.say(&here, "  /first a 'b c' \"d\\\"\" \\e").await;
    let told = json!({"command": "/first", "args": ["a", "b c", "d\"", "e"]});
    assert_eq!(posted["answers"], json!([{"plugin": "first", "hook": "on_command", "result": told}]));
    served.write(&here, &json!({"text": "/first \"a"})).await.expect_problem(422, "command-invalid");
    for text in ["/firsts a", "/FIRST", "a /first", "/second 'a"] {
        assert_eq!(names(&served.say(&here, text).await["answers"]), ["first", "second"], "{text}");
    }
    // Whose command it is and who may not hear the chat any more does not get it either.
    served.post("/api/plugins/first/permissions/revoke", &json!({"permissions": ["chat_access"]})).await.expect(200);
    assert_eq!(names(&served.say(&here, "/first a").await["answers"]), ["second"]);
    served.end().await;
}
