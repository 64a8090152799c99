//! Changes to the database behind the service's back.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

/// Runs one statement on the database of a stopped service.
pub async fn run(data_dir: &Path, statement: &str) {
    let options = SqliteConnectOptions::new().filename(data_dir.join("plugbay.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Reads one number.
pub async fn number(data_dir: &Path, query: &str) -> i64 {
    let options = SqliteConnectOptions::new().filename(data_dir.join("plugbay.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let number = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}

/// The head of the audit log: number, hash and seal.
pub async fn head(data_dir: &Path) -> (i64, String, String) {
    let options = SqliteConnectOptions::new().filename(data_dir.join("plugbay.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let head = sqlx::query_as("SELECT seq, hash, seal FROM audit_head").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    head
}
