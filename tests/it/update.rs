//! Updates: what serves at once, what waits, what is refused.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::author::{Author, manifest, package};

const UPDATE: &str = "/api/plugins/my-plugin/update";

async fn installed(author: &Author) -> TestApp {
    let app = TestApp::start().await;
    app.trust(author).await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    app.install(&archive, Some(&author.sign(&archive))).await.expect(201);
    app
}

#[tokio::test]
async fn the_same_signer_with_nothing_more_asked_serves_at_once() {
    let author = Author::new();
    let app = installed(&author).await;
    let newer = package(&manifest("my-plugin", "2.0.0"));
    let signature = author.sign(&newer);
    let updated = app.upload(UPDATE, &newer, Some(&signature)).await.expect(200);
    assert_eq!(
        (&updated["status"], &updated["version"], &updated["previous_version"]),
        (&json!("updated"), &json!("2.0.0"), &json!("1.0.0"))
    );
    assert_eq!(updated["permission_diff"], json!({"added": [], "removed": []}));
    assert_eq!(app.get("/api/plugins/my-plugin").await.expect(200)["version"], "2.0.0");

    let again = app.upload(UPDATE, &newer, Some(&signature)).await.expect(200);
    assert_eq!(again["status"], "unchanged");
    let versions = app.get("/api/plugins/my-plugin/versions").await.expect(200);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    assert_eq!(versions["floor"], "2.0.0");
}

#[tokio::test]
async fn the_same_version_with_other_bytes_and_lower_versions_are_refused() {
    let author = Author::new();
    let app = installed(&author).await;
    let other = package(&format!("{}tags: [changed]\n", manifest("my-plugin", "1.0.0")));
    app.upload(UPDATE, &other, Some(&author.sign(&other))).await.expect_problem(409, "version-conflict");
    let older = package(&manifest("my-plugin", "0.9.0"));
    let signature = author.sign(&older);
    app.upload(UPDATE, &older, Some(&signature)).await.expect_problem(409, "downgrade-refused");
    let allowed = app.upload(&format!("{UPDATE}?allow_downgrade=true"), &older, Some(&signature)).await.expect(200);
    assert_eq!((&allowed["status"], &allowed["version"]), (&json!("updated"), &json!("0.9.0")));
    // The floor stays where it was.
    assert_eq!(app.get("/api/plugins/my-plugin/versions").await.expect(200)["floor"], "1.0.0");
}

#[tokio::test]
async fn a_version_that_served_before_serves_again_only_when_a_downgrade_is_allowed() {
    let author = Author::new();
    let app = installed(&author).await;
    let (older, newer) = (package(&manifest("my-plugin", "1.0.0")), package(&manifest("my-plugin", "2.0.0")));
    app.upload(UPDATE, &newer, Some(&author.sign(&newer))).await.expect(200);
    let signature = author.sign(&older);
    app.upload(UPDATE, &older, Some(&signature)).await.expect_problem(409, "downgrade-refused");
    let back = app.upload(&format!("{UPDATE}?allow_downgrade=true"), &older, Some(&signature)).await.expect(200);
    assert_eq!((&back["status"], &back["previous_version"]), (&json!("updated"), &json!("2.0.0")));
    let versions = app.get("/api/plugins/my-plugin/versions").await.expect(200);
    assert_eq!((&versions["serving"], &versions["floor"]), (&json!("1.0.0"), &json!("2.0.0")));
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    app.upload(UPDATE, &newer, Some(&author.sign(&newer))).await.expect(200);
    let shown = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!((&shown["version"], &shown["versions"]), (&json!("2.0.0"), &json!(["1.0.0", "2.0.0"])));
}

#[tokio::test]
async fn an_update_by_another_trusted_key_waits() {
    let author = Author::new();
    let app = installed(&author).await;
    let other = Author::new();
    app.trust(&other).await;
    let newer = package(&manifest("my-plugin", "2.0.0"));
    let waiting = app.upload(UPDATE, &newer, Some(&other.sign(&newer))).await.expect(200);
    assert_eq!((&waiting["status"], &waiting["signer_changed"]), (&json!("pending_approval"), &json!(true)));
    let shown = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!((&shown["version"], &shown["pending"]["version"]), (&json!("1.0.0"), &json!("2.0.0")));
    assert_eq!(shown["pending"]["signer_changed"], true);
    // What only waits sets no floor.
    assert_eq!(app.get("/api/plugins/my-plugin/versions").await.expect(200)["floor"], "1.0.0");
}

#[tokio::test]
async fn a_version_that_asks_for_more_waits_and_is_replaced_by_a_later_one() {
    let author = Author::new();
    let app = installed(&author).await;
    let more = package(&format!("{}permissions: [chat_access]\n", manifest("my-plugin", "2.0.0")));
    let waiting = app.upload(UPDATE, &more, Some(&author.sign(&more))).await.expect(200);
    assert_eq!(waiting["status"], "pending_approval");
    assert_eq!(waiting["permission_diff"]["added"], json!(["chat_access"]));
    let less = package(&manifest("my-plugin", "2.1.0"));
    let updated = app.upload(UPDATE, &less, Some(&author.sign(&less))).await.expect(200);
    assert_eq!(updated["status"], "updated");
    let shown = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!((&shown["pending"], &shown["versions"]), (&json!(null), &json!(["1.0.0", "2.1.0"])));
    // The archive of the version that nobody waits for any more is gone.
    assert_eq!(std::fs::read_dir(app.data().join("packages")).unwrap().count(), 2);
}

#[tokio::test]
async fn an_unsigned_update_of_a_signed_name_is_refused_even_after_an_uninstall() {
    let author = Author::new();
    let app = installed(&author).await;
    let newer = package(&manifest("my-plugin", "2.0.0"));
    app.upload(UPDATE, &newer, None).await.expect_problem(422, "signature-missing");
    app.delete("/api/plugins/my-plugin").await.expect(204);
    app.install(&newer, None).await.expect_problem(422, "signature-missing");
}

#[tokio::test]
async fn an_archive_of_another_plugin_is_refused() {
    let author = Author::new();
    let app = installed(&author).await;
    let other = package(&manifest("other-plugin", "2.0.0"));
    app.upload(UPDATE, &other, Some(&author.sign(&other))).await.expect_problem(422, "field-invalid");
    app.upload("/api/plugins/nope/update", &other, None).await.expect_problem(404, "plugin-unknown");
    assert!(app.audit_actions().await.contains(&"plugin.update_refused".to_owned()));
}
