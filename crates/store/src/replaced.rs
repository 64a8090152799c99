//! Versions that give up their number to other bytes.

use semver::Version;
use sqlx::SqliteConnection;

use super::StoreError;
use plugbay_domain::{Digest, PluginId};

/// Calls a version otherwise, also where it is what was kept of that is meant. A row that has the name already is of the
/// same bytes, and gives way.
pub async fn rename(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    digest: Digest,
    (from, to): (&Version, &Version),
) -> Result<(), StoreError> {
    let (plugin, digest) = (plugin.to_string(), digest.to_hex());
    let (from, to) = (from.to_string(), to.to_string());
    sqlx::query!("DELETE FROM versions WHERE plugin_id = ? AND version = ? AND digest = ?", plugin, to, digest)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("UPDATE versions SET version = ? WHERE plugin_id = ? AND version = ?", to, plugin, from)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("UPDATE snapshots SET version = ? WHERE plugin_id = ? AND version = ?", to, plugin, from)
        .execute(connection)
        .await?;
    Ok(())
}
