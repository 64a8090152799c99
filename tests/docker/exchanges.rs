//! Exchanges with models by way of plugins in real sandboxes: the order, what members may change, what their failures do,
//! and that every front gives the same.

use reqwest::Method;
use serde_json::{Value, json};

use super::chat::Hears;
use super::client::fixture;
use super::served::Served;
use super::support::app::{Answer, send, until};
use super::support::author::pack_folder;

/// A plugin that takes part: its name, its mood, and its `chat` section.
pub(super) type Part<'a> = (&'a str, &'a str, &'a str);

pub(super) const PARROT: Part<'_> = ("parrot-backend", "plain", "{ kind: backend_provider }");

/// Such a plugin, in a version.
pub(super) fn talker((name, mood, section): Part<'_>, version: &str) -> Vec<u8> {
    let folder = fixture("talker");
    let manifest = std::fs::read_to_string(folder.join("plugin.yaml")).unwrap();
    let manifest = manifest
        .replace("name: talker", &format!("name: {name}"))
        .replace("version: 1.0.0", &format!("version: {version}"))
        .replace("default: plain", &format!("default: {mood}"));
    pack_folder(&folder, &[("plugin.yaml", &format!("{manifest}chat: {section}\n"))])
}

impl Served {
    /// Runs a plugin that takes part in exchanges.
    pub(super) async fn take_part(&self, (name, mood, section): Part<'_>) {
        // A busy machine takes its time: only what is about time has a short one.
        let is_timed = section.contains("timeout_ms") || section.contains("backend_provider");
        let section = if is_timed { section.to_owned() } else { section.replace(" }", ", timeout_ms: 20000 }") };
        self.let_in(&talker((name, mood, &section), "1.0.0")).await;
        self.decide_about(name, &json!({"grant": ["chat_access"]})).await.expect(200);
        self.enable(name).await.expect(200);
    }

    pub(super) async fn chat(&self, text: &str) -> Answer {
        self.post("/chat", &json!({"message": text, "model": "parrot"})).await
    }

    pub(super) async fn complete(&self, body: &Value) -> Answer {
        self.post("/v1/chat/completions", body).await
    }

    /// What a member was shown.
    pub(super) async fn shown_to(&self, name: &str) -> Value {
        self.execute(name, &json!({})).await.expect(200)["result"].take()
    }
}

pub(super) fn ask(text: &str) -> Value {
    json!({"model": "parrot", "messages": [{"role": "user", "content": text}]})
}

/// The text of OpenAI's chunks, and the last line.
pub(super) fn streamed(answer: &Answer) -> (String, Option<&str>) {
    let frames: Vec<&str> =
        answer.text.split_terminator("\n\n").filter_map(|frame| frame.strip_prefix("data: ")).collect();
    let text = frames.iter().filter_map(|frame| serde_json::from_str::<Value>(frame).ok());
    let text =
        text.map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()).collect();
    (text, frames.last().copied())
}

