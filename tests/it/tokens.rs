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

async fn with_rate(app: &TestApp, rate: u32) -> (String, serde_json::Value) {
    let body = json!({"label": format!("rate {rate}"), "scopes": ["read"], "rate": rate});
    let created = app.post("/api/tokens", &body).await.expect(201);
    (created["token"].as_str().unwrap().to_owned(), created)
}

/// How many of some requests sent at once were refused as too many.
async fn refused_of(app: &TestApp, token: &str, count: usize) -> usize {
    let answers = (0..count).map(|_| with(app, token, Method::GET, "/api/plugins"));
    let answers = futures_util::future::join_all(answers).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status.as_u16() != 200).collect();
    for answer in &refused {
        answer.expect_problem(429, "rate-limited");
        assert_eq!(answer.headers["retry-after"], "1");
    }
    refused.len()
}

#[tokio::test]
async fn a_token_with_a_rate_of_its_own_waits_alone() {
    let app = TestApp::start().await;
    let (slow, created) = with_rate(&app, 5).await;
    assert_eq!(created["rate"], 5);
    let other = app.token(&["read"], None).await;
    let (of_slow, of_other) =
        futures_util::future::join(refused_of(&app, &slow, 40), refused_of(&app, &other, 40)).await;
    assert!(of_slow > 0, "40 requests at once of a token with rate 5");
    assert_eq!(of_other, 0);
    let listed = app.get("/api/tokens").await.expect(200);
    let rates: Vec<_> = listed["tokens"].as_array().unwrap().iter().map(|token| &token["rate"]).collect();
    assert_eq!(rates, [&json!(null), &json!(5), &json!(null)]);
    // It is what was decided about the token, also after a restart.
    let app = app.restart().await;
    assert!(refused_of(&app, &slow, 40).await > 0);
}

#[tokio::test]
async fn the_rate_of_a_token_goes_before_the_one_of_the_service() {
    let app = TestApp::setup().with(|config| config.server.requests_per_second = 5).start().await;
    let tokens = [with_rate(&app, 0).await.0, with_rate(&app, 1_000_000).await.0];
    for token in &tokens {
        assert_eq!(refused_of(&app, token, 100).await, 0);
    }
    let (slower, _) = with_rate(&app, 1).await;
    assert!(refused_of(&app, &slower, 4).await >= 2);
}

#[tokio::test]
async fn the_rate_of_a_token_is_in_the_audit_log() {
    let app = TestApp::start().await;
    with_rate(&app, 5).await;
    let newest = app.get("/api/audit?limit=1").await.expect(200)["entries"][0].take();
    assert_eq!((&newest["action"], &newest["detail"]["rate"]), (&json!("token.created"), &json!(5)));
    let setup = app.stop().await;
    let verdict = async || plugbay::startup::verify_audit(&setup.data(), None).await.map_err(|error| error.to_string());
    assert!(verdict().await.is_ok());
    for rate in ["0", "6", "NULL"] {
        crate::support::database::run(&setup.data(), &format!("UPDATE tokens SET rate = {rate} WHERE rate = 5")).await;
        let found = verdict().await.unwrap_err();
        assert!(found.contains("of table `tokens` is not what row"), "{rate}: {found}");
        let back = format!("UPDATE tokens SET rate = 5 WHERE rate IS {rate} AND label = 'rate 5'");
        crate::support::database::run(&setup.data(), &back).await;
        assert!(verdict().await.is_ok(), "{rate}");
    }
}

#[tokio::test]
async fn wrong_values_are_all_told() {
    let app = TestApp::start().await;
    let body = json!({"label": " ", "scopes": ["read", "write"], "plugins": [], "expires_at": "yesterday"});
    let problem = app.post("/api/tokens", &body).await.expect_problem(422, "field-invalid");
    let pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/label", "/scopes/1", "/plugins", "/expires_at"]);
    app.delete("/api/tokens/nonsense").await.expect_problem(404, "token-unknown");
    let body = json!({"label": "x", "scopes": ["read"], "rate": 1_000_001});
    let problem = app.post("/api/tokens", &body).await.expect_problem(422, "field-invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/rate");
}
