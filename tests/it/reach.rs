//! A token for some plugins stays one: nothing that it changes, installs or asks leads it to the others.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp, form, send};
use crate::support::author::{manifest, package};

const ADMIN: &str = "permissions: [admin_access]\n";
const CALLS: &str = "permissions: []\nrequires: { secret-b: '*' }\n";

/// A service without an engine that holds `secret-b`, and a token for `a-*` that may do all that such a token can.
async fn service() -> (TestApp, String) {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    app.install(&archive("secret-b", "1.0.0", ""), None).await.expect(201);
    let token = app.token(&["read", "install", "approve", "operate", "execute"], Some(&["a-*"])).await;
    (app, token)
}

fn archive(name: &str, version: &str, extra: &str) -> Vec<u8> {
    package(&format!("{}{extra}", manifest(name, version)))
}

async fn upload(app: &TestApp, token: &str, path: &str, archive: &[u8]) -> Answer {
    send(app.bare(Method::POST, path).bearer_auth(token).multipart(form(archive, None))).await
}

async fn approve(app: &TestApp, token: &str, name: &str, body: &Value) -> Answer {
    let path = format!("/api/plugins/{name}/permissions/approve");
    send(app.bare(Method::POST, &path).bearer_auth(token).json(body)).await
}

#[tokio::test]
async fn a_plugin_gets_no_reach_that_the_token_has_not() {
    let (app, token) = service().await;
    for (name, extra, grant, named) in [
        ("a-evil", ADMIN, json!(["admin_access"]), "concerns all of them"),
        ("a-caller", CALLS, json!([{"permission": "plugins", "scope": ["secret-b"]}]), "`secret-b`"),
    ] {
        upload(&app, &token, "/api/plugins/install", &archive(name, "1.0.0", extra)).await.expect(201);
        let refused = approve(&app, &token, name, &json!({"grant": grant})).await.expect_problem(403, "scope-missing");
        assert!(refused["detail"].as_str().unwrap().contains(named), "{refused}");
        let shown = app.get(&format!("/api/plugins/{name}")).await.expect(200);
        assert_eq!(shown["permissions"]["granted"], json!([]));
        assert_eq!(app.audit_actions().await.last().unwrap(), "permissions.approve_refused");
        // What it does not reach through the plugin it may decide, and anybody whose token is for all may decide more.
        approve(&app, &token, name, &json!({"deny": grant})).await.expect(200);
        approve(&app, &app.token, name, &json!({"grant": grant})).await.expect(200);
    }
}

/// What was granted to a plugin's bytes goes over to its next ones: then their sender would reach it all.
#[tokio::test]
async fn new_bytes_take_over_no_reach_that_their_sender_has_not() {
    let (app, token) = service().await;
    for (name, extra, grant) in [
        ("a-evil", ADMIN, json!(["admin_access"])),
        ("a-caller", CALLS, json!([{"permission": "plugins", "scope": ["secret-b"]}])),
    ] {
        app.install(&archive(name, "1.0.0", extra), None).await.expect(201);
        approve(&app, &app.token, name, &json!({"grant": grant})).await.expect(200);
        let path = format!("/api/plugins/{name}/update");
        let sent = upload(&app, &token, &path, &archive(name, "1.1.0", extra)).await.expect(200);
        assert_eq!((&sent["status"], &sent["version"]), (&json!("pending_approval"), &json!("1.1.0")), "{sent}");
        let refused = approve(&app, &token, name, &json!({})).await.expect_problem(403, "scope-missing");
        assert!(refused["how"].as_str().unwrap().contains("use a token"), "{refused}");
        assert_eq!(app.get(&format!("/api/plugins/{name}")).await.expect(200)["version"], "1.0.0");
        approve(&app, &app.token, name, &json!({})).await.expect(200);
        assert_eq!(app.get(&format!("/api/plugins/{name}")).await.expect(200)["version"], "1.1.0");
    }
    // Without such reach it updates as before.
    app.install(&archive("a-plain", "1.0.0", ""), None).await.expect(201);
    let sent = upload(&app, &token, "/api/plugins/a-plain/update", &archive("a-plain", "1.1.0", "")).await.expect(200);
    assert_eq!(sent["status"], "updated");
}

