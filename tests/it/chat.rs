//! The chat without an engine: what is kept and refused, and plugins that are enabled and do not run.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, send};
use crate::support::author::{manifest, package};

async fn service() -> TestApp {
    let setup = TestApp::setup().unsigned();
    setup.without_engine().start().await
}

async fn conversation(app: &TestApp) -> String {
    let begun = app.post("/api/chat/conversations", &json!({"title": "support"})).await.expect(201);
    assert_eq!((&begun["title"], &begun["created_at"]), (&json!("support"), &json!("2026-11-20T12:00:00.000Z")));
    begun["id"].as_str().unwrap().to_owned()
}

async fn post(app: &TestApp, conversation: &str, body: &Value) -> Answer {
    app.post(&format!("/api/chat/conversations/{conversation}/messages"), body).await
}

async fn messages(app: &TestApp, conversation: &str, query: &str) -> Value {
    app.get(&format!("/api/chat/conversations/{conversation}/messages{query}")).await.expect(200)
}

fn texts(list: &Value) -> Vec<&str> {
    list["messages"].as_array().unwrap().iter().map(|message| message["text"].as_str().unwrap()).collect()
}

/// A plugin that an administrator wants to run, and that does not.
async fn enabled(app: &TestApp, name: &str, extra: &str) {
    let archive = package(&format!("{}permissions: [chat_access]\n{extra}", manifest(name, "1.0.0")));
    app.install(&archive, None).await.expect(201);
    let grant = json!({"grant": ["chat_access"]});
    app.post(&format!("/api/plugins/{name}/permissions/approve"), &grant).await.expect(200);
    enable(app, name).await.expect_problem(503, "engine-unavailable");
}

async fn enable(app: &TestApp, name: &str) -> Answer {
    send(app.request(Method::POST, &format!("/api/plugins/{name}/enable"))).await
}

