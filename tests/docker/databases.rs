//! The operator's databases as plugins in sandboxes meet them: what is granted, until when, and what it costs others.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plugbay::config::DatabaseConfig;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Client, fixture};
use super::machine::Machine;
use super::served::Served;
use super::support::process::until;

const PERMISSIONS: &str = "optional_permissions: [database_read, database_write]\n\
    access: { database_read: [chat, crm], database_write: [chat] }\n";

/// The time of one query, and of the call that makes it: far more than a slow machine needs for what a test expects
/// before it is over.
const LONGEST: Duration = Duration::from_mins(2);

/// What waits for nothing ends in this time, also on a machine that has much else to do.
const AT_ONCE: Duration = Duration::from_secs(30);

/// A query that nothing but its time ends.
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, messages";

fn database() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    // With a log, so that readers do not wait for each other.
    let schema = "PRAGMA journal_mode = WAL; CREATE TABLE messages (text TEXT);
        INSERT INTO messages VALUES ('one'), ('two')";
    Connection::open(&path).unwrap().execute_batch(schema).unwrap();
    (folder, path)
}

/// A service that names one database, and a plugin that may ask for it and for one that is not named.
async fn served(path: &Path, names: &[&str]) -> Option<Served> {
    let served = Served::start_with(|config| {
        let url = format!("sqlite://{}", path.display());
        config.resources.databases.insert("chat".to_owned(), DatabaseConfig { url });
        config.databases.time = LONGEST;
    });
    let served = served.await?;
    for name in names {
        install(&served, name).await;
    }
    Some(served)
}

async fn install(client: &Client, name: &str) {
    let manifest = fs::read_to_string(fixture("asker").join("plugin.yaml")).unwrap();
    let manifest = manifest.replace("name: asker\n", &format!("name: {name}\n{PERMISSIONS}"));
    let manifest = manifest.replace("timeout_seconds: 10", &format!("timeout_seconds: {}", LONGEST.as_secs()));
    client.add(&fixture("asker"), &[("plugin.yaml", &manifest)]).await;
    client.enable(name).await.expect(200);
}

async fn decide(client: &Client, name: &str, body: &Value) {
    client.post(&format!("/api/plugins/{name}/permissions/approve"), body).await.expect(200);
}

async fn ask(client: &Client, name: &str, function: &str, params: Value) -> Value {
    client.result(name, "execute", json!({"function": function, "params": params})).await
}

async fn query(client: &Client, name: &str, sql: &str) -> Value {
    ask(client, name, "db.query", json!({"name": "chat", "sql": sql})).await
}

/// Processes other than this one that hold the file open.
fn holders(path: &Path) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(|process| {
        let is_other = process.file_name().to_str() != Some(&std::process::id().to_string());
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().filter_map(Result::ok);
        is_other && files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|file| file == path))
    });
    processes.count()
}