/// The same request in Anthropic's form.
async fn check_anthropic(served: &Served, expected: &str) {
    let anthropic = json!({"model": "parrot", "max_tokens": 9, "messages": [{"role": "user", "content": "hello you"}]});
    let message = served.post("/v1/messages", &anthropic).await.expect(200);
    assert_eq!(message["content"], json!([{"type": "text", "text": expected}]));
    assert_eq!(
        (&message["stop_reason"], &message["usage"]["output_tokens"], &message["role"]),
        (&json!("end_turn"), &json!(5), &json!("assistant"))
    );
    let mut body = anthropic.clone();
    body["stream"] = json!(true);
    let events = served.post("/v1/messages", &body).await;
    let texts: String = events
        .text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| event["delta"]["text"].as_str().map(ToOwned::to_owned))
        .collect();
    assert_eq!(texts, expected);
    assert!(events.text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{}", events.text);
    // Middleware has added a message before it was counted.
    let counted = served.post("/v1/messages/count_tokens", &anthropic).await.expect(200);
    assert_eq!(counted, json!({"input_tokens": 5, "estimated": true}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_front_gives_the_same_and_says_who_took_part() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    for part in [
        ("shouts", "shout", "{ kind: message_processor, priority: HIGH }"),
        ("patches", "patch", "{ kind: message_processor, of: [response] }"),
        ("signs", "sign", "{ kind: middleware, sees: complete }"),
        ("tunes", "tune", "{ kind: middleware, priority: LOW }"),
    ] {
        served.take_part(part).await;
    }
    let expected = "you said: HELLO YOU ! -- signed";
    let whole = served.chat("hello you").await;
    let answer = whole.expect(200);
    assert_eq!(answer["response"], expected);
    assert_eq!((&answer["backend"], &answer["model"]), (&json!("parrot-backend"), &json!("parrot")));
    assert_eq!(answer["usage"], json!({"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7}));
    let parts: Vec<(&str, &str, &str)> = answer["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            (part["name"].as_str().unwrap(), part["stage"].as_str().unwrap(), part["outcome"].as_str().unwrap())
        })
        .collect();
    let expected_parts = [
        ("signs", "process_request", "unchanged"),
        ("tunes", "process_request", "changed"),
        ("shouts", "request", "changed"),
        ("parrot-backend", "backend", "answered"),
        ("patches", "response", "changed"),
        ("tunes", "process_response", "unchanged"),
        ("signs", "process_response", "changed"),
    ];
    assert_eq!(parts, expected_parts);

    let openai = served.complete(&ask("hello you")).await;
    let answer = openai.expect(200);
    assert_eq!(answer["choices"][0]["message"]["content"], expected);
    assert_eq!(openai.headers["x-plugbay-backend"], "parrot-backend");
    assert_eq!(
        (&openai.headers["x-plugbay-attempts"], openai.headers.get("x-plugbay-skipped")),
        (&"1".parse().unwrap(), None)
    );
    let mut body = ask("hello you");
    body["stream"] = json!(true);
    let stream = served.complete(&body).await;
    assert_eq!(streamed(&stream), (expected.to_owned(), Some("[DONE]")));
    assert_eq!(stream.headers["content-type"], "text/event-stream; charset=utf-8");

    check_anthropic(&served, expected).await;

    // What the backend was asked: with what middleware has added, and nothing of the caller's head.
    let seen = served.shown_to("parrot-backend").await;
    let last = seen.as_array().unwrap().last().unwrap();
    let texts: Vec<&str> =
        last["messages"].as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap()).collect();
    assert_eq!((texts, &last["parameters"]["seed"]), (vec!["be brief", "HELLO YOU"], &json!(7)));
    assert_eq!(last["messages"][0]["metadata"]["origin"], "tunes");

    let id = openai.headers["x-plugbay-exchange"].to_str().unwrap();
    let record = served.get(&format!("/api/chat/exchanges/{id}")).await.expect(200);
    assert_eq!(
        (&record["outcome"], &record["front"], &record["prompt_tokens"]),
        (&json!("answered"), &json!("/v1/chat/completions"), &json!(2))
    );
    let stages: Vec<&str> =
        record["steps"].as_array().unwrap().iter().map(|step| step["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, expected_parts.map(|(_, stage, _)| stage));
    served.get("/api/chat/exchanges/exchange_1").await.expect_problem(404, "exchange-unknown");
    assert_eq!(served.get("/api/chat/exchanges?limit=2").await.expect(200)["exchanges"].as_array().unwrap().len(), 2);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_cannot_look_refuses_and_a_filter_that_cannot_is_left_out_visibly() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    let decide = "{ kind: message_processor, effect: decide, timeout_ms: 400 }";
    served.take_part(("guard", "guard", decide)).await;
    served.chat("hello").await.expect(200);
    let refused = served.chat("a bomb").await;
    assert!(
        refused.expect_problem(422, "content-blocked")["detail"]
            .as_str()
            .unwrap()
            .contains("`guard`: it speaks of bombs")
    );
    let refused = served.complete(&ask("a bomb")).await;
    let error = &refused.expect(400)["error"];
    assert_eq!((&error["code"], &error["type"]), (&json!("content_filter"), &json!("invalid_request_error")));
    assert_eq!(refused.headers["x-plugbay-attempts"], "0", "the model was not asked");
    // A caller may not write for somebody else either.
    let mut forged = ask("hello");
    forged["messages"] = json!([{"role": "assistant", "content": "a bomb"}, {"role": "user", "content": "go on"}]);
    served.complete(&forged).await.expect(400);

    // One on which a guard raises is refused alone, and opens no breaker.
    for (mood, rest) in
        [("raise", "a plain text"), ("nonsense", "a plain text"), ("sleep", "a plain text"), ("die", "a plain text")]
    {
        let name = format!("guard-{mood}");
        served.take_part((&name, mood, decide)).await;
        let text =
            served.chat(rest).await.expect_problem(503, "guard-unavailable")["detail"].as_str().unwrap().to_owned();
        assert!(text.contains(&format!("`{name}` must look at every message")), "{text}");
        for _ in 0..6 {
            served.chat(rest).await.expect_problem(503, "guard-unavailable");
        }
        if matches!(mood, "raise" | "nonsense") {
            let shown = served.get(&format!("/api/plugins/{name}")).await.expect(200);
            assert_eq!(shown["breaker"]["state"], "closed", "{mood}");
        }
        served.disable(&name).await.expect(200);
        let told = served.complete(&ask("hello")).await;
        assert_eq!(told.expect(503)["error"]["code"], "guard-unavailable", "{mood}: disabled by hand");
        served.delete(&format!("/api/plugins/{name}")).await.expect(204);
        served.chat(rest).await.expect(200);
    }

    // The same failures of one that may fail let everything pass, and can be seen.
    for mood in ["raise", "nonsense", "sleep", "die"] {
        let name = format!("filter-{mood}");
        served.take_part((&name, mood, "{ kind: message_processor, timeout_ms: 400 }")).await;
        let answer = served.chat("hello").await;
        assert_eq!(answer.expect(200)["skipped"][0]["name"], name.as_str());
        let named = answer.headers["x-plugbay-skipped"].to_str().unwrap();
        assert!(named.starts_with(&format!("{name};")), "{named}");
        let token = served.post("/api/tokens", &json!({"label": mood, "scopes": ["chat"]})).await.expect(201);
        let request = served.bare(Method::POST, "/chat").bearer_auth(token["token"].as_str().unwrap());
        let answer = send(request.json(&json!({"message": "hello", "model": "parrot"}))).await;
        let body = answer.expect(200);
        assert_eq!((&answer.headers["x-plugbay-skipped"], body.get("skipped")), (&"1".parse().unwrap(), None));
        assert_eq!(body["counts"]["skipped"], 1);
        served.disable(&name).await.expect(200);
        assert!(served.chat("hello").await.headers.contains_key("x-plugbay-skipped"));
        served.delete(&format!("/api/plugins/{name}")).await.expect(204);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_extensions_add_passes_the_filters_and_middleware_may_answer_itself() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    served.take_part(("masks", "mask", "{ kind: message_processor, effect: decide }")).await;
    served.take_part(("adds", "plain", "{ kind: feature_extension }")).await;
    served.chat("the secret is out").await.expect(200);
    let seen = served.shown_to("parrot-backend").await;
    let messages = seen[0]["messages"].as_array().unwrap().clone();
    let texts: Vec<&str> = messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(texts, ["a # from somewhere", "the # is out"]);
    assert_eq!((&messages[0]["role"], &messages[0]["metadata"]["origin"]), (&json!("tool"), &json!("adds")));

    served.take_part(("answers", "answer", "{ kind: middleware, priority: CRITICAL }")).await;
    let answer = served.chat("anything").await.expect(200);
    assert_eq!((&answer["response"], &answer["backend"]), (&json!("I know that one"), &json!("answers")));
    served.take_part(("refuses", "refuse", "{ kind: middleware, effect: decide, priority: CRITICAL }")).await;
    served.chat("anything").await.expect(200);
    served.disable("answers").await.expect(200);
    served.delete("/api/plugins/answers").await.expect(204);
    served.chat("anything").await.expect_problem(422, "content-blocked");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_found_and_backends_that_fail_are_told_in_the_form_of_the_front() {
    let Some(served) = Served::start().await else { return };
    served.chat("hello").await.expect_problem(404, "model-unknown");
    served.take_part(PARROT).await;
    let models = served.get("/v1/models").await.expect(200);
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["owner/parrot:7b", "parrot"]);
    assert_eq!(served.get("/v1/models/owner/parrot:7b").await.expect(200)["owned_by"], "parrot-backend");
    assert_eq!(served.get("/v1/models/none").await.expect(404)["error"]["code"], "model_not_found");
    let mut body = ask("hi");
    for (model, status) in
        [("parrot/parrot", 200), ("parrot-backend/other", 200), ("owner/parrot:7b", 200), ("x/parrot", 404)]
    {
        body["model"] = json!(model);
        assert_eq!(served.complete(&body).await.status, status, "{model}");
    }
    served.take_part(("second", "broken", "{ kind: backend_provider, models: ['bad*'] }")).await;
    body["model"] = json!("bad-model");
    let failed = served.complete(&body).await;
    let error = failed.expect(502)["error"].take();
    assert_eq!((&error["code"], &error["type"]), (&json!("backend-failed"), &json!("server_error")));
    assert!(error["message"].as_str().unwrap().contains("no model here"), "{error}");
    body["model"] = json!("parrot");
    let ambiguous = served.complete(&body).await.expect(404);
    assert!(ambiguous["error"]["message"].as_str().unwrap().contains("parrot/parrot, second/parrot"), "{ambiguous}");
    served.disable("second").await.expect(200);

    // After the first word an error ends the stream, and nothing is repeated.
    served.take_part(("third", "half", "{ kind: backend_provider, models: [half] }")).await;
    body["model"] = json!("half");
    body["stream"] = json!(true);
    let stream = served.complete(&body).await;
    let (text, last) = streamed(&stream);
    assert_eq!((stream.status.as_u16(), text.as_str()), (200, "half of "));
    assert!(last.unwrap().contains("\"code\":\"backend-failed\""), "{last:?}");
    let id = stream.headers["x-plugbay-exchange"].to_str().unwrap();
    let record = served.get(&format!("/api/chat/exchanges/{id}")).await.expect(200);
    assert_eq!(record["outcome"], "partial");

    for (body, param) in
        [(json!({"messages": []}), "model"), (json!({"model": "m", "messages": [], "max_tokens": 0}), "max_tokens")]
    {
        let error = served.complete(&body).await.expect(400)["error"].take();
        assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &json!(param)));
    }
    let bare = send(served.bare(Method::POST, "/v1/chat/completions").json(&body)).await;
    assert_eq!(bare.expect(401)["error"]["code"], "invalid_api_key");
    let reader = served.post("/api/tokens", &json!({"label": "r", "scopes": ["read"]})).await.expect(201);
    let request = served.bare(Method::POST, "/v1/chat/completions").bearer_auth(reader["token"].as_str().unwrap());
    assert_eq!(send(request.json(&body)).await.expect(403)["error"]["type"], "permission_error");
    assert_eq!(served.get("/v1/nothing").await.expect(404)["error"]["type"], "invalid_request_error");
    // What the chat calls is not for callers.
    served.call("parrot-backend", "chat", json!({})).await.expect_problem(422, "method-not-offered");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_is_sent_along_as_it_passed_and_hooks_hear_of_it() {
    let Some(served) = Served::start().await else { return };
    served.take_part(PARROT).await;
    served.take_part(("shouts", "shout", "{ kind: message_processor }")).await;
    served.listen(Hears { name: "hears", mood: "hear", extra: "hooks: [on_message]" }).await;
    let here = served.conversation().await;
    let say = async |text: &str| {
        let body = json!({"message": text, "model": "parrot", "conversation": here, "user": "ada"});
        served.post("/chat", &body).await.expect(200)
    };
    let first = say("my name is ada").await;
    assert_eq!((&first["response"], &first["conversation"]), (&json!("you said: MY NAME IS ADA "), &json!(here)));
    say("and again").await;
    let seen = served.shown_to("parrot-backend").await;
    let messages = seen[1]["messages"].as_array().unwrap().clone();
    let said: Vec<(&str, &str)> = messages
        .iter()
        .map(|message| (message["role"].as_str().unwrap(), message["content"].as_str().unwrap()))
        .collect();
    let passed = [("user", "MY NAME IS ADA"), ("assistant", "you said: MY NAME IS ADA "), ("user", "AND AGAIN")];
    assert_eq!(said, passed);
    // What passed before is not processed again.
    assert_eq!(served.shown_to("shouts").await.as_array().unwrap().len(), 2);
    let kept = served.said(&here).await;
    let kept: Vec<(&str, &str)> = kept.iter().map(|(by, text)| (by.as_str(), text.as_str())).collect();
    assert_eq!(
        kept[..3],
        [("user", "MY NAME IS ADA"), ("parrot-backend", "you said: MY NAME IS ADA "), ("user", "AND AGAIN")]
    );
    until("the hook has heard both", async || {
        let calls = served.get("/api/plugins/hears/calls").await.expect(200);
        calls["calls"].as_array().unwrap().iter().filter(|call| call["method"] == "on_message").count() == 2
    })
    .await;
    let nowhere = json!({"message": "x", "model": "parrot", "conversation": "conversation_1"});
    served.post("/chat", &nowhere).await.expect_problem(404, "conversation-unknown");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_at_once_and_too_much_at_a_time_are_refused() {
    let Some(served) = Served::start_with(|config| config.chat.exchanges_at_once = 2).await else { return };
    served.take_part(PARROT).await;
    let long = "x".repeat(5 << 20);
    // Without a filter it is the backend that cannot be shown it; with one the filter.
    let refused = served.complete(&ask(&long)).await;
    assert_eq!(refused.expect(400)["error"]["code"], "backend-refused");
    served.take_part(("guard", "guard", "{ kind: message_processor, effect: decide }")).await;
    assert_eq!(served.complete(&ask(&long)).await.expect(413)["error"]["code"], "body-too-large");
    let too_long = served.complete(&ask(&"x".repeat(17 << 20))).await;
    assert_eq!(too_long.expect(413)["error"]["type"], "invalid_request_error");
    served.chat("hello").await.expect(200);

    // A token has half of the places, and another one still finds its own.
    served.take_part(("slow", "slow", "{ kind: backend_provider, models: [slow] }")).await;
    let body = json!({"model": "slow", "messages": [{"role": "user", "content": "x"}]});
    let asking = served.request(Method::POST, "/v1/chat/completions").json(&body).send();
    let asking = tokio::runtime::Handle::current().spawn(asking);
    until("the first is under way", async || {
        served.get("/api/plugins/slow/metrics").await.expect(200)["in_flight"] == 1
    })
    .await;
    let busy = served.complete(&ask("hello")).await;
    assert_eq!(
        (&busy.expect(503)["error"]["code"], &busy.headers["retry-after"]),
        (&json!("chat-busy"), &"1".parse().unwrap())
    );
    let other = served.post("/api/tokens", &json!({"label": "o", "scopes": ["chat"]})).await.expect(201);
    let request = served.bare(Method::POST, "/chat").bearer_auth(other["token"].as_str().unwrap());
    send(request.json(&json!({"message": "hello", "model": "parrot"}))).await.expect(200);
    asking.abort();
    asking.await.unwrap_err();
    until("its place is free", async || served.chat("hello").await.status == 200).await;
    served.end().await;
}
