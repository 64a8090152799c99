//! Opening the database: refused if it is damaged, newer than this program, or gone; never made anew in its place.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::audit::{self, HeadFile};
use super::turns::Turns;
use super::{Store, StoreError, Writer, schema};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Marks a database as plugbay's, in `PRAGMA application_id`.
const APPLICATION_ID: i64 = 0x706c_7562;

/// How long a statement waits for a lock that another program holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that only read, for the service itself.
pub(super) const READERS: u32 = 4;

/// Connections that only read, for what plugins ask.
pub(super) const PLUGIN_READERS: u32 = 2;

/// Whether a missing database is a first start or a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The data directory is new: make one.
    Create,
    /// The data directory was used before: refuse.
    Refuse,
}

impl Store {
    /// Opens the database, migrates it, and refuses one that is damaged or newer.
    pub async fn open(path: &Path, missing: Missing) -> Result<Self, StoreError> {
        let corrupt = |found: &str| StoreError::Corrupt { path: path.to_owned(), found: found.to_owned() };
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if bytes == 0 && missing == Missing::Refuse {
            return Err(corrupt("the file is missing or empty, but the data directory has been used before"));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL: a change that was acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();

        let mut connection = SqliteConnection::connect_with(&options).await.map_err(|error| damaged(path, error))?;
        if bytes > 0 {
            check_whole(&mut connection, path).await?;
        }
        migrate(&mut connection, path).await?;
        schema::refuse_strangers(&mut connection).await?;
        connection.close().await?;

        let pool = |connections: u32| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY_TIMEOUT * 2)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let watching = pool(1).after_connect(|connection, _| Box::pin(audit::watch(connection)));
        let writer = Writer { pool: watching.connect_lazy_with(options.clone()), head_file: HeadFile::of(path) };
        // A connection opened read-only could not make the shared memory file that a write-ahead log needs.
        let readers = options.pragma("query_only", "ON");
        let turns = Arc::new(Turns::new(pool(PLUGIN_READERS).connect_lazy_with(readers.clone())));
        Ok(Self { writer, readers: pool(READERS).connect_lazy_with(readers), turns })
    }
}

/// What SQLite says of a file that is not a database is damage to whoever owns the file.
fn damaged(path: &Path, error: sqlx::Error) -> StoreError {
    let error = StoreError::from(error);
    match plugbay_domain::Refusal::code(&error) {
        plugbay_domain::Code::DatabaseCorrupt => {
            StoreError::Corrupt { path: path.to_owned(), found: "not an SQLite database".to_owned() }
        }
        _ => error,
    }
}

async fn check_whole(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let corrupt = |found: String| StoreError::Corrupt { path: path.to_owned(), found };
    let id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| damaged(path, error))?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| damaged(path, error))?;
    // A first start that was killed leaves a file without tables and without our mark.
    if id != APPLICATION_ID && tables > 0 {
        return Err(corrupt("it is an SQLite database, but not plugbay's".to_owned()));
    }
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| damaged(path, error))?;
    if found == "ok" { Ok(()) } else { Err(corrupt(found)) }
}

/// Newest migration that this program knows.
pub(super) fn newest_schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let newest = newest_schema();
    sqlx::query("PRAGMA application_id = 1886156130").execute(&mut *connection).await?;
    connection.ensure_migrations_table(&MIGRATIONS.table_name).await.map_err(StoreError::Migrate)?;
    let applied = connection.list_applied_migrations(&MIGRATIONS.table_name).await.map_err(StoreError::Migrate)?;
    if let Some(unknown) = applied.iter().map(|migration| migration.version).find(|version| *version > newest) {
        return Err(StoreError::SchemaNewer { path: path.to_owned(), found: unknown });
    }
    MIGRATIONS.run(connection).await.map_err(StoreError::Migrate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::{Code, Refusal};

    async fn refusal(path: &Path, missing: Missing) -> Code {
        Store::open(path, missing).await.unwrap_err().code()
    }

    #[test]
    fn the_mark_reads_plub() {
        assert_eq!(APPLICATION_ID, 1_886_156_130);
    }

    #[tokio::test]
    async fn a_database_opens_again_with_the_settings_that_keep_it_safe() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        Store::open(&path, Missing::Create).await.unwrap().close().await;
        let store = Store::open(&path, Missing::Refuse).await.unwrap();
        for (pragma, wanted) in [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")] {
            let mut connection = store.writer.pool.acquire().await.unwrap();
            let statement = sqlx::AssertSqlSafe(format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"));
            let found: String = sqlx::query_scalar(statement).fetch_one(&mut *connection).await.unwrap();
            assert_eq!(found, wanted, "{pragma}");
        }
    }

    #[tokio::test]
    async fn a_lost_empty_or_damaged_database_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        assert_eq!(refusal(&path, Missing::Refuse).await, Code::DatabaseCorrupt);
        assert!(!path.exists());

        let garbage = vec![0x5a; 8192];
        std::fs::write(&path, &garbage).unwrap();
        assert_eq!(refusal(&path, Missing::Create).await, Code::DatabaseCorrupt);
        assert_eq!(std::fs::read(&path).unwrap(), garbage);
    }

    #[tokio::test]
    async fn a_truncated_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        Store::open(&path, Missing::Create).await.unwrap().close().await;
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(refusal(&path, Missing::Refuse).await, Code::DatabaseCorrupt);
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        let store = Store::open(&path, Missing::Create).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99991231235959, 'from the future', 1, x'00', 0)",
        )
        .execute(&store.writer.pool)
        .await
        .unwrap();
        store.close().await;
        assert_eq!(refusal(&path, Missing::Refuse).await, Code::SchemaNewer);
    }

    #[tokio::test]
    async fn somebody_elses_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("CREATE TABLE notes (text TEXT)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert_eq!(refusal(&path, Missing::Create).await, Code::DatabaseCorrupt);
    }
}
