//! Answers of model servers that the service asks for by itself, under the grants and with the secrets of a plugin.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plugbay_domain::AllowedHost;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::fixture;
use super::served::Served;
use super::support::app::{Answer, until};
use super::upstream::{self, Seen};

const KEY: &str = "sk-very-secret-0123456789";

/// A service with the relaying plugin, and the server that it may ask.
async fn served() -> Option<(Served, Arc<Seen>)> {
    let (port, seen) = upstream::start().await;
    let served = Served::start_with(|config| {
        let here: AllowedHost = format!("host.plugbay.internal:{port}").parse().unwrap();
        config.egress.allow_private = vec![here];
        config.chat.first_token = Duration::from_secs(5);
    })
    .await?;
    let folder = fixture("relaying");
    let [manifest, main] = ["plugin.yaml", "main.py"]
        .map(|name| fs::read_to_string(folder.join(name)).unwrap().replace("PORT", &port.to_string()));
    served.add(&folder, &[("plugin.yaml", &manifest), ("main.py", &main)]).await;
    let config = json!({"key": KEY});
    let set = super::support::app::send(
        served.request(Method::PUT, "/api/plugins/relaying/config").header("if-match", "*").json(&config),
    );
    set.await.expect(200);
    served.decide_about("relaying", &json!({"grant": ["chat_access", "network_access"]})).await.expect(200);
    served.enable("relaying").await.expect(200);
    Some((served, seen))
}

