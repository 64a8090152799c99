//! Our own database: plugins, versions, configuration and sealed secrets, keys, tokens, chat, the audit chain. The only user of sqlx.
//!
//! One connection writes, a few read. Functions take a connection, so that a use case opens one
//! transaction and its change and the audit row that reports it are kept or lost together.

pub mod audit;
pub mod backup;
pub mod chat;
pub mod configs;
mod error;
pub mod floors;
pub mod grants;
pub mod idempotency;
pub mod kept;
pub mod keys;
pub mod kv;
mod open;
pub mod plugins;
pub mod running;
mod sealing;
pub mod snapshots;
pub mod tokens;
mod transaction;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};

pub use error::StoreError;
pub use open::Missing;
pub use sealing::{SealError, SealingKey};
pub use transaction::WriteTransaction;

/// The open database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Begins the one write transaction there is at a time; it is undone unless committed.
    pub async fn begin(&self) -> Result<WriteTransaction, StoreError> {
        WriteTransaction::begin(self.writer.acquire().await?).await
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
