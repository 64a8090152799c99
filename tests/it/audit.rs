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
    let saved = ["plugbay.db", "audit.head"].map(|file| (file, std::fs::read(setup.data().join(file)).unwrap()));
    let app = setup.start().await;
    app.token(&["read"], None).await;
    let head = app.get("/api/audit/verify").await.expect(200)["head"].as_str().unwrap().to_owned();
    let setup = app.stop().await;
    for file in ["plugbay.db-wal", "plugbay.db-shm"] {
        std::fs::remove_file(setup.data().join(file)).ok();
    }
    let [database, head_file] = saved;
    std::fs::write(setup.data().join(database.0), database.1).unwrap();
    // The database alone is found out by what lies beside it.
    assert!(verdict(&setup, None).await.unwrap_err().contains("the file `audit.head` names row"));
    std::fs::write(setup.data().join(head_file.0), head_file.1).unwrap();
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

/// What somebody does who may write to the data directory and read the database once, but has no key.
async fn put_back_the_head(data: &std::path::Path, (seq, hash, seal): &(i64, String, String)) {
    database::run(data, &format!("DELETE FROM audit WHERE seq > {seq}")).await;
    database::run(data, &format!("UPDATE audit_head SET seq = {seq}, hash = '{hash}', seal = '{seal}'")).await;
}

#[tokio::test]
async fn the_end_of_the_log_cannot_be_cut_off_with_a_head_that_was_noted_down() {
    let (setup, _) = recorded().await;
    let head = database::head(&setup.data()).await;
    let app = setup.start().await;
    app.token(&["admin"], None).await;
    let setup = app.stop().await;
    put_back_the_head(&setup.data(), &head).await;
    let found = verdict(&setup, None).await.unwrap_err();
    assert!(found.starts_with("rows were cut off: the file `audit.head` names row"), "{found}");
    // With the file from before, too, the token is one that no row made.
    std::fs::write(setup.data().join("audit.head"), format!("{}:{}:{}", head.0, head.1, head.2)).unwrap();
    let found = verdict(&setup, None).await.unwrap_err();
    assert!(found.contains("of table `tokens` is not recorded by the log"), "{found}");
    // Nor does it help to remove it.
    std::fs::remove_file(setup.data().join("audit.head")).unwrap();
    assert!(verdict(&setup, None).await.is_err());
    let app = setup.start().await;
    let system = app.get("/api/system").await.expect(200);
    let check = system["doctor"].as_array().unwrap().iter().find(|check| check["check"] == "audit").unwrap();
    assert!(check["detail"].as_str().unwrap().contains("tokens"), "{check}");
}

#[tokio::test]
async fn rows_of_the_registry_that_the_log_does_not_report_are_found() {
    let forged = "INSERT INTO tokens (id, secret_sha256, label, scopes, created_at)
                  SELECT 'token_01', '00', 'forged', scopes, created_at FROM tokens LIMIT 1";
    for (change, told) in [
        (forged, "row `token_01` of table `tokens` is not recorded by the log"),
        ("UPDATE tokens SET scopes = '[\"read\"]'", "of table `tokens` is not what row 2 of the log recorded"),
        ("UPDATE tokens SET revoked_at = 1", "of table `tokens` is not what row 2 of the log recorded"),
        ("DELETE FROM tokens", "of table `tokens` is missing, and row 2 of the log recorded it"),
        ("UPDATE versions SET manifest = manifest || ' '", "of table `versions` is not what row 3"),
        (
            "UPDATE versions SET scan = json_set(scan, '$.verdict', 'malicious')",
            "of table `versions` is not what row 3 of the log recorded",
        ),
        ("UPDATE plugins SET status = 'enabled'", "of table `plugins` is not what row 3"),
        ("UPDATE floors SET version = '0.0.1'", "of table `floors` is not what row 3"),
        ("DELETE FROM plugins WHERE name = 'two'", "is missing, and row 4 of the log recorded it"),
        (
            "INSERT INTO grants (plugin_id, digest, permission, scope, decision, decided_by, label, decided_at)
             SELECT plugin_id, digest, 'admin_access', '[]', 'granted', 'x', 'x', 1 FROM versions LIMIT 1",
            "row `1` of table `grants` is not recorded by the log",
        ),
        ("INSERT INTO keys (key_id, public_key, label, names, added_at) VALUES ('x', 'x', 'x', '[]', 1)", "`keys`"),
        (
            "INSERT INTO snapshots (plugin_id, generation, version, taken_at) SELECT id, 0, '0.1.0', 1 FROM plugins LIMIT 1",
            "of table `snapshots` is not recorded by the log",
        ),
        ("INSERT INTO configs (plugin_id, revision, fields) SELECT id, 1, '{}' FROM plugins LIMIT 1", "`configs`"),
    ] {
        let (setup, _) = recorded().await;
        database::run(&setup.data(), change).await;
        let found = verdict(&setup, None).await.unwrap_err();
        assert!(found.contains(told), "{change}: {found}");
    }
    // When something was last used is no decision.
    let (setup, head) = recorded().await;
    database::run(&setup.data(), "UPDATE tokens SET last_used_at = 1").await;
    assert_eq!(verdict(&setup, None).await, Ok(head));
}
