//! Signing keys.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::author::{Author, manifest, package};

#[tokio::test]
async fn a_key_is_registered_listed_and_revoked() {
    let app = TestApp::start().await;
    let author = Author::new();
    let added = app.trust_for(&author, &["my-plugin", "acme-*"]).await.expect(201);
    let expected = json!({"key_id": author.key_id(), "label": "acme", "public_key": author.public_key(),
        "names": ["my-plugin", "acme-*"], "not_before": null, "not_after": null, "revoked_at": null, "reason": null});
    assert_eq!(added, expected);
    assert_eq!(app.get("/api/keys").await.expect(200), json!({"keys": [expected], "total": 1}));

    let revoked = app.delete(&format!("/api/keys/{}?reason=lost", author.key_id())).await.expect(200);
    assert_eq!((&revoked["revoked_at"], &revoked["reason"]), (&json!("2026-11-20T12:00:00.000Z"), &json!("lost")));
    // Again changes nothing, in whatever case the id is written.
    let again = app.delete(&format!("/api/keys/{}?reason=other", author.key_id().to_lowercase())).await.expect(200);
    assert_eq!(again, revoked);
    assert_eq!(app.audit_actions().await[2..], ["key.added", "key.revoked"]);
}

#[tokio::test]
async fn an_id_is_registered_once_and_names_are_written_out() {
    let app = TestApp::start().await;
    let author = Author::new();
    app.trust(&author).await;
    app.trust_for(&author, &["other"]).await.expect_problem(409, "key-exists");
    let problem = app.trust_for(&Author::new(), &[]).await.expect_problem(422, "field-invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/names");
    let problem = app.trust_for(&Author::new(), &["Not A Glob"]).await.expect_problem(422, "field-invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/names/0");
}

#[tokio::test]
async fn texts_that_are_no_keys_and_weak_keys_are_refused() {
    let app = TestApp::start().await;
    let add = |text: String| {
        let body = json!({"public_key": text, "label": "x", "names": ["*"]});
        let app = &app;
        async move { app.post("/api/keys", &body).await }
    };
    add("nonsense".to_owned()).await.expect_problem(422, "key-invalid");
    let zero = [b"Ed".as_slice(), &[7; 8], &[0; 32]].concat();
    add(data_encoding::BASE64.encode(&zero)).await.expect_problem(422, "key-weak");
    app.delete("/api/keys/0000000000000000").await.expect_problem(404, "key-unknown");
    app.delete("/api/keys/nonsense").await.expect_problem(404, "key-unknown");
}

#[tokio::test]
async fn revoking_a_key_quarantines_what_it_signed() {
    let app = TestApp::start().await;
    let author = Author::new();
    app.trust(&author).await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    app.install(&archive, Some(&author.sign(&archive))).await.expect(201);
    app.delete(&format!("/api/keys/{}?reason=stolen", author.key_id())).await.expect(200);
    let shown = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!(shown["status"], "quarantined");
    assert_eq!(shown["quarantine"], json!({"reason": "key-revoked", "since": "2026-11-20T12:00:00.000Z"}));
    assert_eq!(app.get("/api/plugins?status=quarantined").await.expect(200)["total"], 1);
    assert_eq!(app.get("/api/plugins?status=installed").await.expect(200)["total"], 0);
}
