//! Install by upload: what is recorded, and what is refused.

use serde_json::json;

use crate::support::app::{TestApp, form, send};
use crate::support::author::{Author, manifest, package};

const FULL: &str = "name: my-plugin
version: 1.0.0
description: Example plugin
author: Your Name
license: MIT
main: main.py
permissions: [network_access, chat_access]
optional_permissions: [filesystem_read]
network: { allow: [api.example.com] }
access: { filesystem_read: [docs] }
";

#[tokio::test]
async fn a_signed_plugin_is_installed_as_documented() {
    let app = TestApp::start().await;
    let author = Author::new();
    app.trust(&author).await;
    let archive = package(FULL);
    let installed = app.install(&archive, Some(&author.sign(&archive))).await.expect(201);
    assert!(installed["plugin_id"].as_str().unwrap().starts_with("plugin_"));
    assert!(installed["digest"].as_str().unwrap().starts_with("sha256:"));
    let mut shown = installed.clone();
    shown["plugin_id"] = "…".into();
    shown["digest"] = "…".into();
    assert_eq!(
        shown,
        json!({"plugin_id": "…", "name": "my-plugin", "version": "1.0.0", "status": "installed", "digest": "…",
            "permissions": {"required": ["network_access", "chat_access"],
                "optional": [{"permission": "filesystem_read", "scope": ["docs"]}],
                "granted": [], "denied": [], "pending": ["network_access", "chat_access"]},
            "network": ["api.example.com:443"], "risks": ["data-egress"],
            "signature": {"status": "valid", "key_id": author.key_id(), "label": "acme"}, "warnings": []})
    );
    let digest = installed["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    assert_eq!(std::fs::read(app.data().join("archives").join(&digest)).unwrap(), archive);
    assert!(app.data().join("archives").join(format!("{digest}.minisig")).exists());
    assert!(app.data().join("packages").join(&digest).join("main.py").exists());
    assert_eq!(app.audit_actions().await.last().unwrap(), "plugin.installed");
}

#[tokio::test]
async fn each_way_a_signature_fails_has_its_code_and_leaves_nothing() {
    let app = TestApp::start().await;
    let (acme, stranger) = (Author::new(), Author::new());
    let archive = package(&manifest("my-plugin", "1.0.0"));
    app.install(&archive, None).await.expect_problem(422, "signature-missing");

    let untrusted = app.install(&archive, Some(&stranger.sign(&archive))).await;
    let how = untrusted.expect_problem(422, "signature-untrusted")["how"].as_str().unwrap().to_owned();
    assert!(how.contains(&stranger.key_id()) && how.contains("plugbay key add"), "{how}");

    app.trust_for(&acme, &["other-*"]).await.expect(201);
    let scope = app.install(&archive, Some(&acme.sign(&archive))).await;
    scope.expect_problem(422, "signature-scope");

    let mut flipped = archive.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    app.install(&flipped, Some(&acme.sign(&archive))).await.expect_problem(422, "signature-invalid");

    app.delete(&format!("/api/keys/{}?reason=lost", acme.key_id())).await.expect(200);
    app.install(&archive, Some(&acme.sign(&archive))).await.expect_problem(422, "key-revoked");

    app.get("/api/plugins").await.expect(200)["total"].as_u64().filter(|total| *total == 0).unwrap();
    let refused = app.audit_actions().await.into_iter().filter(|action| action == "plugin.refused").count();
    assert_eq!(refused, 5);
    for folder in ["archives", "packages", "staging"] {
        assert_eq!(std::fs::read_dir(app.data().join(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[tokio::test]
async fn keys_sign_only_in_their_period() {
    let app = TestApp::start().await;
    let author = Author::new();
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let signature = author.sign(&archive);
    let key = json!({"public_key": author.public_key(), "label": "acme", "names": ["*"],
        "not_before": "2026-11-20T13:00:00Z", "not_after": "2026-11-20T14:00:00Z"});
    app.post("/api/keys", &key).await.expect(201);
    app.install(&archive, Some(&signature)).await.expect_problem(422, "key-expired");
    app.clock().advance(std::time::Duration::from_mins(90));
    app.install(&archive, Some(&signature)).await.expect(201);
    app.clock().advance(std::time::Duration::from_hours(1));
    let newer = package(&manifest("other-plugin", "1.0.0"));
    app.install(&newer, Some(&author.sign(&newer))).await.expect_problem(422, "key-expired");
}

#[tokio::test]
async fn without_signatures_plugins_are_marked() {
    let app = TestApp::setup().unsigned().start().await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let installed = app.install(&archive, None).await.expect(201);
    assert_eq!(installed["signature"], json!({"status": "unsigned", "key_id": null, "label": null}));
    let stranger = Author::new();
    let archive = package(&manifest("other-plugin", "1.0.0"));
    let installed = app.install(&archive, Some(&stranger.sign(&archive))).await.expect(201);
    assert_eq!(installed["signature"]["status"], "untrusted");
    assert_eq!(installed["signature"]["key_id"], stranger.key_id());
    let system = app.get("/api/system").await.expect(200);
    assert_eq!((&system["signatures"], &system["insecure_dev"]), (&json!("off"), &json!(true)));
}

#[tokio::test]
async fn a_name_is_installed_once() {
    let app = TestApp::setup().unsigned().start().await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    app.install(&archive, None).await.expect(201);
    let problem = app.install(&archive, None).await.expect_problem(409, "plugin-exists");
    assert!(problem["how"].as_str().unwrap().contains("update"), "{problem}");
    // `_` reads as `-`.
    app.install(&package(&manifest("my_plugin", "2.0.0")), None).await.expect_problem(409, "plugin-exists");
}

#[tokio::test]
async fn the_same_archive_sent_twice_at_once_is_installed_once() {
    let app = TestApp::setup().unsigned().start().await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let (one, two) = tokio::join!(app.install(&archive, None), app.install(&archive, None));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{one:?} {two:?}");
    assert_eq!(app.get("/api/plugins").await.expect(200)["total"], 1);
}

#[tokio::test]
async fn what_the_operator_does_not_allow_is_refused_with_every_value() {
    let app = TestApp::setup().unsigned().start().await;
    let text = format!("{}resources: {{ memory_mb: 9999, pids: 9999 }}\n", manifest("my-plugin", "1.0.0"));
    let problem = app.install(&package(&text), None).await.expect_problem(422, "limits-exceed-ceiling");
    let pointers: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/resources/memory_mb", "/resources/pids"]);

    let text = format!("{}plugbay: \">=99\"\n", manifest("my-plugin", "1.0.0"));
    app.install(&package(&text), None).await.expect_problem(422, "runtime-mismatch");
    let text = manifest(&format!("plugin-{}", "0".repeat(32)), "1.0.0");
    app.install(&package(&text), None).await.expect_problem(422, "name-reserved");
}

#[tokio::test]
async fn a_manifest_shows_all_its_mistakes_with_their_places() {
    let app = TestApp::setup().unsigned().start().await;
    let problem = app
        .install(&package("name: my-plugin\nverison: 1.0.0\nmain: /bin/sh\n"), None)
        .await
        .expect_problem(422, "manifest-invalid");
    let errors = problem["errors"].to_string();
    assert!(errors.contains("did you mean `version`?") && errors.contains("/main"), "{errors}");
    assert_eq!(problem["errors"][1]["line"], 2, "{errors}");
}

#[tokio::test]
async fn an_unexpected_sha256_is_refused() {
    let app = TestApp::setup().unsigned().start().await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let upload = |sha256: String| {
        let form = form(&archive, None).text("sha256", sha256);
        send(app.request(reqwest::Method::POST, "/api/plugins/install").multipart(form))
    };
    upload("0".repeat(64)).await.expect_problem(422, "digest-mismatch");
    upload("nonsense".to_owned()).await.expect_problem(422, "field-invalid");
    let digest = app.install(&archive, None).await.expect(201)["digest"].as_str().unwrap().to_owned();
    app.delete("/api/plugins/my-plugin").await.expect(204);
    upload(digest).await.expect(201);
}

#[tokio::test]
async fn uploads_beyond_the_places_are_told_to_wait() {
    let app = TestApp::setup().unsigned().with(|config| config.server.max_uploads = 1).start().await;
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(futures_util::stream::unfold(rx, |mut rx| async move {
        rx.recv().await.map(|item| (item, rx))
    }));
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nxx";
    tx.send(Ok(head.into())).await.unwrap();
    let slow = app
        .request(reqwest::Method::POST, "/api/plugins/install")
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(body);
    let slow = send(slow);
    tokio::pin!(slow);
    // The slow upload has its place once its folder is there.
    while std::fs::read_dir(app.data().join("staging")).unwrap().count() == 0 {
        tokio::select! {
            early = &mut slow => panic!("{early:?}"),
            () = tokio::time::sleep(std::time::Duration::from_millis(2)) => {}
        }
    }
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let busy = tokio::select! {
        early = &mut slow => panic!("{early:?}"),
        answer = app.install(&archive, None) => answer,
    };
    busy.expect_problem(503, "unavailable");
    assert_eq!(busy.headers["retry-after"], "1");
    drop(tx);
    slow.await.expect_problem(400, "bad-request");
    app.install(&archive, None).await.expect(201);
}