#[tokio::test]
async fn the_doctor_names_no_plugin_that_the_token_is_not_for() {
    let (app, token) = service().await;
    let wants = "permissions: [chat_access]\n";
    for name in ["a-chat", "secret-c"] {
        app.install(&archive(name, "1.0.0", wants), None).await.expect(201);
        approve(&app, &app.token, name, &json!({"grant": ["chat_access"], "expires_at": "2026-11-20T13:00:00Z"}))
            .await
            .expect(200);
    }
    let shown = |answer: Answer| answer.expect(200).to_string();
    let all = shown(app.get("/api/system").await);
    assert!(all.contains("a-chat") && all.contains("secret-c"), "{all}");
    let some = shown(send(app.bare(Method::GET, "/api/system").bearer_auth(&token)).await);
    assert!(some.contains("a-chat") && !some.contains("secret-c"), "{some}");
}

#[tokio::test]
async fn health_names_plugins_to_this_machine_or_to_tokens_for_them() {
    let everywhere = |config: &mut plugbay::config::Config| config.server.listen = "0.0.0.0:0".parse().unwrap();
    let app = TestApp::setup().unsigned().without_engine().with(everywhere).start().await;
    for name in ["a-ok", "secret-b"] {
        app.install(&archive(name, "1.0.0", ""), None).await.expect(201);
        send(app.request(Method::POST, &format!("/api/plugins/{name}/enable")))
            .await
            .expect_problem(503, "engine-unavailable");
    }
    let plugins = |answer: Answer| {
        let answer = answer.expect(200);
        answer["plugins"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(plugins(send(app.bare(Method::GET, "/health")).await), Vec::<String>::new());
    assert_eq!(plugins(app.get("/health").await), ["a-ok", "secret-b"]);
    let token = app.token(&["read"], Some(&["a-*"])).await;
    assert_eq!(plugins(send(app.bare(Method::GET, "/health").bearer_auth(token)).await), ["a-ok"]);
    send(app.bare(Method::GET, "/health").bearer_auth("wrong")).await.expect_problem(401, "token-invalid");
}

#[tokio::test]
async fn no_plugin_has_the_name_of_an_address() {
    let (app, _) = service().await;
    let refused = app.install(&archive("install", "1.0.0", ""), None).await;
    let refused = refused.expect_problem(422, "name-reserved");
    assert!(refused.to_string().contains("a word of the service's own addresses"), "{refused}");
}

/// An old version is signed as well as a new one, and may have faults that are known.
#[tokio::test]
async fn a_token_that_only_installs_brings_back_no_old_version() {
    let (app, _) = service().await;
    app.install(&archive("a-old", "2.0.0", ""), None).await.expect(201);
    let older = archive("a-old", "1.0.0", "");
    let path = "/api/plugins/a-old/update?allow_downgrade=true";
    let token = app.token(&["read", "install"], None).await;
    upload(&app, &token, path, &older).await.expect_problem(403, "scope-missing");
    let token = app.token(&["read", "install", "approve"], None).await;
    assert_eq!(upload(&app, &token, path, &older).await.expect(200)["version"], "1.0.0");
}

/// What an earlier version was granted comes back with it.
#[tokio::test]
async fn going_back_brings_no_reach_that_the_token_has_not() {
    let (app, token) = service().await;
    app.install(&archive("a-evil", "1.0.0", ADMIN), None).await.expect(201);
    approve(&app, &app.token, "a-evil", &json!({"grant": ["admin_access"]})).await.expect(200);
    let newer = archive("a-evil", "1.1.0", "");
    assert_eq!(app.upload("/api/plugins/a-evil/update", &newer, None).await.expect(200)["status"], "updated");
    let path = "/api/plugins/a-evil/rollback";
    let back = send(app.bare(Method::POST, path).bearer_auth(&token).json(&json!({}))).await;
    back.expect_problem(403, "scope-missing");
    assert_eq!(app.get("/api/plugins/a-evil").await.expect(200)["version"], "1.1.0");
    assert_eq!(app.post(path, &json!({})).await.expect(200)["version"], "1.0.0");
}
