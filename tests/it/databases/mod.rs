//! The operator's databases through real workers: what plugins get of them, and what hostile SQL does not.

mod hostile;
mod limits;
mod locks;
mod processes;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugbay::config::{Config, DatabaseConfig, DatabaseLimits};
use plugbay::databases::{DatabaseError, Databases, Statement, Work};
use plugbay::domain::PluginId;
use plugbay::shutdown::Shutdown;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

/// Longest time of one request, unless a test says otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// Databases in a folder, and a plugin that asks for them.
struct Bench {
    folder: TempDir,
    databases: Databases,
    shutdown: Shutdown,
    plugin: PluginId,
}

/// The databases `chat` and `missing`.
fn bench() -> Bench {
    bench_with(|_| {})
}

fn bench_with(change: impl FnOnce(&mut DatabaseLimits)) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let schema = "CREATE TABLE messages (id INTEGER PRIMARY KEY, text TEXT, size INTEGER DEFAULT 0);
        INSERT INTO messages (text) VALUES ('one'), ('two'), ('three');
        CREATE TABLE uniques (word TEXT UNIQUE NOT NULL);
        CREATE VIEW short AS SELECT id FROM messages;
        CREATE VIRTUAL TABLE notes USING fts5(body);
        INSERT INTO notes VALUES ('red apple'), ('green pear');";
    Connection::open(&path).unwrap().execute_batch(schema).unwrap();
    let mut limits = Config::for_testing(folder.path()).databases;
    limits.program = env!("CARGO_BIN_EXE_plugbay").into();
    change(&mut limits);
    let named: BTreeMap<String, DatabaseConfig> = ["chat", "missing", "link", "folder"]
        .iter()
        .map(|name| {
            let url = format!("sqlite://{}/{name}.db", folder.path().display());
            ((*name).to_owned(), DatabaseConfig { url })
        })
        .collect();
    let shutdown = Shutdown::default();
    let databases = Databases::new(&named, &limits, 4 << 20, shutdown.clone());
    Bench { folder, databases, shutdown, plugin: PluginId::generate() }
}

fn statement(sql: &str, params: &Value) -> Statement {
    Statement { sql: sql.to_owned(), params: Some(serde_json::value::to_raw_value(params).unwrap()) }
}

impl Bench {
    fn path(&self) -> PathBuf {
        self.folder.path().join("chat.db")
    }

    /// As an owner does whose readers are not to wait for each other.
    fn give_log(&self) {
        let mode = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
        let owner = Connection::open(self.path()).unwrap();
        assert_eq!(owner.query_row("PRAGMA journal_mode = WAL", [], mode).unwrap(), "wal");
    }

    async fn run(&self, name: &str, work: Work, patience: Duration) -> Result<Value, DatabaseError> {
        let answer = self.databases.run(self.plugin, name, work, Instant::now() + patience).await?;
        Ok(serde_json::from_str(answer.get()).unwrap())
    }

    async fn query(&self, sql: &str) -> Result<Value, DatabaseError> {
        self.query_with(sql, &json!([])).await
    }

    async fn query_with(&self, sql: &str, params: &Value) -> Result<Value, DatabaseError> {
        self.run("chat", Work::Query(statement(sql, params)), PATIENCE).await
    }

    /// The one value of a query.
    async fn value(&self, sql: &str) -> Value {
        self.query(sql).await.unwrap()["rows"][0][0].take()
    }

    async fn execute(&self, sql: &str) -> Result<Value, DatabaseError> {
        self.execute_with(sql, &json!([])).await
    }

    async fn execute_with(&self, sql: &str, params: &Value) -> Result<Value, DatabaseError> {
        self.run("chat", Work::Execute(statement(sql, params)), PATIENCE).await
    }

    async fn transaction(&self, statements: &[(&str, Value)]) -> Result<Value, DatabaseError> {
        let statements = statements.iter().map(|(sql, params)| statement(sql, params)).collect();
        self.run("chat", Work::Transaction(statements), PATIENCE).await
    }

    /// Workers that hold the database open.
    fn workers(&self) -> Vec<u32> {
        holders(&self.path())
    }

    /// Ends as a service does, which leaves no worker.
    async fn end(self) {
        let path = self.path();
        assert!(self.shutdown.drain(Duration::from_secs(10)).await.unwrap());
        assert_eq!(holders(&path), Vec::<u32>::new(), "a worker is left");
    }
}

/// Processes other than this one that hold a file open.
fn holders(path: &Path) -> Vec<u32> {
    let own = std::process::id();
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|process| *process != own && files_of(*process).iter().any(|file| file == path)).collect()
}

/// What a process has open.
fn files_of(process: u32) -> Vec<PathBuf> {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
    files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).collect()
}
