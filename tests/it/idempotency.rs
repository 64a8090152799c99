//! Idempotency-Key: carried out once, answered alike.

use reqwest::Method;

use crate::support::app::{Answer, TestApp, form, send};
use crate::support::author::{manifest, package};

async fn install(app: &TestApp, archive: &[u8], key: &str) -> Answer {
    let request = app.request(Method::POST, "/api/plugins/install").header("Idempotency-Key", key);
    send(request.multipart(form(archive, None))).await
}

#[tokio::test]
async fn a_repeated_install_gets_the_first_answer_again() {
    let app = TestApp::setup().unsigned().start().await;
    let archive = package(&manifest("my-plugin", "1.0.0"));
    let first = install(&app, &archive, "one").await.expect(201);
    assert_eq!(install(&app, &archive, "one").await.expect(201), first);
    install(&app, &archive, "two").await.expect_problem(409, "plugin-exists");
    let app = app.restart().await;
    assert_eq!(install(&app, &archive, "one").await.expect(201), first);
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_token() {
    let app = TestApp::setup().unsigned().start().await;
    install(&app, &package(&manifest("one", "1.0.0")), "key").await.expect(201);
    let other = package(&manifest("two", "1.0.0"));
    install(&app, &other, "key").await.expect_problem(422, "idempotency-mismatch");
    let token = app.token(&["install"], None).await;
    let request = app.bare(Method::POST, "/api/plugins/install").bearer_auth(token).header("Idempotency-Key", "key");
    send(request.multipart(form(&other, None))).await.expect(201);
    install(&app, &other, "").await.expect_problem(400, "bad-request");
    install(&app, &other, &"k".repeat(256)).await.expect_problem(400, "bad-request");
}

#[tokio::test]
async fn a_refused_install_may_be_tried_again_under_its_key() {
    let app = TestApp::setup().unsigned().start().await;
    install(&app, &package("name: x\n"), "key").await.expect_problem(422, "manifest-invalid");
    install(&app, &package(&manifest("my-plugin", "1.0.0")), "key").await.expect(201);
}
