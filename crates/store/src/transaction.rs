//! The write transaction. Its connection goes back to the pool only after a commit that worked.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};

use super::audit::HeadFile;
use super::{StoreError, schema};

/// Changes that are kept together by [`WriteTransaction::commit`], or undone together when it is dropped.
///
/// `sqlx::Transaction` counts begins and ends itself and loses count when a full disk makes SQLite end a transaction
/// on its own; the one writer would then refuse every later change. Here an unfinished transaction closes its
/// connection, which undoes it whatever state it is in, and the next one gets a fresh connection.
#[derive(Debug)]
pub struct WriteTransaction {
    connection: PoolConnection<Sqlite>,
    open: bool,
    head_file: HeadFile,
    /// The end of the audit log after this transaction, if it adds to it.
    head: Option<String>,
}

impl WriteTransaction {
    pub(super) async fn begin(connection: PoolConnection<Sqlite>, head_file: HeadFile) -> Result<Self, StoreError> {
        let mut transaction = Self { connection, open: true, head_file, head: None };
        // IMMEDIATE: a transaction that reads first and writes later would fail on a locked database half-way.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *transaction.connection).await?;
        if let Err(error) = schema::refuse_triggers(&mut transaction.connection).await {
            sqlx::query("ROLLBACK").execute(&mut *transaction.connection).await?;
            transaction.open = false;
            return Err(error);
        }
        Ok(transaction)
    }

    /// Keeps the changes.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(&mut *self.connection).await?;
        self.open = false;
        if let Some(head) = self.head.take()
            && let Err(error) = self.head_file.write(&head)
        {
            // The change is kept; the next row of the log is written into the file again.
            tracing::error!(%error, "The end of the audit log could not be written to its file");
        }
        Ok(())
    }

    /// The end of the audit log once this is committed.
    pub(super) fn note_head(&mut self, head: String) {
        self.head = Some(head);
    }
}

impl Drop for WriteTransaction {
    fn drop(&mut self) {
        if self.open {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for WriteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use crate::{Missing, Store};

    #[tokio::test]
    async fn what_is_not_committed_is_undone_and_the_next_change_works() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let insert = "INSERT INTO floors (name, version, ever_signed) VALUES ('x', '1.0.0', 0)";
        let mut dropped = store.begin().await.unwrap();
        sqlx::query(insert).execute(&mut *dropped).await.unwrap();
        drop(dropped);
        // As SQLite does by itself when the disk is full.
        let mut ended = store.begin().await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *ended).await.unwrap();
        assert!(ended.commit().await.is_err());
        let mut kept = store.begin().await.unwrap();
        sqlx::query(insert).execute(&mut *kept).await.unwrap();
        kept.commit().await.unwrap();
        let count = "SELECT count(*) FROM floors";
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut *store.reader().await.unwrap()).await.unwrap();
        assert_eq!(rows, 1);
    }
}