impl Served {
    async fn ask_model(&self, model: &str, stream: bool) -> Answer {
        let body =
            json!({"model": model, "messages": [{"role": "user", "content": "hallö"}], "seed": 7, "stream": stream});
        self.post("/v1/chat/completions", &body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_gives_what_the_server_says_and_keeps_its_connection() {
    let Some((served, seen)) = served().await else { return };
    for _ in 0..3 {
        let answer = served.ask_model("any", false).await.expect(200);
        assert_eq!(answer["choices"][0]["message"]["content"], "you said: hallö");
        assert_eq!(answer["usage"]["total_tokens"], 18);
    }
    let stream = served.ask_model("any", true).await;
    assert!(stream.text.ends_with("data: [DONE]\n\n") && !stream.text.contains("usage"), "{}", stream.text);
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1, "one connection for all");
    let (head, body) = seen.requests.lock().unwrap()[0].clone();
    assert!(head.contains(&format!("authorization: Bearer {KEY}\r\n")), "{head}");
    assert_eq!((&body["stream"], &body["stream_options"]), (&json!(true), &json!({"include_usage": true})));
    assert_eq!((&body["seed"], &body["messages"]), (&json!(7), &json!([{"role": "user", "content": "hallö"}])));
    // A connection that is closed just when it is used again is none: the model is asked over another.
    for _ in 0..3 {
        served.ask_model("tired", false).await.expect(200);
    }
    // One JSON where a stream was asked for is an answer as well.
    assert_eq!(served.ask_model("whole", true).await.text.matches("all at once").count(), 1);

    // A grant that is taken back closes what waits, and nothing is asked any more.
    let revoked =
        served.post("/api/plugins/relaying/permissions/revoke", &json!({"permissions": ["network_access"]})).await;
    revoked.expect(200);
    assert_ne!(served.ask_model("any", false).await.status, 200);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_the_server_says_letter_by_letter_reaches_nobody() {
    let Some((served, _seen)) = served().await else { return };
    for stream in [false, true] {
        let answer = served.ask_model("echo", stream).await;
        assert_eq!(answer.status, 200);
        let mut texts = String::new();
        if stream {
            for frame in answer
                .text
                .split("\n\n")
                .filter_map(|frame| serde_json::from_str::<Value>(frame.strip_prefix("data: ")?).ok())
            {
                let delta = &frame["choices"][0]["delta"];
                for text in
                    [&delta["reasoning_content"], &delta["content"], &delta["tool_calls"][0]["function"]["arguments"]]
                {
                    texts.push_str(text.as_str().unwrap_or_default());
                }
            }
        } else {
            let message = answer.json()["choices"][0]["message"].take();
            for text in
                [&message["reasoning_content"], &message["content"], &message["tool_calls"][0]["function"]["arguments"]]
            {
                texts.push_str(text.as_str().unwrap_or_default());
            }
        }
        assert_eq!(texts, "[redacted][redacted]{\"k\":\"[redacted]\"}", "stream: {stream}");
        assert!(!answer.text.contains("very-secret"));
    }
    let leak = served.ask_model("leak", false).await;
    assert!(leak.text.contains("no such key: [redacted]") && leak.status == 502, "{}", leak.text);
    for path in ["/api/chat/exchanges", "/api/plugins/relaying/logs", "/api/audit"] {
        assert!(!served.get(path).await.text.contains("very-secret"), "{path}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_with_the_server_is_told_in_the_right_class() {
    let Some((served, _seen)) = served().await else { return };
    let busy = served.ask_model("busy", false).await;
    let error = busy.expect(503)["error"].take();
    assert_eq!(
        (&error["code"], &error["type"], &busy.headers["retry-after"]),
        (&json!("backend-busy"), &json!("server_error"), &"7".parse().unwrap())
    );
    let wrong = served.ask_model("wrong", true).await.expect(400);
    assert_eq!(
        (&wrong["error"]["code"], &wrong["error"]["type"]),
        (&json!("backend-refused"), &json!("invalid_request_error"))
    );
    assert!(wrong["error"]["message"].as_str().unwrap().contains("bad seed"));
    for model in ["page", "first-error"] {
        let answer = served.ask_model(model, true).await;
        assert!(matches!(answer.status.as_u16(), 502 | 503), "{model}: {}", answer.text);
        assert!(!answer.text.contains("html>"), "{}", answer.text);
    }
    let cut = served.ask_model("cut", true).await;
    assert_eq!(cut.status, 200);
    assert!(
        cut.text.contains("half") && cut.text.contains("\"code\":\"backend-failed\"") && !cut.text.contains("[DONE]"),
        "{}",
        cut.text
    );
    assert_eq!(served.ask_model("cut", false).await.status, 502);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_ends_the_connection_to_the_server() {
    let Some((served, seen)) = served().await else { return };
    for (model, times) in [("silent", 1), ("endless", 2)] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "x"}], "stream": true});
        let request = served.request(Method::POST, "/v1/chat/completions").json(&body);
        let asking = tokio::runtime::Handle::current().spawn(async move {
            let mut answer = request.send().await.unwrap();
            while answer.chunk().await.unwrap().is_some() {}
        });
        until("the server was asked", async || seen.requests.lock().unwrap().len() == times).await;
        asking.abort();
        asking.await.ok();
        let left = Instant::now();
        until("the server was left", async || seen.left.lock().unwrap().len() == times).await;
        let took = seen.left.lock().unwrap()[times - 1].saturating_duration_since(left);
        assert!(took < Duration::from_secs(5), "{model}: {took:?}");
    }
    until("both exchanges are remembered", async || {
        let list = served.get("/api/chat/exchanges?outcome=cancelled").await.expect(200);
        list["exchanges"].as_array().unwrap().len() == 2
    })
    .await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_reads_an_answer_piece_by_piece_and_never_sees_its_key() {
    let Some((served, seen)) = served().await else { return };
    let read = async |context: Value| {
        served.execute("relaying", &json!({"context": context})).await.expect(200)["result"].take()
    };
    let answer = read(json!({"model": "spelled"})).await;
    assert_eq!((&answer["status"], &answer["type"]), (&json!(200), &json!("text/event-stream")));
    let body = answer["body"].as_str().unwrap();
    assert!(body.contains("the key is [redacted]!") && body.ends_with("\n\n"), "{body}");
    assert!(seen.requests.lock().unwrap()[0].0.contains(KEY), "the server got it");
    // What is not read to its end is closed with what reads it.
    read(json!({"model": "endless", "leave": true})).await;
    until("the server was left", async || seen.left.lock().unwrap().len() == 1).await;
    served.end().await;
}