/// What came of it: the code of the refusal, or that there was none.
fn outcome(answer: &Value) -> &Value {
    const DONE: &Value = &Value::Null;
    answer.get("code").unwrap_or(DONE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_permission_opens_its_own_half_and_only_while_it_is_granted() {
    let (_folder, path) = database();
    let Some(served) = served(&path, &["asker"]).await else { return };
    let both = async || {
        let read = query(&served, "asker", "SELECT count(*) FROM messages").await;
        let insert = json!({"name": "chat", "sql": "INSERT INTO messages VALUES ('x')"});
        let written = ask(&served, "asker", "db.execute", insert).await;
        (outcome(&read).clone(), outcome(&written).clone())
    };
    let (denied, done) = (json!(-32001), Value::Null);
    let neither = (denied.clone(), denied.clone());
    assert_eq!(both().await, neither, "absent");
    decide(&served, "asker", &json!({"deny": ["database_read", "database_write"]})).await;
    assert_eq!(both().await, neither, "denied");
    let refused = query(&served, "asker", "SELECT 1").await;
    let how = "plugbay approve asker --grant database_read:chat";
    assert_eq!(refused["data"], json!({"permission": "database_read", "how": how}));
    assert_eq!(holders(&path), 0, "nothing was opened");

    decide(&served, "asker", &json!({"grant": [{"permission": "database_read", "scope": ["chat"]}]})).await;
    assert_eq!(both().await, (done.clone(), denied.clone()), "read granted");
    decide(&served, "asker", &json!({"grant": ["database_write"]})).await;
    assert_eq!(both().await, (done.clone(), done.clone()), "both granted");
    let revoke = json!({"permissions": ["database_read"]});
    served.post("/api/plugins/asker/permissions/revoke", &revoke).await.expect(200);
    assert_eq!(both().await, (denied.clone(), done.clone()), "read revoked while it runs");
    served.post("/api/plugins/asker/permissions/revoke", &json!({"permissions": ["database_write"]})).await.expect(200);
    assert_eq!(both().await, neither, "revoked");

    let grant = [json!("database_write"), json!({"permission": "database_read", "scope": ["chat"]})];
    decide(&served, "asker", &json!({"grant": grant, "expires_at": "2026-11-20T13:00:00Z"})).await;
    assert_eq!(both().await, (done.clone(), done.clone()), "granted for an hour");
    served.clock().advance(Duration::from_hours(2));
    let deadline = Instant::now() + Duration::from_secs(15);
    while both().await != neither {
        assert!(Instant::now() < deadline, "expired");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(served.plugin("asker").await["restarts"], 0);
    served.end().await;
    assert_eq!(holders(&path), 0, "a worker is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_read_and_change_rows_through_the_sdk() {
    let (_folder, path) = database();
    let Some(served) = served(&path, &["asker"]).await else { return };
    let grant = json!([{"permission": "database_read", "scope": ["chat"]}, "database_write"]);
    decide(&served, "asker", &json!({ "grant": grant })).await;
    let bound = json!({"name": "chat", "sql": "SELECT text FROM messages WHERE text = :t", "params": {"t": "two"}});
    let rows = json!({"columns": ["text"], "rows": [["two"]], "truncated": false});
    assert_eq!(ask(&served, "asker", "db.query", bound).await, rows);
    let statements =
        json!([["DELETE FROM messages WHERE text = ?", ["one"]], ["INSERT INTO messages VALUES (?)", ["é"]]]);
    let done = ask(&served, "asker", "db.transaction", json!({"name": "chat", "statements": statements})).await;
    let results = json!([{"rows_affected": 1, "last_id": null}, {"rows_affected": 1, "last_id": 3}]);
    assert_eq!(done, json!({ "results": results }));
    for (sql, code) in [("SELECT * FROM nowhere", "database-refused"), ("SELECT zeroblob(999999999)", "database-limit")]
    {
        let refused = query(&served, "asker", sql).await;
        assert_eq!((&refused["code"], &refused["data"]["code"]), (&json!(-32002), &json!(code)), "{refused}");
    }
    let unknown = ask(&served, "asker", "db.query", json!({"name": "crm", "sql": "SELECT 1"})).await;
    assert_eq!(unknown["code"], -32001, "not granted, whether it exists or not: {unknown}");
    let many = json!({"function": "db.query", "params": {"name": "chat", "sql": "SELECT 1"}, "times": 100});
    assert_eq!(served.result("asker", "execute", many).await.as_array().unwrap().len(), 100);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greedy_plugin_holds_up_itself_alone_and_nothing_runs_for_one_that_has_ended() {
    let (_folder, path) = database();
    let Some(served) = served(&path, &["asker", "neighbour"]).await else { return };
    let grant = json!({"grant": [{"permission": "database_read", "scope": ["chat"]}]});
    for name in ["asker", "neighbour"] {
        decide(&served, name, &grant).await;
    }
    let endless = json!({"context": {"function": "db.query", "params": {"name": "chat", "sql": ENDLESS}}});
    let greedy = served.execute("asker", &endless);
    let others = async {
        served.until_in_flight("asker", 1).await;
        tokio::task::block_in_place(|| until("it runs", AT_ONCE, || holders(&path) == 1));
        let began = Instant::now();
        for _ in 0..10 {
            let rows = query(&served, "neighbour", "SELECT count(*) FROM messages").await;
            assert_eq!(rows["rows"], json!([[2]]));
        }
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        super::kind::kill(served.instance(), &served.container("asker").await);
    };
    let (ended, ()) = tokio::join!(greedy, others);
    ended.expect_problem(502, "plugin-crashed");
    served.until_active("asker").await;
    // The query of the ended session had most of its time left, and its worker takes one thing at a time.
    let began = Instant::now();
    assert_eq!(query(&served, "asker", "SELECT count(*) FROM messages").await["rows"], json!([[2]]));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    served.end().await;
    assert_eq!(holders(&path), 0, "a worker is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_worker_outlives_a_killed_service() {
    let (_folder, path) = database();
    if !super::kind::engine_is_there() {
        return;
    }
    let named = format!("resources: {{ databases: {{ chat: {{ url: \"sqlite://{}\" }} }} }}\n", path.display());
    let machine = Machine::with_config(&named);
    let (mut process, client) = machine.serve();
    install(&client, "asker").await;
    decide(&client, "asker", &json!({"grant": [{"permission": "database_read", "scope": ["chat"]}]})).await;
    assert_eq!(query(&client, "asker", "SELECT count(*) FROM messages").await["rows"], json!([[2]]));
    let endless = json!({"context": {"function": "db.query", "params": {"name": "chat", "sql": ENDLESS}}});
    let request = client.request(reqwest::Method::POST, "/api/plugins/asker/execute").json(&endless).send();
    let killing = async {
        client.until_in_flight("asker", 1).await;
        assert_eq!(holders(&path), 1);
        tokio::task::block_in_place(|| {
            process.kill();
            until("no worker is left", AT_ONCE, || holders(&path) == 0);
        });
    };
    let (answer, ()) = tokio::join!(request, killing);
    assert!(answer.is_err(), "the service is gone");
}
