//! Backups while others change the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::backup::service;
use crate::support::author::{manifest, package};
use crate::support::database;

/// What makes the copy of the database take a while: answers that are kept for a long time.
const BALLAST: &str = "WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < 1000) \
                       INSERT INTO idempotency (token_id, route, key, fingerprint, status, body, created_at) \
                       SELECT 'ballast', '/', n, '', 200, hex(randomblob(100000)), 9000000000000000 FROM number";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_do_not_wait_until_the_database_is_copied() {
    let setup = service().await.stop().await;
    database::run(&setup.data(), BALLAST).await;
    let app = setup.start().await;
    let begun = AtomicBool::new(false);
    let taking = async {
        let started = Instant::now();
        let response = app.request(Method::POST, "/api/system/backup").send().await.unwrap();
        assert_eq!(response.status(), 200);
        begun.store(true, Ordering::SeqCst);
        let prepared = started.elapsed();
        (prepared, response.bytes().await.unwrap().len())
    };
    let writing = async {
        // The copy is under way by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut written = 0;
        while !begun.load(Ordering::SeqCst) {
            app.post("/api/tokens", &json!({"label": "x", "scopes": ["read"]})).await.expect(201);
            written += 1;
        }
        written
    };
    let ((prepared, bytes), written) = tokio::join!(taking, writing);
    assert!(bytes > 200_000_000, "{bytes}");
    // Where writers wait it is one.
    assert!(written >= 4, "{written} writes in {prepared:?}");
    // A plugin that comes and one that goes while it is copied are no obstacle either.
    let changing = async {
        for number in 0..6 {
            let name = format!("plugin-{number}");
            app.install(&package(&manifest(&name, "1.0.0")), None).await.expect(201);
            app.delete(&format!("/api/plugins/{name}")).await;
        }
    };
    let again = async {
        let response = app.request(Method::POST, "/api/system/backup").send().await.unwrap();
        assert_eq!(response.status(), 200);
        // To its end: a backup that is let go may not have tidied up yet.
        assert!(response.bytes().await.unwrap().len() > 200_000_000);
    };
    tokio::join!(again, changing);
}
