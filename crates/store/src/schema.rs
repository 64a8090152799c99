//! What stands in the database beside rows. A program that can write to the file could have the service's own statements
//! do more than they say, and the audit log would take that for the service's work.

use sqlx::migrate::Migrate;
use sqlx::{Connection, SqliteConnection};

use super::StoreError;
use super::open::MIGRATIONS;

/// One table, index, trigger or view: its kind, its name, its definition.
type Object = (String, String, Option<String>);

/// Refuses a migrated database that holds anything but what the migrations make.
pub(super) async fn refuse_strangers(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut own = SqliteConnection::connect("sqlite::memory:").await?;
    own.ensure_migrations_table(&MIGRATIONS.table_name).await.map_err(StoreError::Migrate)?;
    MIGRATIONS.run(&mut own).await.map_err(StoreError::Migrate)?;
    let (expected, found) = (objects(&mut own).await?, objects(connection).await?);
    own.close().await?;
    let stranger = found.iter().find(|object| !expected.contains(object));
    match stranger.or_else(|| expected.iter().find(|object| !found.contains(object))) {
        Some((kind, name, _)) => Err(changed(kind, name)),
        None => Ok(()),
    }
}

/// Refuses what acts when the service writes. Asked in each transaction: the file may have been changed meanwhile.
pub(super) async fn refuse_triggers(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: Option<(String, String)> =
        sqlx::query_as("SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view') LIMIT 1")
            .fetch_optional(connection)
            .await?;
    found.map_or(Ok(()), |(kind, name)| Err(changed(&kind, &name)))
}

/// Everything but what SQLite keeps for itself.
async fn objects(connection: &mut SqliteConnection) -> Result<Vec<Object>, StoreError> {
    let all = sqlx::query_as("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'");
    Ok(all.fetch_all(connection).await?)
}

fn changed(kind: &str, name: &str) -> StoreError {
    StoreError::SchemaChanged { object: format!("{} `{}`", plugbay_domain::escape(kind), plugbay_domain::escape(name)) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;
    use crate::{Missing, Store};
    use plugbay_domain::{Code, Refusal as _};

    /// A trigger that makes each row of the audit log a change of tokens.
    const TRIGGER: &str = "CREATE TRIGGER more AFTER INSERT ON audit BEGIN UPDATE tokens SET scopes = 'admin'; END";

    /// Changes the file as another program does.
    async fn change(path: &Path, statement: &'static str) {
        let options = SqliteConnectOptions::new().filename(path);
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(statement).execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_database_with_more_than_the_service_made_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        Store::open(&path, Missing::Create).await.unwrap().close().await;
        Store::open(&path, Missing::Refuse).await.unwrap().close().await;
        for (done, undone, named) in [
            (TRIGGER, "DROP TRIGGER more", "trigger `more`"),
            ("CREATE VIEW more AS SELECT 1", "DROP VIEW more", "view `more`"),
            ("CREATE TABLE more (a)", "DROP TABLE more", "table `more`"),
            ("DROP TABLE idempotency", "SELECT 1", "`idempotency"),
        ] {
            change(&path, done).await;
            let error = Store::open(&path, Missing::Refuse).await.unwrap_err();
            assert_eq!(error.code(), Code::DatabaseCorrupt);
            assert!(error.to_string().contains(named), "{error}");
            change(&path, undone).await;
        }
    }

    #[tokio::test]
    async fn a_trigger_that_comes_meanwhile_gets_nothing_to_act_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        let store = Store::open(&path, Missing::Create).await.unwrap();
        store.begin().await.unwrap().commit().await.unwrap();
        change(&path, TRIGGER).await;
        let error = store.begin().await.unwrap_err();
        assert!(error.to_string().contains("trigger `more`"), "{error}");
        change(&path, "DROP TRIGGER more").await;
        store.begin().await.unwrap().commit().await.unwrap();
    }
}
