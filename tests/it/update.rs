//! Updates: what serves at once, what waits, what is refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

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
    let refused = app.upload(UPDATE, &other, Some(&author.sign(&other))).await.expect_problem(409, "version-conflict");
    let how = refused["how"].as_str().unwrap();
    assert!(how.contains("`version` in plugin.yaml") && how.contains("--insecure-dev"), "{how}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_plugin_is_told_before_any_byte_of_the_archive_is_sent() {
    let app = TestApp::start().await;
    let head = format!(
        "POST /api/plugins/nope/update HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/gzip\r\nContent-Length: 1000000\r\n\r\n",
        app.token
    );
    let mut stream = TcpStream::connect(app.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut said = [0; 4096];
    let count = stream.read(&mut said).unwrap_or(0);
    let said = String::from_utf8_lossy(&said[..count]);
    assert!(said.starts_with("HTTP/1.1 404 "), "`{said}`");
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

/// An archive of 1.0.0 with a plugin.yaml of its own.
fn edited(more: &str) -> Vec<u8> {
    package(&format!("{}{more}", manifest("my-plugin", "1.0.0")))
}

async fn digest_of(app: &TestApp) -> serde_json::Value {
    app.get("/api/plugins/my-plugin").await.expect(200)["digest"].take()
}

#[tokio::test]
async fn for_development_the_same_version_is_replaced_and_can_be_gone_back_from() {
    let app = TestApp::setup().unsigned().start().await;
    let first = package(&manifest("my-plugin", "1.0.0"));
    app.install(&first, None).await.expect(201);
    let mut digests = vec![digest_of(&app).await];
    for tag in ["one", "two", "three"] {
        let updated = app.upload(UPDATE, &edited(&format!("tags: [{tag}]\n")), None).await.expect(200);
        assert_eq!((&updated["status"], &updated["version"]), (&json!("updated"), &json!("1.0.0")), "{updated}");
        let previous = updated["previous_version"].as_str().unwrap().to_owned();
        assert!(previous.starts_with("1.0.0+replaced."), "{previous}");
        let shown = app.get("/api/plugins/my-plugin").await.expect(200);
        assert_eq!((&shown["version"], &shown["tags"]), (&json!("1.0.0"), &json!([tag])));
        assert!(!digests.contains(&shown["digest"]));
        digests.push(shown["digest"].clone());
    }
    let versions = app.get("/api/plugins/my-plugin/versions").await.expect(200);
    assert_eq!((&versions["serving"], &versions["floor"]), (&json!("1.0.0"), &json!("1.0.0")));
    // As many as `update.keep_versions` says, with their files and no others.
    let kept = versions["versions"].as_array().unwrap().len();
    assert_eq!(std::fs::read_dir(app.data().join("packages")).unwrap().count(), kept);
    // Sent again it is there already, and bytes of before replace as others do.
    let last = edited("tags: [three]\n");
    assert_eq!(app.upload(UPDATE, &last, None).await.expect(200)["status"], "unchanged");
    for archive in [&edited("tags: [two]\n"), &last, &edited("tags: [two]\n")] {
        app.clock().advance(Duration::from_secs(1));
        assert_eq!(app.upload(UPDATE, archive, None).await.expect(200)["status"], "updated");
    }
    assert_eq!(digest_of(&app).await, digests[2]);
    let back = app.post("/api/plugins/my-plugin/rollback", &json!({})).await.expect(200);
    assert!(back["version"].as_str().unwrap().starts_with("1.0.0+replaced."), "{back}");
    assert_eq!(digest_of(&app).await, digests[3]);
    // Going back sets no floor that the next edit would be below.
    assert_eq!(app.upload(UPDATE, &edited("tags: [four]\n"), None).await.expect(200)["status"], "updated");
    app.upload(UPDATE, &package(&manifest("my-plugin", "1.0.1")), None).await.expect(200);
    app.restart().await.get("/api/audit/verify").await.expect(200);
}

#[tokio::test]
async fn a_replacement_that_asks_for_more_waits_and_is_replaced_in_turn() {
    let app = TestApp::setup().unsigned().start().await;
    app.install(&package(&manifest("my-plugin", "1.0.0")), None).await.expect(201);
    let before = digest_of(&app).await;
    for _ in 0..2 {
        for tag in ["one", "two"] {
            let more = edited(&format!("tags: [{tag}]\npermissions: [chat_access]\n"));
            let waiting = app.upload(UPDATE, &more, None).await.expect(200);
            assert_eq!(waiting["status"], "pending_approval", "{waiting}");
            assert_eq!(waiting["permission_diff"]["added"], json!(["chat_access"]));
            assert_eq!(app.upload(UPDATE, &more, None).await.expect(200)["status"], "unchanged");
        }
    }
    let shown = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!((&shown["digest"], &shown["pending"]["version"]), (&before, &json!("1.0.0")), "{shown}");
    assert_eq!(std::fs::read_dir(app.data().join("packages")).unwrap().count(), 2);
    app.post("/api/plugins/my-plugin/permissions/approve", &json!({"grant": ["chat_access"]})).await.expect(200);
    let shown = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!(
        (&shown["version"], &shown["pending"], &shown["tags"]),
        (&json!("1.0.0"), &json!(null), &json!(["two"]))
    );
    // What was granted goes over to bytes that ask for no more.
    let other = edited("tags: [three]\npermissions: [chat_access]\n");
    assert_eq!(app.upload(UPDATE, &other, None).await.expect(200)["status"], "updated");
    let shown = app.get("/api/plugins/my-plugin").await.expect(200);
    assert_eq!(shown["permissions"]["granted"], json!(["chat_access"]));
    let newest = app.get("/api/audit?limit=1").await.expect(200)["entries"][0].take();
    assert_eq!(newest["action"], "plugin.updated");
    assert!(newest["detail"]["replaced"].as_str().is_some_and(|digest| digest.len() > 60), "{newest}");
}

#[tokio::test]
async fn other_bytes_of_another_signer_or_of_an_older_version_replace_nothing_that_serves() {
    let author = Author::new();
    let app = TestApp::setup().with(|config| config.insecure_dev = true).start().await;
    app.trust(&author).await;
    let first = package(&manifest("my-plugin", "1.0.0"));
    app.install(&first, Some(&author.sign(&first))).await.expect(201);
    let before = digest_of(&app).await;
    let other = edited("tags: [other]\n");
    app.upload(UPDATE, &other, None).await.expect_problem(422, "signature-missing");
    let stranger = Author::new();
    app.trust(&stranger).await;
    let waiting = app.upload(UPDATE, &other, Some(&stranger.sign(&other))).await.expect(200);
    assert_eq!((&waiting["status"], &waiting["signer_changed"]), (&json!("pending_approval"), &json!(true)));
    assert_eq!(digest_of(&app).await, before);
    let newer = package(&manifest("my-plugin", "2.0.0"));
    app.upload(UPDATE, &newer, Some(&author.sign(&newer))).await.expect(200);
    app.upload(UPDATE, &other, Some(&author.sign(&other))).await.expect_problem(409, "downgrade-refused");
    let allowed = format!("{UPDATE}?allow_downgrade=true");
    let back = app.upload(&allowed, &other, Some(&author.sign(&other))).await.expect(200);
    assert_eq!((&back["status"], &back["previous_version"]), (&json!("updated"), &json!("2.0.0")));
}
