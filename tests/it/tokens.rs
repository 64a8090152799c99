//! Tokens: scopes, plugins they are for, their end.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::app::{Answer, TestApp, form, send};
use crate::support::author::{manifest, package};

async fn with(app: &TestApp, token: &str, method: Method, path: &str) -> Answer {
    send(app.bare(method, path).bearer_auth(token)).await
}

#[tokio::test]
async fn the_first_token_is_written_for_its_owner_alone_and_survives_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let app = TestApp::start().await;
    let metadata = std::fs::metadata(app.data().join("admin.token")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let token = app.token.clone();
    let app = app.restart().await;
    assert_eq!(app.token, token);
    app.get("/api/tokens").await.expect(200);
}

#[tokio::test]
async fn a_secret_is_shown_once_and_not_stored() {
    let app = TestApp::start().await;
    let created = app.post("/api/tokens", &json!({"label": "ci", "scopes": ["read", "install"]})).await.expect(201);
    let secret = created["token"].as_str().unwrap();
    assert!(secret.starts_with("pbt_") && secret.len() == 47, "{secret}");
    assert_eq!(created["scopes"], json!(["read", "install"]));
    assert!(!app.get("/api/tokens").await.text.contains(secret));
    app.get("/api/plugins").await.expect(200);
    let setup = app.stop().await;
    let database = std::fs::read(setup.data().join("plugbay.db")).unwrap();
    assert!(!database.windows(secret.len()).any(|window| window == secret.as_bytes()));
}

#[tokio::test]
async fn missing_wrong_expired_and_revoked_tokens_are_refused_alike() {
    let app = TestApp::start().await;
    send(app.bare(Method::GET, "/api/plugins")).await.expect_problem(401, "token-missing");
    let wrong = [app.token.to_uppercase(), format!("{}x", app.token), "pbt_".to_owned(), "x".repeat(10_000)];
    for token in &wrong {
        with(&app, token, Method::GET, "/api/plugins").await.expect_problem(401, "token-invalid");
    }
    let query = format!("/api/plugins?token={}", app.token);
    send(app.bare(Method::GET, &query)).await.expect_problem(401, "token-missing");
    let basic = app.bare(Method::GET, "/api/plugins").basic_auth("admin", Some(&app.token));
    let answer = send(basic).await;
    answer.expect_problem(401, "token-invalid");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");

    let body = json!({"label": "ci", "scopes": ["read"], "expires_at": "2026-11-20T12:30:00Z"});
    let expiring = app.post("/api/tokens", &body).await.expect(201)["token"].as_str().unwrap().to_owned();
    with(&app, &expiring, Method::GET, "/api/plugins").await.expect(200);
    app.clock().advance(Duration::from_mins(31));
    with(&app, &expiring, Method::GET, "/api/plugins").await.expect_problem(401, "token-invalid");
}

#[tokio::test]
async fn a_revoked_token_ends_at_once_and_the_last_administrator_stays() {
    let app = TestApp::start().await;
    let created = app.post("/api/tokens", &json!({"label": "ci", "scopes": ["read"]})).await.expect(201);
    let (secret, id) = (created["token"].as_str().unwrap(), created["id"].as_str().unwrap());
    with(&app, secret, Method::GET, "/api/plugins").await.expect(200);
    let revoked = app.delete(&format!("/api/tokens/{id}")).await.expect(200);
    assert_eq!(revoked["last_used_at"], "2026-11-20T12:00:00.000Z");
    with(&app, secret, Method::GET, "/api/plugins").await.expect_problem(401, "token-invalid");

    let tokens = app.get("/api/tokens").await.expect(200);
    let first = tokens["tokens"].as_array().unwrap().iter().find(|token| token["label"] == "first token").unwrap();
    let path = format!("/api/tokens/{}", first["id"].as_str().unwrap());
    app.delete(&path).await.expect_problem(409, "last-admin");
    app.token(&["admin"], None).await;
    app.delete(&path).await.expect(200);
    app.get("/api/plugins").await.expect_problem(401, "token-invalid");
    // A restart does not bring it back.
    let setup = app.stop().await;
    let app = setup.start().await;
    app.get("/api/plugins").await.expect_problem(401, "token-invalid");
}

