//! Our own database: plugins, versions, keys, tokens, the audit chain. The only user of sqlx.
//!
//! One connection writes, a few read. Functions take a connection, so that a use case opens one
//! transaction and its change and the audit row that reports it are kept or lost together.

pub mod audit;
mod error;
pub mod idempotency;
pub mod keys;
mod open;

pub mod plugins;
pub mod tokens;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool, Transaction};

pub use error::StoreError;
pub use open::Missing;

/// The open database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Begins the one write transaction there is at a time; it is undone unless committed.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // IMMEDIATE: a transaction that reads first and writes later would fail on a locked database half-way.
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A connection that only reads.
    pub async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Writes everything into the main file and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        if let Ok(mut connection) = self.writer.acquire().await {
            // What a failed checkpoint leaves in the log is read again at the next start.
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *connection).await.ok();
        }
        self.writer.close().await;
    }
}
