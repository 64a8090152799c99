//! Workers come, go, are killed, and are as many as may be.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use plugbay::domain::PluginId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{Bench, PATIENCE, Work, bench, bench_with, holders, statement};

/// A query that nothing but its time ends.
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, messages";

fn kill(process: u32) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), Signal::KILL).unwrap();
}

impl Bench {
    async fn until_workers(&self, wanted: usize) -> Vec<u32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let workers = self.workers();
            if workers.len() == wanted {
                return workers;
            }
            assert!(Instant::now() < deadline, "{workers:?}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_killed_worker_is_an_error_and_the_next_request_works() {
    let bench = bench();
    let killing = async {
        let workers = bench.until_workers(1).await;
        // The query runs once the file is open.
        tokio::time::sleep(Duration::from_millis(100)).await;
        kill(workers[0]);
    };
    let began = Instant::now();
    let (answer, ()) = tokio::join!(bench.query(ENDLESS), killing);
    let ended = answer.unwrap_err();
    assert_eq!(ended.code().as_str(), "database-failed");
    assert!(ended.to_string().contains("ended before it answered"), "{ended}");
    assert!(began.elapsed() < Duration::from_secs(5), "at once");
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 3);
    // Killed while nobody waits, it is replaced without a word.
    kill(bench.until_workers(1).await[0]);
    bench.until_workers(0).await;
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 3);
    bench.end().await;
}

#[tokio::test]
async fn a_worker_that_does_not_react_is_killed() {
    let bench = bench_with(|limits| limits.time = Duration::from_millis(500));
    bench.give_log();
    assert_eq!(bench.value("SELECT 1").await, 1);
    let [worker] = bench.workers()[..] else { panic!("one worker") };
    kill_process(Pid::from_raw(i32::try_from(worker).unwrap()).unwrap(), Signal::STOP).unwrap();
    let began = Instant::now();
    assert_eq!(bench.query("SELECT 1").await.unwrap_err().code().as_str(), "database-timeout");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(bench.value("SELECT 2").await, 2);
    assert!(!bench.workers().contains(&worker));
    bench.end().await;
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_stopped_and_its_worker_stays() {
    let bench = bench();
    assert_eq!(bench.value("SELECT 1").await, 1);
    let before = bench.workers();
    let given_up = tokio::time::timeout(Duration::from_millis(200), bench.query(ENDLESS)).await;
    assert!(given_up.is_err());
    let began = Instant::now();
    assert_eq!(bench.value("SELECT 2").await, 2);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(bench.workers(), before);
    bench.end().await;
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let bench = bench();
    let number =
        async |number: usize| bench.query_with("SELECT ?", &json!([number])).await.unwrap()["rows"][0][0].take();
    let queries = join_all((0..64).map(number));
    let inserts = join_all((0..64).map(|_| bench.execute("INSERT INTO uniques VALUES (hex(randomblob(16)))")));
    let (queries, inserts) = tokio::join!(queries, inserts);
    assert_eq!(json!(queries), json!((0..64).collect::<Vec<_>>()));
    assert!(inserts.iter().all(Result::is_ok), "{inserts:?}");
    assert_eq!(bench.value("SELECT count(*) FROM uniques").await, 64);
    assert_eq!(bench.workers().len(), 2, "one that reads, one that writes");
    let too_many = join_all((0..200).map(|_| bench.query("SELECT 1"))).await;
    let refused: Vec<_> = too_many.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(!refused.is_empty() && refused.iter().all(|error| error.code().as_str() == "unavailable"), "{refused:?}");
    bench.end().await;
}

#[tokio::test]
async fn plugins_do_not_wait_for_each_other() {
    let bench = bench();
    bench.give_log();
    // A worker says that there is a log.
    assert_eq!(bench.value("SELECT 1").await, 1);
    let other = PluginId::generate();
    let work = || Work::Query(statement("SELECT count(*) FROM messages", &json!([])));
    let neighbour = async {
        bench.until_workers(1).await;
        let began = Instant::now();
        for _ in 0..20 {
            bench.databases.run(other, "chat", work(), tokio::time::Instant::now() + PATIENCE).await.unwrap();
        }
        began.elapsed()
    };
    let (greedy, neighbour) =
        tokio::join!(bench.run("chat", Work::Query(statement(ENDLESS, &json!([]))), Duration::from_secs(3)), neighbour);
    assert_eq!(greedy.unwrap_err().code().as_str(), "database-timeout");
    assert!(neighbour < Duration::from_secs(2), "{neighbour:?}");
    bench.end().await;
}

#[tokio::test]
async fn there_are_no_more_workers_than_allowed_and_idle_ones_make_room() {
    let bench = bench_with(|limits| limits.workers = 1);
    bench.give_log();
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 3);
    let reader = bench.workers();
    bench.execute("DELETE FROM messages WHERE id = 1").await.unwrap();
    assert!(bench.workers().len() == 1 && bench.workers() != reader, "the reader made room");
    let busy = async {
        bench.until_workers(1).await;
        bench
            .run("chat", Work::Execute(statement("DELETE FROM messages", &json!([]))), Duration::from_millis(300))
            .await
    };
    // The one that reads takes the place and does not give it back in time.
    bench.value("SELECT 1").await;
    let (_, busy) =
        tokio::join!(bench.run("chat", Work::Query(statement(ENDLESS, &json!([]))), Duration::from_secs(2)), busy);
    assert_eq!(busy.unwrap_err().code().as_str(), "unavailable");
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 2);
    bench.end().await;
}

#[tokio::test]
async fn a_worker_without_work_ends() {
    let bench = bench_with(|limits| limits.idle = Duration::from_millis(200));
    assert_eq!(bench.value("SELECT 1").await, 1);
    bench.until_workers(0).await;
    assert_eq!(bench.value("SELECT 2").await, 2);
    bench.end().await;
}

#[tokio::test]
async fn a_worker_runs_as_the_owner_of_the_file() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = bench();
    for path in [bench.folder.path().to_owned(), bench.path()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&path, Some(54_321), Some(54_322)).unwrap();
    }
    bench.execute("DELETE FROM messages WHERE id = 1").await.unwrap();
    let [worker] = bench.workers()[..] else { panic!("one worker") };
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    for line in ["Uid:\t54321\t54321\t54321\t54321", "Gid:\t54322\t54322\t54322\t54322", "Groups:\t \n"] {
        assert!(status.contains(line), "{line:?} in {status}");
    }
    assert_eq!(bench.value("SELECT count(*) FROM messages").await, 2);
    bench.end().await;
}

#[tokio::test]
async fn the_service_stops_while_queries_run() {
    let bench = bench();
    let path = bench.path();
    let stopping = async {
        bench.until_workers(1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        assert!(bench.shutdown.clone().drain(Duration::from_secs(10)).await.unwrap());
        began.elapsed()
    };
    let (answer, took) = tokio::join!(bench.query(ENDLESS), stopping);
    assert_eq!(answer.unwrap_err().code().as_str(), "unavailable");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(holders(&path), Vec::<u32>::new());
}
