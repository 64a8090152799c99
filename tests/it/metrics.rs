//! Figures for Prometheus: who gets them, and that they are what was done.

use plugbay::domain::Code;
use reqwest::Method;
use serde_json::json;

use crate::support::app::{TestApp, send};
use crate::support::author::{manifest, package};
use crate::support::prometheus::read;

#[tokio::test]
async fn on_loopback_they_are_for_everybody_on_this_machine() {
    let app = TestApp::setup().unsigned().without_engine().start().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect(201);
    app.get("/api/plugins/my-plugin").await.expect(200);
    app.get("/api/plugins/other").await.expect_problem(404, "plugin-unknown");
    send(app.bare(Method::GET, "/api/plugins")).await.expect_problem(401, "token-missing");
    app.post("/api/plugins/my-plugin/execute", &json!({})).await.expect_problem(409, "plugin-not-enabled");
    app.get("/nowhere").await.expect_problem(404, "not-found");
    let answer = send(app.bare(Method::GET, "/metrics")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let found = read(&answer.text);
    let requests = |route: &str, method: &str, status: &str| {
        found.count("http_requests_total", &[("route", route), ("method", method), ("status", status)])
    };
    assert_eq!(requests("/api/plugins/install", "POST", "201"), 1);
    assert_eq!(requests("/api/plugins/{id}", "GET", "200"), 1);
    assert_eq!(requests("/api/plugins/{id}", "GET", "404"), 1);
    assert_eq!(requests("/api/plugins", "GET", "401"), 1);
    assert_eq!(requests("/api/plugins/{id}/execute", "POST", "409"), 1);
    assert_eq!(requests("other", "GET", "404"), 1);
    let refusals = |code: Code| found.count("http_refusals_total", &[("code", code.as_str())]);
    assert_eq!((refusals(Code::PluginUnknown), refusals(Code::TokenMissing)), (1, 1));
    assert_eq!((refusals(Code::PluginNotEnabled), refusals(Code::NotFound)), (1, 1));
    let rows = app.get("/api/audit?limit=1").await.expect(200)["entries"][0]["seq"].as_u64().unwrap();
    assert_eq!(found.count("plugbay_audit_rows", &[]), rows);
    assert_eq!(found.count("plugbay_engine_up", &[]), 0);
    assert_eq!(found.count("plugbay_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1);
    // The next page counts this one.
    let again = read(&send(app.bare(Method::GET, "/metrics")).await.text);
    let labels = [("route", "/metrics"), ("method", "GET"), ("status", "200")];
    assert_eq!(again.count("http_requests_total", &labels), 1);
}

#[tokio::test]
async fn where_others_can_connect_a_token_that_may_read_is_needed() {
    let setup = TestApp::setup().without_engine();
    let app = setup.with(|config| config.server.listen = "0.0.0.0:0".parse().unwrap()).start().await;
    send(app.bare(Method::GET, "/metrics")).await.expect_problem(401, "token-missing");
    let token = app.token(&["execute"], None).await;
    send(app.bare(Method::GET, "/metrics").bearer_auth(token)).await.expect_problem(403, "scope-missing");
    let token = app.token(&["read"], None).await;
    let answer = send(app.bare(Method::GET, "/metrics").bearer_auth(token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    read(&answer.text);
}
