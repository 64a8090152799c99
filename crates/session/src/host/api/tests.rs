//! Requests to APIs of the operator's.

use serde_json::{Value, json};

use super::super::HostError;
use super::super::bench::{Bench, Server, reply, rule_of};
use plugbay_config::{ApiConfig, Config};

const TOKEN: &str = "CANARY-operator-token";

/// An API `chat` at this address.
fn api(base_url: String, token: &'static str) -> impl FnOnce(&mut Config) {
    move |config| {
        let allow = ["GET /v1/messages/*", "GET /v1/list?*", "POST /v1/messages", "DELETE /to/**"];
        let allow = allow.iter().map(|operation| operation.parse().unwrap()).collect();
        let api = ApiConfig { base_url, token: Some(token.into()), allow };
        config.resources.apis.insert("chat".to_owned(), api);
    }
}

/// Repeats what it gets.
fn echoing() -> Server {
    Server::plain(|request, to| {
        let body = json!({"request": request, "n": 1.5});
        reply(to, "200 OK", "Content-Type: application/json; charset=utf-8\r\n", &format!("{body:#}"))
    })
}

async fn ask(bench: &Bench, method: &str, path: &str, body: Option<Value>) -> Result<Value, HostError> {
    let mut params = json!({"name": "chat", "method": method, "path": path, "call": "call_x"});
    if let Some(body) = body {
        params["body"] = body;
    }
    bench.ask("api.request", params).await
}

#[tokio::test]
async fn what_the_operator_allows_is_asked_with_the_operators_token() {
    let host = echoing();
    let base = format!("http://127.0.0.1:{}/api/", host.port);
    let bench = Bench::new(&["api_access:chat"], api(base, TOKEN)).await;
    let answer = ask(&bench, "POST", "/v1/messages", Some(json!({"text": "hé", "n": [1, null]}))).await.unwrap();
    assert_eq!((&answer["status"], &answer["body"]["n"]), (&json!(200), &json!(1.5)));
    let request = host.requests().remove(0);
    assert!(request.starts_with("POST /api/v1/messages HTTP/1.1\r\n"), "{request}");
    for line in [
        format!("authorization: Bearer {TOKEN}"),
        "content-type: application/json".to_owned(),
        format!("host: 127.0.0.1:{}", host.port),
    ] {
        assert!(request.lines().any(|found| found == line), "{line} in {request}");
    }
    assert!(request.ends_with("{\"text\":\"hé\",\"n\":[1,null]}"), "{request}");
    assert!(!answer.to_string().contains("CANARY") && answer.to_string().contains("Bearer [redacted]"), "{answer}");
    ask(&bench, "GET", "/v1/list?limit=3&before=%2e", None).await.unwrap();
    assert!(host.requests()[1].starts_with("GET /api/v1/list?limit=3&before=%2e HTTP/1.1\r\n"));
    // The network of the plugin has nothing to do with it.
    assert_eq!(bench.host.asker.exit.sent_bytes(), 0);
}

#[tokio::test]
async fn nothing_else_is_asked() {
    let host = echoing();
    let mut bench = Bench::new(&["api_access:chat"], api(format!("http://127.0.0.1:{}", host.port), TOKEN)).await;
    for (method, path, rule) in [
        ("POST", "/v1/messages/7", "api-not-allowed"),
        ("GET", "/v1/messages", "api-not-allowed"),
        ("GET", "/v1/messages/7/author", "api-not-allowed"),
        ("GET", "/v1/messages/7?x=1", "api-not-allowed"),
        ("GET", "/admin", "api-not-allowed"),
        ("TRACE", "/v1/messages/7", "method"),
        ("get", "/v1/messages/7", "method"),
        ("GET", "/v1/messages/..", "path"),
        ("GET", "/v1/messages/%2e%2e", "path"),
        ("GET", "/v1/messages/..%2fadmin", "path"),
        ("GET", "/v1/messages/7;x", "path"),
        ("GET", "/v1/messages/7\\..\\admin", "path"),
        ("GET", "/v1/messages/7#x", "path"),
        ("GET", "/v1//messages/7", "path"),
        ("GET", "@evil.example/v1/messages/7", "path"),
        ("GET", ".evil.example/", "path"),
        ("GET", "/v1/messages/7 HTTP/1.1\r\nX: y", "path"),
    ] {
        assert_eq!(rule_of(&ask(&bench, method, path, None).await), rule, "{method} {path}");
    }
    assert_eq!(bench.refusals().len(), 10);
    let unknown = bench.ask("api.request", json!({"name": "other", "method": "GET", "path": "/"})).await;
    assert_eq!(rule_of(&unknown), "denied api_access:other");
    bench.grant(&["api_access"]);
    let unknown = bench.ask("api.request", json!({"name": "other", "method": "GET", "path": "/"})).await;
    assert_eq!(rule_of(&unknown), "api-unknown");
    bench.grant(&[]);
    let outcome = ask(&bench, "GET", "/v1/messages/7", None).await;
    let Err(HostError::Denied { how, .. }) = &outcome else { panic!("{outcome:?}") };
    assert_eq!(how, "plugbay approve asker --grant api_access:chat");
    for wrong in [json!({}), json!({"name": "chat", "method": "GET", "path": "/", "headers": {"Host": "x"}})] {
        bench.grant(&["api_access:chat"]);
        assert!(matches!(bench.ask("api.request", wrong).await, Err(HostError::Invalid { .. })));
    }
    assert_eq!(host.seen(), 0);
}