#[tokio::test]
async fn messages_are_kept_in_order_and_shown_in_pages() {
    let app = service().await;
    let (here, there) = (conversation(&app).await, conversation(&app).await);
    for text in ["one", "two", "three"] {
        let body = json!({"text": text, "user": "john_doe", "channel": "#general"});
        let posted = post(&app, &here, &body).await.expect(200);
        assert_eq!((&posted["answers"], &posted["errors"]), (&json!([]), &json!([])));
        let message = &posted["message"];
        assert!(message["id"].as_str().unwrap().starts_with("message_"));
        assert_eq!((&message["role"], &message["user"]), (&json!("user"), &json!("john_doe")));
        assert_eq!((&message["channel"], &message["conversation"]), (&json!("#general"), &json!(here)));
    }
    let first = messages(&app, &here, "?limit=2").await;
    assert_eq!(texts(&first), ["one", "two"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = messages(&app, &here, &format!("?limit=2&cursor={cursor}")).await;
    assert_eq!((texts(&rest), &rest["next_cursor"]), (vec!["three"], &json!(null)));
    assert_eq!(messages(&app, &there, "").await["messages"], json!([]));

    let listed = app.get("/api/chat/conversations?limit=1").await.expect(200);
    assert_eq!(listed["conversations"][0]["id"], json!(there), "newest first");
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = app.get(&format!("/api/chat/conversations?cursor={cursor}")).await.expect(200);
    assert_eq!((&rest["conversations"][0]["id"], &rest["next_cursor"]), (&json!(here), &json!(null)));

    let app = app.restart().await;
    assert_eq!(texts(&messages(&app, &here, "").await), ["one", "two", "three"]);
}

#[tokio::test]
async fn of_a_file_everything_but_its_content_is_kept() {
    let app = service().await;
    let here = conversation(&app).await;
    let file = json!({"name": "notes.txt", "media_type": "text/plain", "content_base64": "aGVsbG8="});
    let posted = post(&app, &here, &json!({"file": file})).await.expect(200);
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let kept = json!({"name": "notes.txt", "media_type": "text/plain", "size": 5, "sha256": sha256});
    assert_eq!((&posted["message"]["file"], &posted["message"]["text"]), (&kept, &json!("")));
    assert_eq!(messages(&app, &here, "").await["messages"][0]["file"], kept);
}

#[tokio::test]
async fn what_is_not_accepted_is_named_and_not_kept() {
    let app = service().await;
    let here = conversation(&app).await;
    let file = |name: &str, media_type: &str, content: &str| json!({"file": {"name": name, "media_type": media_type, "content_base64": content}});
    for (body, pointer) in [
        (json!({}), ""),
        (json!({"text": "x", "file": file("a", "a/b", "")["file"]}), ""),
        (json!({"text": " \n"}), "/text"),
        (json!({"text": "é".repeat(16 * 1024 + 1)}), "/text"),
        (json!({"text": "x", "user": ""}), "/user"),
        (json!({"text": "x", "channel": "a\nb"}), "/channel"),
        (file("../a", "a/b", ""), "/file/name"),
        (file("..", "a/b", ""), "/file/name"),
        (file("a\\b", "a/b", ""), "/file/name"),
        (file("a\u{0}", "a/b", ""), "/file/name"),
        (file(&"x".repeat(256), "a/b", ""), "/file/name"),
        (file("a", "text", ""), "/file/media_type"),
        (file("a", "text/a b", ""), "/file/media_type"),
        (file("a", "a/b", "aGVsbG8"), "/file/content_base64"),
    ] {
        let problem = post(&app, &here, &body).await.expect_problem(422, "field-invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let most = "é".repeat(16 * 1024);
    post(&app, &here, &json!({ "text": most })).await.expect(200);
    let content = |bytes: usize| data_encoding::BASE64.encode(&vec![0; bytes]);
    post(&app, &here, &file("a", "a/b", &content(2 << 20))).await.expect(200);
    post(&app, &here, &file("a", "a/b", &content((2 << 20) + 1))).await.expect_problem(413, "body-too-large");
    post(&app, &here, &file("a", "a/b", &content(3 << 20))).await.expect_problem(413, "body-too-large");
    post(&app, &here, &json!({"text": "x", "role": "plugin"})).await.expect_problem(400, "unknown-field");
    let unknown = "conversation_01920000000070008000000000000000";
    for wanted in [unknown, "x", "plugin_01920000000070008000000000000000"] {
        post(&app, wanted, &json!({"text": "x"})).await.expect_problem(404, "conversation-unknown");
        let path = format!("/api/chat/conversations/{wanted}/messages");
        app.get(&path).await.expect_problem(404, "conversation-unknown");
    }
    for title in [String::new(), "x".repeat(201)] {
        let body = json!({ "title": title });
        app.post("/api/chat/conversations", &body).await.expect_problem(422, "field-invalid");
    }
    for query in ["?limit=0", "?cursor=x", "?after=1"] {
        let path = format!("/api/chat/conversations/{here}/messages{query}");
        assert_eq!(app.get(&path).await.status, 400, "{query}");
    }
    assert_eq!(messages(&app, &here, "").await["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_scope_execute_is_needed() {
    let app = service().await;
    let here = conversation(&app).await;
    let messages = format!("/api/chat/conversations/{here}/messages");
    let token = app.token(&["read", "operate", "approve", "install"], None).await;
    for path in ["/api/chat/conversations", &messages] {
        for method in [Method::GET, Method::POST] {
            let request = app.bare(method, path).bearer_auth(&token);
            send(request).await.expect_problem(403, "scope-missing");
        }
    }
    let token = app.token(&["execute"], None).await;
    send(app.bare(Method::GET, &messages).bearer_auth(&token)).await.expect(200);
}

#[tokio::test]
async fn a_plugin_that_does_not_run_is_an_entry_and_nothing_waits() {
    let app = service().await;
    enabled(&app, "deaf", "hooks: [on_message]\n").await;
    enabled(&app, "early", "hooks: [{ name: on_message, priority: HIGH }]\n").await;
    let here = conversation(&app).await;
    let posted = post(&app, &here, &json!({"text": "hello"})).await.expect(200);
    let errors = posted["errors"].as_array().unwrap();
    let found: Vec<_> = errors.iter().map(|error| json!([error["plugin"], error["hook"], error["code"]])).collect();
    let entry = |name: &str| json!([name, "on_message", "engine-unavailable"]);
    assert_eq!(found, [entry("early"), entry("deaf")]);
    assert!(errors[0]["error"].as_str().is_some_and(|text| !text.is_empty()));

    // Who may not speak of a plugin is not told of it.
    let token = app.token(&["execute"], Some(&["early"])).await;
    let path = format!("/api/chat/conversations/{here}/messages");
    let request = app.bare(Method::POST, &path).bearer_auth(&token).json(&json!({"text": "hello"}));
    let posted = send(request).await.expect(200);
    assert_eq!(posted["errors"].as_array().unwrap().len(), 1);
    assert_eq!(posted["errors"][0]["plugin"], "early");
}

#[tokio::test]
async fn a_hook_that_may_refuse_does_so_also_when_it_cannot_look() {
    let app = service().await;
    let here = conversation(&app).await;
    let extra = "hooks: [{ name: on_message, on_failure: block }]\ncommands: [{ name: /deaf }]\n";
    enabled(&app, "deaf", extra).await;
    let problem = post(&app, &here, &json!({"text": "hello"})).await.expect_problem(409, "hook-blocked");
    assert!(problem["detail"].as_str().unwrap().starts_with("`deaf` refused the message: "), "{problem}");
    assert_eq!(messages(&app, &here, "").await["messages"], json!([]), "it is not kept");
    let token = app.token(&["execute"], Some(&["other"])).await;
    let path = format!("/api/chat/conversations/{here}/messages");
    let request = app.bare(Method::POST, &path).bearer_auth(&token).json(&json!({"text": "/deaf"}));
    let problem = send(request).await.expect_problem(409, "hook-blocked");
    assert_eq!(problem["detail"], "a plugin refused the message: the token is not for it");

    // What it has no hook for is not its business.
    let file = json!({"file": {"name": "a", "media_type": "a/b", "content_base64": ""}});
    post(&app, &here, &file).await.expect(200);
    let command = post(&app, &here, &json!({"text": " /deaf a"})).await.expect(200);
    assert_eq!((&command["errors"][0]["hook"], &command["answers"]), (&json!("on_command"), &json!([])));
    let problem = post(&app, &here, &json!({"text": "/deaf 'a"})).await.expect_problem(422, "command-invalid");
    assert_eq!(problem["detail"], "the arguments of `/deaf`: the quote ' at character 2 is not closed");
    post(&app, &here, &json!({"text": "/other 'a"})).await.expect_problem(409, "hook-blocked");

    send(app.request(Method::POST, "/api/plugins/deaf/disable")).await.expect(200);
    assert_eq!(post(&app, &here, &json!({"text": "hello"})).await.expect(200)["errors"], json!([]));
    assert_eq!(texts(&messages(&app, &here, "").await), ["", " /deaf a", "hello"]);
}

#[tokio::test]
async fn a_command_belongs_to_one_enabled_plugin() {
    let app = service().await;
    enabled(&app, "first", "commands: [{ name: /one }, { name: /both }]\n").await;
    let second =
        |version: &str, commands: &str| package(&format!("{}commands: {commands}\n", manifest("second", version)));
    app.install(&second("1.0.0", "[{ name: /both }]"), None).await.expect(201);
    let problem = enable(&app, "second").await.expect_problem(409, "command-taken");
    assert_eq!(problem["detail"], "`/both` of `second` is a command of the enabled plugin `first` already");
    assert_eq!(problem["how"], "plugbay disable first, or rename `/both` in plugin.yaml");
    assert_eq!(app.get("/api/plugins/second").await.expect(200)["status"], "installed");

    send(app.request(Method::POST, "/api/plugins/first/disable")).await.expect(200);
    enable(&app, "second").await.expect_problem(503, "engine-unavailable");
    enable(&app, "first").await.expect_problem(409, "command-taken");

    // A new version of an enabled plugin cannot take it either.
    send(app.request(Method::POST, "/api/plugins/second/disable")).await.expect(200);
    enable(&app, "first").await.expect_problem(503, "engine-unavailable");
    app.upload("/api/plugins/second/update", &second("1.1.0", "[]"), None).await.expect(200);
    enable(&app, "second").await.expect_problem(503, "engine-unavailable");
    let update = app.upload("/api/plugins/second/update", &second("1.2.0", "[{ name: /one }]"), None).await;
    assert_eq!(update.expect(200)["status"], "pending_approval", "a command is more than was there");
    let digest = app.get("/api/plugins/second").await.expect(200)["pending"]["digest"].take();
    let approval = json!({ "digest": digest });
    let approve = async || app.post("/api/plugins/second/permissions/approve", &approval).await;
    approve().await.expect_problem(409, "command-taken");
    assert_eq!(app.get("/api/plugins/second").await.expect(200)["version"], "1.1.0");
    send(app.request(Method::POST, "/api/plugins/first/disable")).await.expect(200);
    assert_eq!(approve().await.expect(200)["update"]["version"], "1.2.0");
    enable(&app, "first").await.expect_problem(409, "command-taken");
}
