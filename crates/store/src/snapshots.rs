//! What plugins kept when another version took over.

use sqlx::SqliteConnection;

use super::StoreError;
use super::plugins::{read_data, read_generation};
use plugbay_domain::{DataId, PluginId, Snapshot, Timestamp};

/// Keeps a snapshot in the place of the one before.
pub async fn set(connection: &mut SqliteConnection, plugin: PluginId, snapshot: &Snapshot) -> Result<(), StoreError> {
    let (plugin, version, at) = (plugin.to_string(), snapshot.version.to_string(), snapshot.taken_at.as_millis());
    sqlx::query!(
        "INSERT INTO snapshots (plugin_id, generation, version, taken_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (plugin_id) DO UPDATE
         SET generation = excluded.generation, version = excluded.version, taken_at = excluded.taken_at",
        plugin,
        snapshot.generation,
        version,
        at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The snapshot of a plugin.
pub async fn find(connection: &mut SqliteConnection, plugin: PluginId) -> Result<Option<Snapshot>, StoreError> {
    let id = plugin.to_string();
    let row = sqlx::query!("SELECT generation, version, taken_at FROM snapshots WHERE plugin_id = ?", id)
        .fetch_optional(connection)
        .await?;
    let bad = |error: &dyn std::fmt::Display| StoreError::bad_row("snapshots", &id, error);
    let read = |row: (i64, String, i64)| {
        Ok(Snapshot {
            generation: read_generation("snapshots", &id, row.0)?,
            version: row.1.parse().map_err(|error: semver::Error| bad(&error))?,
            taken_at: Timestamp::from_millis(row.2).ok_or_else(|| bad(&format!("time {}", row.2)))?,
        })
    };
    row.map(|row| read((row.generation, row.version, row.taken_at))).transpose()
}

/// Forgets the snapshot of a plugin.
pub async fn delete(connection: &mut SqliteConnection, plugin: PluginId) -> Result<(), StoreError> {
    let id = plugin.to_string();
    sqlx::query!("DELETE FROM snapshots WHERE plugin_id = ?", id).execute(connection).await?;
    Ok(())
}

/// Forgets the small values of copies that nobody needs.
pub async fn delete_unneeded_values(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM kv
         WHERE (plugin_id, generation) NOT IN (
             SELECT id, generation FROM plugins
             UNION SELECT plugin_id, generation FROM snapshots
             UNION SELECT plugin_id, generation FROM kept_data)"
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Every copy that somebody needs: what plugins keep, snapshots, and what uninstalled plugins left.
pub async fn list_needed(connection: &mut SqliteConnection) -> Result<Vec<DataId>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", generation AS "generation!: i64" FROM plugins
           UNION SELECT plugin_id, generation FROM snapshots
           UNION SELECT plugin_id, generation FROM kept_data"#
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| read_data("plugins", &row.id, row.generation)).collect()
}
