//! What becomes of decisions when another version comes in.

use serde_json::{Value, json};

use super::approval::{approve, shown};
use crate::support::app::TestApp;
use crate::support::author::{Author, manifest, package};

struct Signed {
    app: TestApp,
    author: Author,
}

impl Signed {
    async fn with(extra: &str) -> Self {
        let author = Author::new();
        let app = TestApp::start().await;
        app.trust(&author).await;
        let archive = package(&format!("{}{extra}", manifest("my-plugin", "1.0.0")));
        app.install(&archive, Some(&author.sign(&archive))).await.expect(201);
        Self { app, author }
    }

    async fn update(&self, version: &str, extra: &str, author: &Author) -> Value {
        let archive = package(&format!("{}{extra}", manifest("my-plugin", version)));
        let path = "/api/plugins/my-plugin/update";
        self.app.upload(path, &archive, Some(&author.sign(&archive))).await.expect(200)
    }
}

#[tokio::test]
async fn grants_are_carried_over_when_nothing_more_is_asked() {
    let signed = Signed::with("permissions: [chat_access, database_read]\n").await;
    let app = &signed.app;
    approve(app, &json!({"grant": ["chat_access", "database_read"], "note": "first"})).await.expect(200);
    let before = shown(app).await["digest"].take();
    let narrower = "permissions: [chat_access, database_read]\naccess: { database_read: [crm] }\n";
    assert_eq!(signed.update("2.0.0", narrower, &signed.author).await["status"], "updated");
    let plugin = shown(app).await;
    assert_eq!(plugin["permissions"]["pending"], json!([]));
    for grant in plugin["grants"].as_array().unwrap() {
        assert_eq!((&grant["carried_from"], &grant["digest"]), (&before, &plugin["digest"]));
        assert_eq!(grant["note"], "first");
    }
    assert_eq!(plugin["permissions"]["granted"][1], json!({"permission": "database_read", "scope": ["crm"]}));
    let records = app.get("/api/plugins/my-plugin/permissions").await.expect(200)["records"].take();
    let superseded = |record: &&Value| record["ended"] == "superseded";
    assert_eq!(records.as_array().unwrap().iter().filter(superseded).count(), 2);
}

#[tokio::test]
async fn the_last_missing_approval_starts_the_update() {
    let signed = Signed::with("permissions: [chat_access]\n").await;
    let app = &signed.app;
    approve(app, &json!({"grant": ["chat_access"]})).await.expect(200);
    let wants = "permissions: [chat_access, api_access, database_read]\noptional_permissions: [filesystem_read]\n";
    let waiting = signed.update("2.0.0", wants, &signed.author).await;
    assert_eq!(waiting["status"], "pending_approval");
    let plugin = shown(app).await;
    assert_eq!(plugin["pending"]["permissions"]["granted"], json!(["chat_access"]), "taken over");
    assert_eq!(plugin["pending"]["permissions"]["pending"], json!(["api_access", "database_read"]));
    assert_eq!(plugin["permissions"]["pending"], json!([]), "what serves goes on");
    let first =
        approve(app, &json!({"grant": ["api_access"], "digest": plugin["pending"]["digest"]})).await.expect(200);
    assert_eq!((&first["update"], &first["permissions"]["pending"]), (&json!(null), &json!(["database_read"])));
    assert_eq!(shown(app).await["version"], "1.0.0");
    let last = approve(app, &json!({"grant": ["database_read"]})).await.expect(200);
    assert_eq!((&last["update"]["status"], &last["update"]["version"]), (&json!("updated"), &json!("2.0.0")));
    assert_eq!(last["update"]["previous_version"], "1.0.0");
    let plugin = shown(app).await;
    assert_eq!((&plugin["version"], &plugin["pending"]), (&json!("2.0.0"), &json!(null)));
    assert_eq!(plugin["permissions"]["granted"], json!(["chat_access", "api_access", "database_read"]));
    let versions = app.get("/api/plugins/my-plugin/versions").await.expect(200);
    assert_eq!((&versions["floor"], &versions["versions"][1]["served"]), (&json!("2.0.0"), &json!(true)));
    let actions = app.audit_actions().await;
    assert_eq!(actions[actions.len() - 2..], ["permissions.approved".to_owned(), "plugin.updated".to_owned()]);
}

#[tokio::test]
async fn growth_without_permissions_waits_for_an_empty_approval() {
    let signed = Signed::with("").await;
    let waiting = signed.update("2.0.0", "resources: { memory_mb: 64 }\n", &signed.author).await;
    assert_eq!(waiting["permission_diff"]["added"], json!(["memory_mb 64"]));
    let digest = shown(&signed.app).await["pending"]["digest"].take();
    let done = approve(&signed.app, &json!({"digest": digest})).await.expect(200);
    assert_eq!(done["update"]["version"], "2.0.0");
}

#[tokio::test]
async fn another_signer_takes_nothing_over_and_is_accepted_by_name() {
    let signed = Signed::with("permissions: [chat_access]\n").await;
    let app = &signed.app;
    approve(app, &json!({"grant": ["chat_access"]})).await.expect(200);
    let other = Author::new();
    app.trust(&other).await;
    signed.update("2.0.0", "permissions: [chat_access]\n", &other).await;
    let pending = shown(app).await["pending"].take();
    assert_eq!(
        (&pending["risks"], &pending["permissions"]["pending"]),
        (&json!(["signer-changed"]), &json!(["chat_access"]))
    );
    approve(app, &json!({"grant": ["chat_access"]})).await.expect_problem(422, "risk-not-accepted");
    let body = json!({"grant": ["chat_access"], "accept_risks": ["signer-changed"], "digest": pending["digest"]});
    let done = approve(app, &body).await.expect(200);
    assert_eq!((&done["update"]["status"], &done["update"]["signer_changed"]), (&json!("updated"), &json!(true)));
    let grants = shown(app).await["grants"].take();
    assert_eq!((&grants[0]["carried_from"], &grants[0]["digest"]), (&json!(null), &pending["digest"]));
}

#[tokio::test]
async fn a_waiting_version_whose_key_was_revoked_does_not_start() {
    let signed = Signed::with("").await;
    let other = Author::new();
    signed.app.trust(&other).await;
    signed.update("2.0.0", "", &other).await;
    signed.app.delete(&format!("/api/keys/{}", other.key_id())).await.expect(200);
    let body = json!({"accept_risks": ["signer-changed"]});
    approve(&signed.app, &body).await.expect_problem(422, "key-revoked");
    assert_eq!(shown(&signed.app).await["version"], "1.0.0");
}

#[tokio::test]
async fn an_update_with_a_new_risk_waits() {
    let open = "permissions: [network_access]\n";
    let signed = Signed::with(open).await;
    approve(&signed.app, &json!({"grant": ["network_access"]})).await.expect(200);
    let secret = format!("{open}config_schema: {{ key: {{ type: string, secret: true }} }}\n");
    let waiting = signed.update("2.0.0", &secret, &signed.author).await;
    assert_eq!(waiting["status"], "pending_approval");
    assert_eq!(waiting["permission_diff"]["added"], json!(["risk data-egress"]));
    approve(&signed.app, &json!({"grant": ["network_access"]})).await.expect_problem(422, "risk-not-accepted");
    let done = approve(&signed.app, &json!({"accept_risks": ["data-egress"]})).await.expect(200);
    assert_eq!(done["update"]["version"], "2.0.0");
}
