//! Our own database: plugins, versions, configuration and sealed secrets, keys, tokens, chat, the audit chain. The only user of sqlx.
//!
//! One connection writes, a few read, and plugins have readers of their own and come to the writer in turns. Functions take a connection, so that a use case opens one
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
mod last_updates;
pub mod kv;
mod open;
pub mod plugins;
pub mod replaced;
pub mod running;
pub mod scans;
mod schema;
mod sealing;
pub mod snapshots;
pub mod tokens;
mod transaction;
mod turns;

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};

pub use error::StoreError;
pub use open::Missing;
pub use sealing::{BackupKey, SealError, SealingKey};
pub use transaction::WriteTransaction;
use turns::Turns;
pub use turns::{PluginReader, PluginStore, PluginTransaction, WritePlace};

use plugbay_domain::PluginId;

/// What functions of this folder work on: a reader, or a write transaction.
pub type Connection = sqlx::SqliteConnection;

/// The open database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: Writer,
    readers: SqlitePool,
    /// What plugins have instead of the readers, and how they come to the writer.
    turns: Arc<Turns>,
}

impl Store {
    /// Begins the one write transaction there is at a time; it is undone unless committed.
    pub async fn begin(&self) -> Result<WriteTransaction, StoreError> {
        self.writer.begin().await
    }

    fn head_file(&self) -> &audit::HeadFile {
        &self.writer.head_file
    }

    /// The database as a plugin gets it: in turns with the others, and beside what the service keeps for itself.
    pub fn of_plugin(&self, plugin: PluginId) -> PluginStore {
        self.turns.of(plugin, self.writer.clone())
    }

    /// A connection that only reads, for the service itself and its callers.
    pub async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// Writes everything into the main file and closes it.
    pub async fn close(&self) {
        self.turns.close().await;
        self.readers.close().await;
        if let Ok(mut connection) = self.writer.pool.acquire().await {
            // What a failed checkpoint leaves in the log is read again at the next start.
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *connection).await.ok();
        }
        self.writer.pool.close().await;
    }
}

/// The one connection that writes, and the file that follows what it adds to the audit log.
#[derive(Clone, Debug)]
struct Writer {
    pool: SqlitePool,
    head_file: audit::HeadFile,
}

impl Writer {
    async fn begin(&self) -> Result<WriteTransaction, StoreError> {
        WriteTransaction::begin(self.pool.acquire().await?, self.head_file.clone()).await
    }
}
