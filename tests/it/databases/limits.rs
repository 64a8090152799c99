//! SQL that wants to take all there is: time, memory, bytes.

use std::fs;
use std::time::{Duration, Instant};

use super::{bench_with, files_of};

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) ";

#[tokio::test]
async fn statements_end_when_their_time_is_over() {
    let bench = bench_with(|limits| limits.time = Duration::from_millis(500));
    for sql in [
        format!("{ENDLESS} SELECT count(*) FROM n"),
        format!("{ENDLESS} SELECT i FROM n WHERE i < 0"),
        "SELECT count(*) FROM json_each(printf('[%.*c1]', 3000000, ' ')) a, messages b, messages c WHERE \
         replace(hex(zeroblob(4000000)), '00', '0123456789') LIKE '%x%y%z%'"
            .to_owned(),
    ] {
        let began = Instant::now();
        let error = bench.query(&sql).await.unwrap_err();
        // Some take one long step; then the worker is ended instead.
        assert!(["database-timeout", "database-limit"].contains(&error.code().as_str()), "{sql}: {error}");
        assert!(began.elapsed() < Duration::from_secs(4), "{sql}: {:?}", began.elapsed());
        assert_eq!(bench.value("SELECT 1").await, 1, "the next one is answered");
    }
    bench.end().await;
}

#[tokio::test]
async fn statements_do_not_take_more_memory_than_they_may() {
    let bench = bench_with(|limits| limits.memory_bytes = 16 << 20);
    bench.value("SELECT 1").await;
    let code = async |sql: &str| bench.query(sql).await.expect_err(sql).code().as_str();
    for sql in [
        "SELECT zeroblob(1000000000)".to_owned(),
        "SELECT randomblob(2147483647)".to_owned(),
        "SELECT hex(hex(hex(randomblob(8000000))))".to_owned(),
        "SELECT replace(hex(zeroblob(1000000)), '0', hex(zeroblob(100)))".to_owned(),
        format!("{ENDLESS} SELECT group_concat(hex(zeroblob(100))) FROM (SELECT i FROM n LIMIT 200000)"),
        format!("{ENDLESS} SELECT json_group_array(hex(zeroblob(1000))) FROM (SELECT i FROM n LIMIT 20000)"),
        format!("{ENDLESS} SELECT i FROM n GROUP BY i % 10000000, hex(randomblob(100)) ORDER BY random()"),
        format!("{ENDLESS} SELECT count(DISTINCT hex(randomblob(500))) FROM n"),
        "WITH RECURSIVE n(t) AS (SELECT 'x' UNION ALL SELECT t || t FROM n) SELECT max(length(t)) FROM n".to_owned(),
    ] {
        assert_eq!(code(&sql).await, "database-limit", "{sql}");
    }
    // SQLite's own way to say that it is too long.
    assert_eq!(bench.value("SELECT printf('%.*c', 1000000000, 'x')").await, serde_json::Value::Null);
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 3);
    let insert = format!("INSERT INTO messages (text) {ENDLESS} SELECT hex(randomblob(1000)) FROM n ORDER BY random()");
    assert_eq!(bench.execute(&insert).await.unwrap_err().code().as_str(), "database-limit");
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 3);
    bench.end().await;
}

#[tokio::test]
async fn statements_are_no_larger_than_anybody_writes() {
    let bench = bench_with(|_| {});
    for sql in [
        format!("SELECT {}", vec!["1"; 3_000].join(",")),
        format!("SELECT {}", vec!["1"; 1_000].join("+")),
        vec!["SELECT 1"; 600].join(" UNION ALL "),
        format!("SELECT max({})", vec!["1"; 200].join(",")),
        format!("SELECT '{}'", "x".repeat(300_000)),
        format!("SELECT 'x' LIKE '{}'", "%x".repeat(1_000)),
        format!("SELECT ?{}", 100_000),
    ] {
        let error = bench.query(&sql).await.expect_err(sql.get(..40).unwrap_or(&sql));
        assert!(["database-refused", "database-limit"].contains(&error.code().as_str()), "{error}");
    }
    assert_eq!(bench.value("SELECT 1").await, 1);
    bench.end().await;
}

#[tokio::test]
async fn a_database_does_not_grow_beyond_its_limit() {
    let bench = bench_with(|limits| limits.file_bytes = 1 << 20);
    let insert = "INSERT INTO messages (text) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000) \
                  SELECT hex(zeroblob(500)) FROM n";
    assert_eq!(bench.execute(insert).await.unwrap_err().code().as_str(), "database-limit");
    assert!(fs::metadata(bench.path()).unwrap().len() <= 1 << 20);
    assert_eq!(bench.execute("DELETE FROM messages").await.unwrap()["rows_affected"], 3);
    bench.end().await;
}

/// The limits that the system keeps for a worker.
#[tokio::test]
async fn a_worker_has_nothing_but_its_file() {
    let bench = bench_with(|limits| limits.memory_bytes = 32 << 20);
    bench.value("SELECT count(*) FROM messages").await;
    let [worker] = bench.workers()[..] else { panic!("one worker") };
    let read = |file: &str| fs::read_to_string(format!("/proc/{worker}/{file}")).unwrap();
    assert_eq!(read("environ"), "");
    assert_eq!(read("cmdline"), format!("{}\0db-worker\0", env!("CARGO_BIN_EXE_plugbay")));
    assert_eq!(fs::read_link(format!("/proc/{worker}/cwd")).unwrap().to_str(), Some("/"));
    let status = read("status");
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let limits = read("limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[26..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(limit("Max core file size"), "0");
    assert_eq!(limit("Max open files"), "24");
    assert_eq!(limit("Max data size"), (96_u64 << 20).to_string());
    assert_eq!(limit("Max file size"), (64_u64 << 20).to_string());
    let files = files_of(worker);
    // Whoever started the tests may have left pipes open; the test's own files and sockets are not there.
    let is_fine = |file: &std::path::PathBuf| {
        let text = file.display().to_string();
        *file == bench.path() || text.starts_with("pipe:") || text == "/dev/null"
    };
    assert!(files.iter().all(is_fine), "{files:?}");
    bench.end().await;
}
