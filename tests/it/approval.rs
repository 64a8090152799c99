//! Permissions: what is granted, denied and taken back, and what is refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{Answer, TestApp};
use crate::support::author::{manifest, package};

const WANTS: &str = "permissions: [network_access, chat_access]\noptional_permissions: [filesystem_read]\n\
    network: { allow: [api.example.com] }\naccess: { filesystem_read: [docs] }\n";

/// A service without an engine: what would start answers 503.
async fn service() -> TestApp {
    let setup = TestApp::setup().unsigned();
    setup.without_engine().start().await
}

async fn install_as(app: &TestApp, name: &str, extra: &str) -> Value {
    let archive = package(&format!("{}{extra}", manifest(name, "1.0.0")));
    app.install(&archive, None).await.expect(201)
}

async fn installed(extra: &str) -> TestApp {
    let app = service().await;
    install_as(&app, "my-plugin", extra).await;
    app
}

pub(super) async fn approve(app: &TestApp, body: &Value) -> Answer {
    app.post("/api/plugins/my-plugin/permissions/approve", body).await
}

async fn revoke(app: &TestApp, body: &Value) -> Answer {
    app.post("/api/plugins/my-plugin/permissions/revoke", body).await
}

async fn enable(app: &TestApp) -> Answer {
    let request = app.request(reqwest::Method::POST, "/api/plugins/my-plugin/enable");
    crate::support::app::send(request).await
}

pub(super) async fn shown(app: &TestApp) -> Value {
    app.get("/api/plugins/my-plugin").await.expect(200)
}

#[tokio::test]
async fn installing_grants_nothing_and_enabling_says_what_to_do() {
    let app = installed(WANTS).await;
    let plugin = shown(&app).await;
    assert_eq!(plugin["permissions"]["pending"], json!(["network_access", "chat_access"]));
    assert_eq!((&plugin["permissions"]["granted"], &plugin["grants"]), (&json!([]), &json!([])));
    assert_eq!(plugin["risks"], json!(["data-egress"]));
    let problem = enable(&app).await.expect_problem(409, "permissions-pending");
    assert_eq!(problem["title"], "Permissions are not approved");
    assert_eq!(problem["detail"], "network_access, chat_access need an administrator's decision");
    assert_eq!(problem["how"], "plugbay approve my-plugin --grant network_access --grant chat_access");
}

#[tokio::test]
async fn what_is_granted_is_recorded_with_who_when_and_for_which_archive() {
    let app = installed(WANTS).await;
    let body = json!({"grant": ["network_access", "chat_access"], "deny": ["filesystem_read"],
        "accept_risks": ["data-egress"], "note": "reviewed", "digest": shown(&app).await["digest"]});
    let decided = approve(&app, &body).await.expect(200);
    let permissions = &decided["permissions"];
    assert_eq!(permissions["granted"], json!(["network_access", "chat_access"]));
    assert_eq!(permissions["denied"], json!([{"permission": "filesystem_read", "scope": ["docs"]}]));
    assert_eq!((&permissions["pending"], &decided["update"]), (&json!([]), &json!(null)));
    assert_eq!(decided["records"].as_array().unwrap().len(), 3);
    let plugin = shown(&app).await;
    let grant = plugin["grants"].as_array().unwrap().iter().find(|found| found["permission"] == "network_access");
    let grant = grant.unwrap();
    assert_eq!(grant["scope"], json!(["api.example.com:443"]));
    assert_eq!((&grant["label"], &grant["note"]), (&json!("first token"), &json!("reviewed")));
    assert_eq!((&grant["at"], &grant["digest"]), (&json!("2026-11-20T12:00:00.000Z"), &plugin["digest"]));
    assert!(grant["by"].as_str().unwrap().starts_with("token_"));
    assert_eq!((&grant["expires_at"], &grant["carried_from"]), (&json!(null), &json!(null)));
    let all = app.get("/api/plugins/my-plugin/permissions").await.expect(200);
    assert_eq!(all["request"]["network"], json!(["api.example.com:443"]));
    assert_eq!(
        (&all["records"][0]["decision"], &all["accepted_risks"][0]["risk"]),
        (&json!("denied"), &json!("data-egress"))
    );
    let listed = app.get("/api/plugins").await.expect(200);
    assert_eq!(listed["plugins"][0]["permissions"]["granted"], json!(["network_access", "chat_access"]));
    assert_eq!(app.audit_actions().await.last().unwrap(), "permissions.approved");
    // Everything it needs is there: only the engine is not.
    enable(&app).await.expect_problem(503, "engine-unavailable");
}