#[tokio::test]
async fn redirects_come_back_as_they_are() {
    let sentinel = Server::plain(|_, to| reply(to, "200 OK", "", "inside"));
    let location = format!("http://127.0.0.1:{}/", sentinel.port);
    let host = Server::tls(move |_, to| reply(to, "302 Found", &format!("Location: {location}\r\n"), ""));
    let bench = Bench::new(&["api_access:chat"], api(host.url("allowed.test", ""), TOKEN)).await;
    let answer = ask(&bench, "DELETE", "/to/a/b", None).await.unwrap();
    assert_eq!((&answer["status"], sentinel.seen()), (&json!(302), 0));
    assert_eq!(answer["headers"]["location"], format!("http://127.0.0.1:{}/", sentinel.port));
}

#[tokio::test]
async fn answers_that_are_no_clean_json_are_texts() {
    let deep = format!("{}{}", "[".repeat(62), "]".repeat(62));
    for (kind, body, wanted) in [
        ("text/plain", "{\"a\": 1}".to_owned(), json!("{\"a\": 1}")),
        ("application/json", "{\"a\":".to_owned(), json!("{\"a\":")),
        ("application/json", "{\"a\": 1, \"a\": 2}".to_owned(), json!("{\"a\": 1, \"a\": 2}")),
        ("application/json", "[1e999]".to_owned(), json!("[1e999]")),
        ("application/json", deep.clone(), json!(deep)),
        ("application/json", String::new(), json!("")),
        ("application/problem+json", "{\n\"a\":\r\n1}".to_owned(), json!({"a": 1})),
        ("Application/JSON", "null".to_owned(), json!(null)),
    ] {
        let shown = body.clone();
        let host = Server::plain(move |_, to| reply(to, "200 OK", &format!("Content-Type: {kind}\r\n"), &body));
        let bench = Bench::new(&["api_access:chat"], api(format!("http://127.0.0.1:{}", host.port), TOKEN)).await;
        let answer = ask(&bench, "GET", "/v1/messages/7", None).await.unwrap();
        assert_eq!(answer["body"], wanted, "{kind} {shown}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_without_the_token() {
    let host = echoing();
    for (base, token, rule) in [
        ("http://127.0.0.1:1".to_owned(), TOKEN, "unreachable"),
        (format!("https://127.0.0.1:{}", host.port), "CANARY\r\nX: y", "api-token"),
        ("http://a b/".to_owned(), TOKEN, "address"),
    ] {
        let mut bench = Bench::new(&["api_access:chat"], api(base, token)).await;
        let outcome = ask(&bench, "GET", "/v1/messages/7", None).await;
        assert_eq!(rule_of(&outcome), rule);
        let shown = format!("{outcome:?}{:?}{:?}", bench.refusals(), bench.host);
        assert!(!shown.contains("CANARY"), "{shown}");
    }
    let bench = Bench::new(&["api_access:chat"], |config| {
        api(format!("http://127.0.0.1:{}", host.port), TOKEN)(config);
        config.egress.fetch_bytes = 1_024;
    });
    let long = ask(&bench.await, "POST", "/v1/messages", Some(json!("x".repeat(1_024)))).await;
    assert_eq!(rule_of(&long), "request-too-large");
    assert_eq!(host.seen(), 0);
}
