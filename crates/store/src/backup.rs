//! A copy of the whole database, and what a copy needs to serve elsewhere, perhaps under another master key.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::audit::{self, AuditKey};
use super::plugins::read_data;
use super::{Store, StoreError, open, plugins};
use plugbay_domain::{DataId, Digest};

/// Newest migration that this program knows.
pub fn newest_schema() -> i64 {
    open::newest_schema()
}

/// A secret that a restored database has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostSecret {
    /// Name of its plugin.
    pub plugin: String,
    /// Its field.
    pub field: String,
}

impl Store {
    /// Writes a copy of what is committed into a new file. Nobody waits for it.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        // The readers' own connections may not write, not even another file.
        let options = (*self.readers.connect_options()).clone().pragma("query_only", "OFF");
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let path = path.to_string_lossy().into_owned();
        let copied = sqlx::query("VACUUM INTO ?").bind(path).execute(&mut connection).await;
        connection.close().await?;
        copied?;
        Ok(())
    }
}

/// What a copy refers to that is not in it.
#[derive(Debug)]
pub struct Referred {
    /// Archives.
    pub digests: Vec<Digest>,
    /// What plugins keep. Of some there is no volume.
    pub kept: Vec<DataId>,
}

/// Reads what a copy refers to. Nothing is written, not even beside it.
pub async fn read_copy(path: &Path) -> Result<Referred, StoreError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let digests = plugins::list_digests(&mut connection).await?;
    let kept = list_kept(&mut connection).await?;
    connection.close().await?;
    Ok(Referred { digests, kept })
}

/// What plugins keep, and what those left that were uninstalled. Of some there is no volume.
pub async fn list_kept(connection: &mut SqliteConnection) -> Result<Vec<DataId>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", generation AS "generation!: i64" FROM plugins
           UNION SELECT plugin_id, generation FROM kept_data
           ORDER BY 1, 2"#
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| read_data("plugins", &row.id, row.generation)).collect()
}

/// Forgets snapshots, which are in no backup, and that updates are watched.
pub async fn drop_snapshots(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM snapshots").execute(&mut *connection).await?;
    super::snapshots::delete_unneeded_values(connection).await
}

/// Removes every sealed secret, whose key is not there any more, and the sealed text that tells keys apart.
pub async fn drop_secrets(connection: &mut SqliteConnection) -> Result<Vec<LostSecret>, StoreError> {
    let lost = sqlx::query_as!(
        LostSecret,
        "SELECT plugins.name AS plugin, secrets.field
         FROM secrets
         JOIN plugins ON plugins.id = secrets.plugin_id
         ORDER BY plugins.name, secrets.field"
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!("DELETE FROM secrets").execute(&mut *connection).await?;
    sqlx::query!("DELETE FROM sealing_check").execute(connection).await?;
    Ok(lost)
}

/// Links every row of the audit log anew, under another key, as it was found: whether rows were changed before cannot be
/// told without the key they were written with.
pub async fn take_over_audit(connection: &mut SqliteConnection, key: &AuditKey) -> Result<(), StoreError> {
    audit::link_anew(connection, key).await
}