#[tokio::test]
async fn every_route_asks_for_its_scope_before_it_reads_a_body() {
    let app = TestApp::start().await;
    let reader = app.token(&["read"], None).await;
    let routes = [
        (Method::POST, "/api/plugins/install", "install"),
        (Method::POST, "/api/plugins/x/update", "install"),
        (Method::DELETE, "/api/plugins/x", "install"),
        (Method::GET, "/api/keys", "trust"),
        (Method::POST, "/api/keys", "trust"),
        (Method::DELETE, "/api/keys/x", "trust"),
        (Method::GET, "/api/tokens", "admin"),
        (Method::POST, "/api/tokens", "admin"),
        (Method::DELETE, "/api/tokens/x", "admin"),
        (Method::GET, "/api/audit", "audit"),
        (Method::GET, "/api/audit/verify", "audit"),
    ];
    for (method, path, scope) in routes {
        // The body never ends: an answer shows that nobody waited for it.
        let request = app.bare(method.clone(), path).bearer_auth(&reader);
        let request = if method == Method::POST {
            let endless = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            request.body(reqwest::Body::wrap_stream(endless))
        } else {
            request
        };
        let problem = send(request).await.expect_problem(403, "scope-missing");
        assert!(problem["detail"].as_str().unwrap().contains(&format!("`{scope}`")), "{path}: {problem}");
    }
    let installer = app.token(&["install"], None).await;
    with(&app, &installer, Method::GET, "/api/plugins").await.expect_problem(403, "scope-missing");
}

#[tokio::test]
async fn a_token_for_some_plugins_sees_and_changes_only_those() {
    let app = TestApp::setup().unsigned().start().await;
    for name in ["acme-mail", "other"] {
        app.install(&package(&manifest(name, "1.0.0")), None).await.expect(201);
    }
    let token = app.token(&["read", "install", "audit"], Some(&["acme-*"])).await;
    let list = with(&app, &token, Method::GET, "/api/plugins").await.expect(200);
    assert_eq!((&list["total"], &list["plugins"][0]["name"]), (&json!(1), &json!("acme-mail")));
    with(&app, &token, Method::GET, "/api/plugins/acme-mail").await.expect(200);
    with(&app, &token, Method::GET, "/api/plugins/other").await.expect_problem(404, "plugin-unknown");
    with(&app, &token, Method::DELETE, "/api/plugins/other").await.expect_problem(404, "plugin-unknown");
    let audit = with(&app, &token, Method::GET, "/api/audit").await.expect(200);
    assert_eq!(audit["entries"].as_array().unwrap().len(), 1);
    assert_eq!(audit["entries"][0]["plugin"], "acme-mail");

    let archive = package(&manifest("third", "1.0.0"));
    let request = app.bare(Method::POST, "/api/plugins/install").bearer_auth(&token).multipart(form(&archive, None));
    send(request).await.expect_problem(403, "scope-missing");
}

#[tokio::test]
async fn a_token_for_some_plugins_cannot_make_itself_one_for_all() {
    let app = TestApp::start().await;
    let token = app.token(&["admin"], Some(&["acme-*"])).await;
    with(&app, &token, Method::GET, "/api/plugins").await.expect(200);
    for path in ["/api/tokens", "/api/keys"] {
        with(&app, &token, Method::GET, path).await.expect_problem(403, "scope-missing");
        let request = app.bare(Method::POST, path).bearer_auth(&token).json(&json!({}));
        send(request).await.expect_problem(403, "scope-missing");
    }
}

/// A host application sends all its users' calls with one token.
#[tokio::test]
async fn a_token_has_no_rate_unless_one_is_set() {
    let app = TestApp::start().await;
    let ask = async || {
        for _ in 0..40 {
            app.get("/api/plugins").await.expect(200);
        }
    };
    futures_util::future::join_all((0..64).map(|_| ask())).await;
}

#[tokio::test]
async fn a_token_that_is_too_fast_is_told_to_wait() {
    let app = TestApp::setup().with(|config| config.server.requests_per_second = 5).start().await;
    let answers = futures_util::future::join_all((0..20).map(|_| app.get("/api/plugins"))).await;
    let limited: Vec<_> = answers.iter().filter(|answer| answer.status.as_u16() == 429).collect();
    assert!(!limited.is_empty());
    limited[0].expect_problem(429, "rate-limited");
    assert_eq!(limited[0].headers["retry-after"], "1");
}

#[tokio::test]
async fn wrong_values_are_all_told() {
    let app = TestApp::start().await;
    let body = json!({"label": " ", "scopes": ["read", "write"], "plugins": [], "expires_at": "yesterday"});
    let problem = app.post("/api/tokens", &body).await.expect_problem(422, "field-invalid");
    let pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/label", "/scopes/1", "/plugins", "/expires_at"]);
    app.delete("/api/tokens/nonsense").await.expect_problem(404, "token-unknown");
}
