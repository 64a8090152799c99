//! The operator's own programs use the file at the same time.

use std::time::{Duration, Instant};

use plugbay::domain::PluginId;
use rusqlite::Connection;
use serde_json::json;

use super::{Work, bench, bench_with, statement};

#[tokio::test]
async fn a_locked_database_is_waited_for_and_then_refused() {
    let bench = bench_with(|limits| limits.time = Duration::from_secs(1));
    let theirs = Connection::open(bench.path()).unwrap();
    theirs.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for result in [
        bench.query("SELECT count(*) FROM messages").await,
        bench.execute("DELETE FROM messages").await,
        bench.transaction(&[("DELETE FROM messages", json!([]))]).await,
    ] {
        let locked = result.unwrap_err();
        assert_eq!(locked.code().as_str(), "database-locked", "{locked}");
    }
    let released = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        theirs.execute_batch("COMMIT").unwrap();
    };
    let (count, ()) = tokio::join!(bench.value("SELECT count(*) FROM messages"), released);
    assert_eq!(count, 3, "it waits");
    bench.end().await;
}

#[tokio::test]
async fn a_database_with_a_log_is_read_and_written_beside_its_owner() {
    let bench = bench();
    let theirs = Connection::open(bench.path()).unwrap();
    theirs.execute_batch("PRAGMA journal_mode = WAL; INSERT INTO messages (text) VALUES ('four')").unwrap();
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 4, "what is in the log only");
    bench.execute("INSERT INTO messages (text) VALUES ('five')").await.unwrap();
    let count = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM messages", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(count(&theirs), 5);
    drop(theirs);
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 5);
    assert_eq!(count(&Connection::open(bench.path()).unwrap()), 5);
    bench.end().await;
}

#[tokio::test]
async fn a_change_that_is_cut_off_is_undone() {
    let bench = bench_with(|limits| limits.time = Duration::from_millis(700));
    let endless = "INSERT INTO messages (text) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT 'x' FROM n";
    let began = Instant::now();
    for work in [
        Work::Execute(statement(endless, &json!([]))),
        Work::Transaction(vec![statement("DELETE FROM messages", &json!([])), statement(endless, &json!([]))]),
    ] {
        let late = bench.run("chat", work, Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(late.code().as_str(), "database-timeout", "{late}");
    }
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(bench.value("SELECT group_concat(text) FROM messages").await, "one,two,three");
    bench.end().await;
}

/// In a rollback journal's mode a reader keeps the owner from writing.
#[tokio::test]
async fn plugins_that_read_in_turns_leave_the_owner_gaps() {
    let bench = bench_with(|limits| limits.time = Duration::from_secs(3));
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, messages";
    // One begins while the others are in the middle, so that there is no moment without a reader.
    let reader = |number: u64| {
        let (databases, plugin) = (bench.databases.clone(), PluginId::generate());
        async move {
            tokio::time::sleep(Duration::from_millis(750 * number)).await;
            loop {
                let work = Work::Query(statement(endless, &json!([])));
                let patience = tokio::time::Instant::now() + Duration::from_secs(20);
                databases.run(plugin, "chat", work, patience).await.unwrap_err();
            }
        }
    };
    let path = bench.path();
    let writing = tokio::task::spawn_blocking(move || {
        let owner = Connection::open(path).unwrap();
        // Shorter than what is left of some statement at any time, if plugins read without turns.
        owner.busy_timeout(Duration::from_secs(1)).unwrap();
        let began = Instant::now();
        let mut written = 0;
        while began.elapsed() < Duration::from_secs(15) {
            let is_written = owner.execute("INSERT INTO messages (text) VALUES ('mine')", []).is_ok();
            // Until then not every plugin has begun.
            written += u32::from(is_written && began.elapsed() > Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(50));
        }
        written
    });
    let written = tokio::select! {
        written = writing => written.unwrap(),
        _ = async { tokio::join!(reader(0), reader(1), reader(2), reader(3)) } => unreachable!("readers go on"),
    };
    assert!(written > 1, "{written} writes of the owner went through");
    bench.end().await;
}
