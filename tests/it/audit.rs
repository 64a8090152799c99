//! The audit chain: what it tells, and what it finds.

use plugbay::startup::verify_audit;

use crate::support::app::{Setup, TestApp};
use crate::support::author::{manifest, package};
use crate::support::database;

/// A stopped service whose log has five rows, and the head of the log.
async fn recorded() -> (Setup, String) {
    let app = TestApp::setup().unsigned().start().await;
    for name in ["one", "two", "three"] {
        app.install(&package(&manifest(name, "1.0.0")), None).await.expect(201);
    }
    let verified = app.get("/api/audit/verify").await.expect(200);
    assert_eq!((&verified["ok"], &verified["entries"]), (&true.into(), &5.into()));
    let head = verified["head"].as_str().unwrap().to_owned();
    (app.stop().await, head)
}

/// What the offline check says of it.
async fn verdict(setup: &Setup, expect: Option<&str>) -> Result<String, String> {
    verify_audit(&setup.data(), expect)
        .await
        .map(|verified| verified.head.to_string())
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_whole_chain_verifies_offline_and_names_its_head() {
    let (setup, head) = recorded().await;
    assert_eq!(verdict(&setup, None).await, Ok(head.clone()));
    assert_eq!(verdict(&setup, Some(&head)).await, Ok(head));
    assert!(verdict(&setup, Some("nonsense")).await.unwrap_err().contains("SEQ:HASH"));
}

#[tokio::test]
async fn an_edited_row_is_found() {
    for column in
        ["actor = 'token_x'", "detail = '{}'", "at = at + 1", "plugin = NULL", "request_id = 'x'", "action = 'x'"]
    {
        let (setup, _) = recorded().await;
        database::run(&setup.data(), &format!("UPDATE audit SET {column} WHERE seq = 4")).await;
        assert_eq!(verdict(&setup, None).await.unwrap_err(), "row 4 does not match its hash", "{column}");
    }
}

#[tokio::test]
async fn a_removed_row_is_found() {
    let (setup, _) = recorded().await;
    database::run(&setup.data(), "DELETE FROM audit WHERE seq = 3").await;
    assert_eq!(verdict(&setup, None).await.unwrap_err(), "row 3 is missing");
    database::run(&setup.data(), "UPDATE audit SET seq = seq - 1 WHERE seq > 3").await;
    assert_eq!(verdict(&setup, None).await.unwrap_err(), "row 3 does not match its hash");
}

#[tokio::test]
async fn reordered_rows_are_found() {
    let (setup, _) = recorded().await;
    for statement in [
        "UPDATE audit SET seq = 100 WHERE seq = 3",
        "UPDATE audit SET seq = 3 WHERE seq = 4",
        "UPDATE audit SET seq = 4 WHERE seq = 100",
    ] {
        database::run(&setup.data(), statement).await;
    }
    assert_eq!(verdict(&setup, None).await.unwrap_err(), "row 3 does not match its hash");
}

#[tokio::test]
async fn rows_cut_off_at_the_end_are_found() {
    let (setup, head) = recorded().await;
    database::run(&setup.data(), "DELETE FROM audit WHERE seq = 5").await;
    assert_eq!(verdict(&setup, None).await.unwrap_err(), "the chain ends with row 4, its head names row 5");
    // Moving the head along does not help: its seal cannot be made without the key.
    database::run(&setup.data(), "UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit WHERE seq = 4)").await;
    let found = verdict(&setup, None).await.unwrap_err();
    assert_eq!(found, "rows after row 4 were cut off, or the head was rewritten");
    assert!(verdict(&setup, Some(&head)).await.is_err());
    database::run(&setup.data(), "DELETE FROM audit_head").await;
    assert_eq!(verdict(&setup, None).await.unwrap_err(), "the head of the chain is missing");
}

#[tokio::test]
async fn an_older_state_put_back_is_found_by_the_expected_head() {
    let app = TestApp::start().await;
    let setup = app.stop().await;
    let saved = std::fs::read(setup.data().join("plugbay.db")).unwrap();
    let app = setup.start().await;
    app.token(&["read"], None).await;
    let head = app.get("/api/audit/verify").await.expect(200)["head"].as_str().unwrap().to_owned();
    let setup = app.stop().await;
    for file in ["plugbay.db-wal", "plugbay.db-shm"] {
        std::fs::remove_file(setup.data().join(file)).ok();
    }
    std::fs::write(setup.data().join("plugbay.db"), saved).unwrap();
    assert!(verdict(&setup, None).await.is_ok());
    assert!(verdict(&setup, Some(&head)).await.unwrap_err().contains("does not contain the expected row"));
}

#[tokio::test]
async fn a_broken_chain_is_a_problem_over_http_too() {
    let (setup, _) = recorded().await;
    database::run(&setup.data(), "UPDATE audit SET actor = 'x' WHERE seq = 2").await;
    let app = setup.start().await;
    let problem = app.get("/api/audit/verify").await.expect_problem(409, "audit-broken");
    assert_eq!(problem["detail"], "row 2 does not match its hash");
}

#[tokio::test]
async fn rows_are_filtered_and_paged() {
    let (setup, _) = recorded().await;
    let app = setup.start().await;
    let count = |path: &'static str| {
        let app = &app;
        async move { app.get(path).await.expect(200)["entries"].as_array().unwrap().len() }
    };
    assert_eq!(count("/api/audit?plugin=two").await, 1);
    assert_eq!(count("/api/audit?actor=service").await, 2);
    assert_eq!(count("/api/audit?since=2026-11-20T12:00:00Z").await, 5);
    assert_eq!(count("/api/audit?since=2026-11-20T12:00:01Z").await, 0);
    let page = app.get("/api/audit?limit=4").await.expect(200);
    assert_eq!(page["entries"][0]["seq"], 5);
    let next = format!("/api/audit?limit=4&cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = app.get(&next).await.expect(200);
    assert_eq!((&rest["entries"][0]["seq"], &rest["next_cursor"]), (&1.into(), &serde_json::Value::Null));
    for bad in
        ["limit=0", "limit=1000000000", "limit=-1", "cursor=garbage!", "cursor=eA", "since=x", "plugin=..", "x=1"]
    {
        assert_eq!(app.get(&format!("/api/audit?{bad}")).await.status.as_u16(), 400, "{bad}");
    }
}
