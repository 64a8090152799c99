//! What is stored is verified again at every start.

use std::fs;

use plugbay::domain::SignaturePolicy;

use crate::support::app::{Setup, TestApp};
use crate::support::author::{Author, manifest, package};
use crate::support::database;

async fn installed() -> (TestApp, Author) {
    let app = TestApp::start().await;
    let author = Author::new();
    app.trust(&author).await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    app.install(&archive, Some(&author.sign(&archive))).await.expect(201);
    (app, author)
}

async fn reason(app: &TestApp) -> serde_json::Value {
    app.get("/api/plugins/my-plugin").await.expect(200)["quarantine"]["reason"].take()
}

/// The only entry of a folder of the data directory whose name has no ending.
fn only(setup: &Setup, folder: &str) -> std::path::PathBuf {
    let mut found = fs::read_dir(setup.data().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.extension().is_none()).unwrap()
}

#[tokio::test]
async fn what_was_not_touched_stays_as_it_was() {
    let (app, _) = installed().await;
    let app = app.restart().await;
    assert_eq!(reason(&app).await, serde_json::Value::Null);
}

#[tokio::test]
async fn a_changed_file_of_a_package_quarantines_and_its_repair_releases() {
    let (app, _) = installed().await;
    let setup = app.stop().await;
    let file = only(&setup, "packages").join("main.py");
    let honest = fs::read(&file).unwrap();
    fs::write(&file, b"import os\n").unwrap();
    let app = setup.start().await;
    assert_eq!(reason(&app).await, "package-tampered");
    let setup = app.stop().await;
    fs::write(&file, honest).unwrap();
    let app = setup.start().await;
    assert_eq!(reason(&app).await, serde_json::Value::Null);
    assert!(app.audit_actions().await.ends_with(&["plugin.quarantined".to_owned(), "plugin.released".to_owned()]));
}

#[tokio::test]
async fn a_new_version_takes_the_place_of_a_tampered_one() {
    let (app, author) = installed().await;
    let setup = app.stop().await;
    fs::write(only(&setup, "packages").join("main.py"), b"import os\n").unwrap();
    let app = setup.start().await;
    assert_eq!(reason(&app).await, "package-tampered");
    let newer = package(&manifest("my-plugin", "2.0.0"));
    app.upload("/api/plugins/my-plugin/update", &newer, Some(&author.sign(&newer))).await.expect(200);
    assert_eq!(reason(&app).await, serde_json::Value::Null);
    assert_eq!(reason(&app.restart().await).await, serde_json::Value::Null);
}

#[tokio::test]
async fn an_added_file_and_a_changed_archive_quarantine() {
    let (app, _) = installed().await;
    let setup = app.stop().await;
    let added = only(&setup, "packages").join("added.py");
    fs::write(&added, b"").unwrap();
    let app = setup.start().await;
    assert_eq!(reason(&app).await, "package-tampered");

    let setup = app.stop().await;
    fs::remove_file(&added).unwrap();
    let archive = only(&setup, "archives");
    let mut bytes = fs::read(&archive).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&archive, bytes).unwrap();
    let app = setup.start().await;
    assert_eq!(reason(&app).await, "package-tampered");
}

#[tokio::test]
async fn what_came_in_without_a_signature_does_not_verify_when_they_are_required() {
    let app = TestApp::setup().unsigned().start().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect(201);
    let required = |config: &mut plugbay::config::Config| config.security.signatures = SignaturePolicy::Required;
    let app = app.stop().await.with(required).start().await;
    assert_eq!(reason(&app).await, "signature-unverified");
    let app = app.stop().await.unsigned().start().await;
    assert_eq!(reason(&app).await, serde_json::Value::Null);
}

#[tokio::test]
async fn the_database_is_not_believed_about_signatures() {
    let app = TestApp::setup().unsigned().start().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect(201);
    let (_, author) = installed().await;
    let setup = app.stop().await.with(|config| config.security.signatures = SignaturePolicy::Required);
    database::run(
        &setup.data(),
        &format!("UPDATE versions SET signature_status = 'valid', key_id = '{}'", author.key_id()),
    )
    .await;
    let app = setup.start().await;
    assert_eq!(reason(&app).await, "signature-unverified");
}

#[tokio::test]
async fn a_key_that_ended_later_does_not_take_down_what_it_signed_before() {
    let app = TestApp::start().await;
    let author = Author::new();
    let key = serde_json::json!({"public_key": author.public_key(), "label": "acme", "names": ["*"],
        "not_after": "2026-11-20T13:00:00Z"});
    app.post("/api/keys", &key).await.expect(201);
    let archive = package(&manifest("my-plugin", "1.0.0"));
    app.install(&archive, Some(&author.sign(&archive))).await.expect(201);
    app.clock().advance(std::time::Duration::from_hours(2));
    let app = app.restart().await;
    assert_eq!(reason(&app).await, serde_json::Value::Null);
}

#[tokio::test]
async fn what_changes_while_it_is_verified_is_not_undone() {
    let (app, author) = installed().await;
    // Packages large enough that verifying them takes a while.
    let noise: Vec<u8> = (0..2_000_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for name in ["large-a", "large-b"] {
        let text = manifest(name, "1.0.0");
        let files = [("plugin.yaml", text.as_bytes()), ("main.py", noise.as_slice())];
        let archive = crate::support::author::pack(&files);
        app.install(&archive, Some(&author.sign(&archive))).await.expect(201);
    }
    let setup = app.stop().await;
    let digest = only(&setup, "packages");
    fs::write(digest.join("main.py"), b"changed").unwrap();
    let app = setup.start_unready().await;
    app.delete("/api/plugins/large-b").await.expect(204);
    let newer = package(&manifest("my-plugin", "2.0.0"));
    let update = app.upload("/api/plugins/my-plugin/update", &newer, Some(&author.sign(&newer))).await.expect(200);
    assert_eq!(update["status"], "updated");
    app.until_ready().await;
    assert_eq!(app.get("/api/plugins/my-plugin").await.expect(200)["version"], "2.0.0");
}