#[tokio::test]
async fn entries_of_pending_are_valid_elements_of_grant() {
    let app = installed(
        "permissions: [database_read]\naccess: { database_read: [chat, crm] }\nrequires: { other: '^1', more: '*' }\n",
    )
    .await;
    let pending = shown(&app).await["permissions"]["pending"].take();
    assert_eq!(pending[2], json!({"permission": "plugins", "scope": ["other"]}));
    let chat = json!([{"permission": "database_read", "scope": ["chat"]}]);
    let some = approve(&app, &json!({"grant": chat})).await.expect(200);
    assert_eq!(some["permissions"]["granted"], chat);
    assert_eq!(some["permissions"]["pending"][0], json!({"permission": "database_read", "scope": ["crm"]}));
    let rest = approve(&app, &json!({"grant": some["permissions"]["pending"]})).await.expect(200);
    assert_eq!(rest["permissions"]["pending"], json!([]));
    let again = approve(&app, &json!({"grant": pending})).await.expect(200);
    assert_eq!(again["permissions"]["pending"], json!([]));
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_granted() {
    let app = installed(WANTS).await;
    let scoped = |permission: &str, scope: &str| json!({"grant": [{"permission": permission, "scope": [scope]}]});
    for (body, code) in [
        (json!({"grant": ["database_read"]}), "permission-not-requested"),
        (json!({"deny": ["admin_access"]}), "permission-not-requested"),
        (scoped("plugins", "other"), "permission-not-requested"),
        (scoped("network_access", "other.example.com"), "scope-too-wide"),
        (scoped("network_access", "api.example.com:8443"), "scope-too-wide"),
        (scoped("network_access", "*.example.com"), "scope-too-wide"),
        (scoped("network_access", "https://x"), "field-invalid"),
        (scoped("chat_access", "general"), "field-invalid"),
        (scoped("filesystem_read", "other"), "scope-too-wide"),
        (scoped("filesystem_read", "../etc"), "field-invalid"),
        (json!({"grant": ["root"]}), "field-invalid"),
        (json!({"grant": ["chat_access"], "deny": ["chat_access"]}), "field-invalid"),
        (json!({"accept_risks": ["everything"]}), "field-invalid"),
        (json!({"grant": ["chat_access"], "expires_at": "2026-11-20T11:59:59Z"}), "field-invalid"),
        (json!({"grant": ["chat_access"], "note": "x".repeat(501)}), "field-invalid"),
        (json!({}), "field-invalid"),
    ] {
        approve(&app, &body).await.expect_problem(422, code);
    }
    approve(&app, &json!({"grants": ["chat_access"]})).await.expect_problem(400, "unknown-field");
    let unknown = json!({"grant": [{"permission": "chat_access", "scopes": []}]});
    approve(&app, &unknown).await.expect_problem(400, "bad-request");
    assert_eq!(shown(&app).await["permissions"]["granted"], json!([]));
    assert!(app.audit_actions().await.contains(&"permissions.approve_refused".to_owned()));
}

#[tokio::test]
async fn a_required_permission_that_is_denied_keeps_a_plugin_from_running() {
    let app = installed("permissions: [chat_access, api_access]\n").await;
    approve(&app, &json!({"grant": ["api_access"], "deny": ["chat_access"]})).await.expect(200);
    let problem = enable(&app).await.expect_problem(409, "permissions-pending");
    assert_eq!(problem["detail"], "chat_access was denied, and `my-plugin` does not run without");
    assert_eq!(problem["how"], "plugbay approve my-plugin --grant chat_access");
    let decided = approve(&app, &json!({"grant": ["chat_access"]})).await.expect(200);
    assert_eq!(decided["permissions"]["denied"], json!([]));
    enable(&app).await.expect_problem(503, "engine-unavailable");
}

#[tokio::test]
async fn only_the_archive_that_was_looked_at_is_approved() {
    let app = installed("permissions: [chat_access]\n").await;
    let other = format!("sha256:{}", "0".repeat(64));
    let problem = approve(&app, &json!({"grant": ["chat_access"], "digest": other})).await;
    problem.expect_problem(409, "digest-changed");
    approve(&app, &json!({"grant": ["chat_access"], "digest": "sha256:x"})).await.expect_problem(422, "field-invalid");
}

#[tokio::test]
async fn data_beside_open_egress_is_accepted_by_name() {
    let app = installed("permissions: [network_access, chat_access]\n").await;
    let both = json!({"grant": ["network_access", "chat_access"]});
    let problem = approve(&app, &both).await.expect_problem(422, "risk-not-accepted");
    assert_eq!(problem["how"], "plugbay approve my-plugin --accept-risk data-egress");
    approve(&app, &json!({"grant": ["chat_access"]})).await.expect(200);
    approve(&app, &json!({"grant": ["network_access"]})).await.expect_problem(422, "risk-not-accepted");
    // Hosts that an administrator names are no open egress.
    let host = json!([{"permission": "network_access", "scope": ["api.example.com"]}]);
    let narrowed = approve(&app, &json!({"grant": host})).await.expect(200);
    assert_eq!(narrowed["permissions"]["pending"], json!([]));
    let accepted = json!({"grant": ["network_access"], "accept_risks": ["data-egress"]});
    approve(&app, &accepted).await.expect(200);
    // Taken back, it has to be accepted again.
    revoke(&app, &json!({"permissions": ["network_access"]})).await.expect(200);
    approve(&app, &json!({"grant": ["network_access"]})).await.expect_problem(422, "risk-not-accepted");
}

#[tokio::test]
async fn an_api_beside_open_egress_is_a_risk() {
    let app = installed("permissions: [network_access, api_access]\n").await;
    assert_eq!(shown(&app).await["risks"], json!(["data-egress"]));
    let both = json!({"grant": ["network_access", "api_access"]});
    approve(&app, &both).await.expect_problem(422, "risk-not-accepted");
}

#[tokio::test]
async fn a_wildcard_below_a_public_suffix_is_open_egress() {
    for hosts in ["'*.com'", "'*.co.uk'", "a.example, '*.github.io:8443'", "'tcp://*.com:22'", "'http://*.org'"] {
        let asks = format!("permissions: [network_access, chat_access]\nnetwork: {{ allow: [{hosts}] }}\n");
        let app = installed(&asks).await;
        let all = json!({"grant": ["network_access", "chat_access"]});
        let answer = approve(&app, &all).await;
        assert_eq!(answer.status, 422, "{hosts}: {}", answer.text);
        answer.expect_problem(422, "risk-not-accepted");
    }
    let app = installed("permissions: [network_access, chat_access]\nnetwork: { allow: ['*.example.com'] }\n").await;
    approve(&app, &json!({"grant": ["network_access", "chat_access"]})).await.expect(200);
}

/// A name of a service that anybody uses vouches for nobody. It is granted, once the risk is accepted.
#[tokio::test]
async fn a_host_of_a_service_that_serves_anybody_is_open_egress() {
    for host in ["webhook.site", "10-0-0-1.sslip.io", "'*.ngrok-free.app'", "'tcp://x.oast.fun:25'"] {
        let asks = format!("permissions: [network_access, chat_access]\nnetwork: {{ allow: [{host}] }}\n");
        let app = installed(&asks).await;
        let both = json!({"grant": ["network_access", "chat_access"]});
        approve(&app, &both).await.expect_problem(422, "risk-not-accepted");
        let accepted = json!({"grant": ["network_access", "chat_access"], "accept_risks": ["data-egress"]});
        approve(&app, &accepted).await.expect(200);
    }
}

#[tokio::test]
async fn a_secret_beside_open_egress_is_a_risk() {
    let secret = "permissions: [network_access]\nconfig_schema: { key: { type: string, secret: true } }\n";
    let app = installed(secret).await;
    approve(&app, &json!({"grant": ["network_access"]})).await.expect_problem(422, "risk-not-accepted");
}

#[tokio::test]
async fn data_leaks_through_another_plugin_too() {
    let app = installed("permissions: [chat_access]\nrequires: { fetcher: '*' }\n").await;
    install_as(&app, "fetcher", "permissions: [network_access]\n").await;
    let fetcher = "/api/plugins/fetcher/permissions/approve";
    approve(&app, &json!({"grant": ["chat_access", "plugins"]})).await.expect(200);
    // The callee would open what the caller may not leak through.
    app.post(fetcher, &json!({"grant": ["network_access"]})).await.expect_problem(422, "risk-not-accepted");
    revoke(&app, &json!({"permissions": ["plugins"]})).await.expect(200);
    app.post(fetcher, &json!({"grant": ["network_access"]})).await.expect(200);
    assert_eq!(shown(&app).await["risks"], json!(["data-egress"]));
    approve(&app, &json!({"grant": ["plugins"]})).await.expect_problem(422, "risk-not-accepted");
    approve(&app, &json!({"grant": ["plugins"], "accept_risks": ["data-egress"]})).await.expect(200);
}

#[tokio::test]
async fn what_became_a_risk_later_does_not_start_before_it_is_accepted() {
    let app = installed("permissions: [network_access]\nrequires: { vault: '*' }\n").await;
    approve(&app, &json!({"grant": ["network_access", "plugins"]})).await.expect(200);
    // Nobody decides about a secret, and the caller that can send it out was approved before.
    install_as(&app, "vault", "config_schema: { key: { type: string, secret: true } }\n").await;
    let problem = enable(&app).await.expect_problem(409, "permissions-pending");
    assert_eq!(problem["how"], "plugbay approve my-plugin --accept-risk data-egress");
    approve(&app, &json!({"accept_risks": ["data-egress"]})).await.expect(200);
    // The one that is called is asked about as well, and comes first.
    let problem = enable(&app).await.expect_problem(409, "permissions-pending");
    assert_eq!(problem["how"], "plugbay approve vault --accept-risk data-egress");
    let vault = "/api/plugins/vault/permissions/approve";
    app.post(vault, &json!({"accept_risks": ["data-egress"]})).await.expect(200);
    enable(&app).await.expect_problem(503, "engine-unavailable");
}

#[tokio::test]
async fn an_accepted_risk_lasts_as_long_as_it_is_one() {
    let app = installed("permissions: [network_access]\noptional_permissions: [chat_access, database_read]\n").await;
    let all = json!({"grant": ["network_access", "chat_access", "database_read"], "accept_risks": ["data-egress"]});
    approve(&app, &all).await.expect(200);
    revoke(&app, &json!({"permissions": ["chat_access"]})).await.expect(200);
    approve(&app, &json!({"grant": ["chat_access"]})).await.expect(200);
    revoke(&app, &json!({"permissions": ["chat_access", "database_read"]})).await.expect(200);
    approve(&app, &json!({"grant": ["chat_access"]})).await.expect_problem(422, "risk-not-accepted");
}

#[tokio::test]
async fn a_grant_is_taken_back_and_stays_in_the_records() {
    let app = installed(WANTS).await;
    let body = json!({"grant": ["network_access", "chat_access"]});
    approve(&app, &body).await.expect(200);
    let revoked = revoke(&app, &json!({"permissions": ["network_access"], "note": "incident"})).await.expect(200);
    assert_eq!(revoked["permissions"]["pending"], json!(["network_access"]));
    assert_eq!(
        (&revoked["records"][0]["ended"], &revoked["records"][0]["ended_note"]),
        (&json!("revoked"), &json!("incident"))
    );
    enable(&app).await.expect_problem(409, "permissions-pending");
    let again = revoke(&app, &json!({"permissions": ["network_access"]})).await.expect(200);
    assert_eq!(again["records"], json!([]), "what is gone is not taken back again");
    revoke(&app, &json!({"permissions": ["admin_access"]})).await.expect_problem(422, "permission-not-requested");
    revoke(&app, &json!({"permissions": []})).await.expect_problem(422, "field-invalid");
    let records = app.get("/api/plugins/my-plugin/permissions").await.expect(200)["records"].take();
    let ended: Vec<_> = records.as_array().unwrap().iter().map(|record| &record["ended"]).collect();
    assert_eq!(ended, [&json!(null), &json!("revoked")]);
    let actions = app.audit_actions().await;
    assert_eq!(actions.iter().filter(|action| *action == "permissions.revoked").count(), 1);
}

#[tokio::test]
async fn a_part_is_taken_back_as_it_was_granted() {
    let app = installed("permissions: [database_read]\n").await;
    approve(&app, &json!({"grant": ["database_read"]})).await.expect(200);
    let part = json!({"permissions": [{"permission": "database_read", "scope": ["crm"]}]});
    revoke(&app, &part).await.expect_problem(422, "scope-too-wide");
    let parts = json!({"grant": [{"permission": "database_read", "scope": ["chat", "crm"]}]});
    let narrowed = approve(&app, &parts).await.expect(200);
    assert_eq!(narrowed["permissions"]["granted"], parts["grant"]);
    let left = revoke(&app, &part).await.expect(200);
    assert_eq!(left["permissions"]["granted"], json!([{"permission": "database_read", "scope": ["chat"]}]));
}

#[tokio::test]
async fn only_the_scope_approve_decides() {
    let app = installed(WANTS).await;
    let token = app.token(&["read", "operate", "install", "execute"], None).await;
    for (method, path) in [("GET", "permissions"), ("POST", "permissions/approve"), ("POST", "permissions/revoke")] {
        let request = app.bare(method.parse().unwrap(), &format!("/api/plugins/my-plugin/{path}")).bearer_auth(&token);
        let problem = crate::support::app::send(request).await.expect_problem(403, "scope-missing");
        assert!(problem["detail"].as_str().unwrap().contains("`approve`"));
    }
    let token = app.token(&["approve"], Some(&["other-*"])).await;
    let request = app.bare(reqwest::Method::GET, "/api/plugins/my-plugin/permissions").bearer_auth(&token);
    crate::support::app::send(request).await.expect_problem(404, "plugin-unknown");
}

#[tokio::test]
async fn what_an_operator_has_not_named_keeps_a_plugin_from_running() {
    let app = installed("permissions: [filesystem_read]\naccess: { filesystem_read: [docs] }\n").await;
    approve(&app, &json!({"grant": ["filesystem_read"]})).await.expect(200);
    let problem = enable(&app).await.expect_problem(409, "resource-unknown");
    assert!(problem["how"].as_str().unwrap().contains("resources.folders"), "{problem}");
}

#[tokio::test]
async fn a_plugin_that_is_installed_again_has_nothing() {
    let app = installed("permissions: [chat_access]\n").await;
    approve(&app, &json!({"grant": ["chat_access"]})).await.expect(200);
    let before = shown(&app).await["id"].take();
    app.delete("/api/plugins/my-plugin").await.expect(204);
    let again = install_as(&app, "my-plugin", "permissions: [chat_access]\n").await;
    assert_ne!(again["plugin_id"], before);
    assert_eq!(
        (&again["permissions"]["granted"], &again["permissions"]["pending"]),
        (&json!([]), &json!(["chat_access"]))
    );
}

#[tokio::test]
async fn decisions_survive_a_restart() {
    let app = installed("permissions: [chat_access]\n").await;
    approve(&app, &json!({"grant": ["chat_access"]})).await.expect(200);
    let app = app.restart().await;
    assert_eq!(shown(&app).await["permissions"]["granted"], json!(["chat_access"]));
}

#[tokio::test]
async fn grants_end_with_an_audit_row_and_not_without_a_warning() {
    let app = installed("permissions: [chat_access]\n").await;
    let day = Duration::from_hours(24);
    approve(&app, &json!({"grant": ["chat_access"], "expires_at": "2026-12-20T12:00:00Z"})).await.expect(200);
    assert_eq!(shown(&app).await["warnings"], json!([]));
    app.clock().advance(day * 24);
    let warnings = shown(&app).await["warnings"].take();
    assert_eq!(warnings, json!(["the grant of `chat_access` to `my-plugin` ends at 2026-12-20T12:00:00.000Z"]));
    let doctor = app.get("/api/system").await.expect(200)["doctor"].take();
    let check = doctor.as_array().unwrap().iter().find(|check| check["check"] == "grants").unwrap();
    assert_eq!((&check["ok"], &check["detail"]), (&json!(true), &warnings[0]));
    app.clock().advance(day * 6);
    assert_eq!(shown(&app).await["permissions"]["pending"], json!(["chat_access"]), "nobody waits for the upkeep");
    enable(&app).await.expect_problem(409, "permissions-pending");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    while app.audit_actions().await.last().unwrap() != "permissions.expired" {
        assert!(tokio::time::Instant::now() < deadline, "the grant is ended within one period");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let records = app.get("/api/plugins/my-plugin/permissions").await.expect(200)["records"].take();
    assert_eq!((&records[0]["ended"], &records[0]["ended_by"]), (&json!("expired"), &json!("service")));
}

#[tokio::test]
async fn a_grant_for_the_sandbox_itself_is_refused_with_the_line_to_write_instead() {
    let app = TestApp::setup().unsigned().start().await;
    let asks = format!("{}permissions: [network_access]\n", manifest("my-plugin", "1.0.0"));
    app.install(&package(&asks), None).await.expect(201);
    let path = "/api/plugins/my-plugin/permissions/approve";
    for rule in
        ["localhost:8080", "http://x.localhost:80", "http://plugin:80", "tcp://127.0.0.1:5432", "tcp://[::1]:5432"]
    {
        let body = json!({"grant": [{"permission": "network_access", "scope": [rule]}]});
        let problem = app.post(path, &body).await.expect_problem(422, "field-invalid");
        let error = problem["errors"][0]["message"].as_str().unwrap();
        assert!(error.contains("host.plugbay.internal:"), "{rule}: {error}");
    }
    let body = json!({"grant": [{"permission": "network_access", "scope": ["http://host.plugbay.internal:8080"]}]});
    app.post(path, &body).await.expect(200);
}
