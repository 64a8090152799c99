//! What reading the code of versions said.

use semver::Version;
use sqlx::SqliteConnection;

use super::StoreError;
use super::plugins::read;
use plugbay_domain::{Digest, PluginId};

/// A version whose code has to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    /// The plugin.
    pub plugin: PluginId,
    /// The version.
    pub version: Version,
    /// Its bytes.
    pub digest: Digest,
}

/// What was said of a version, as JSON.
pub async fn find(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    digest: Digest,
) -> Result<Option<String>, StoreError> {
    let (plugin, digest) = (plugin.to_string(), digest.to_hex());
    let scan = sqlx::query_scalar!("SELECT scan FROM versions WHERE plugin_id = ? AND digest = ?", plugin, digest);
    Ok(scan.fetch_optional(connection).await?.flatten())
}

/// Keeps what was said of a version in the place of what was said before.
pub async fn set(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    digest: Digest,
    scan: &str,
) -> Result<(), StoreError> {
    let (plugin, digest) = (plugin.to_string(), digest.to_hex());
    sqlx::query!("UPDATE versions SET scan = ? WHERE plugin_id = ? AND digest = ?", scan, plugin, digest)
        .execute(connection)
        .await?;
    Ok(())
}

/// A version that was not read by these rules, those first that serve.
pub async fn next_outdated(connection: &mut SqliteConnection, rules: &str) -> Result<Option<Outdated>, StoreError> {
    let row = sqlx::query!(
        "SELECT plugin_id, version, digest FROM versions
         WHERE scan IS NULL OR scan ->> '$.rules' IS NOT ?
         ORDER BY EXISTS (
             SELECT 1 FROM plugins WHERE plugins.id = versions.plugin_id AND plugins.serving = versions.version) DESC,
             installed_at
         LIMIT 1",
        rules,
    )
    .fetch_optional(connection)
    .await?;
    let read_row = |row: (String, String, String)| {
        let key = format!("{} {}", row.0, row.1);
        Ok(Outdated {
            plugin: read("versions", &key, &row.0)?,
            version: read("versions", &key, &row.1)?,
            digest: read("versions", &key, &row.2)?,
        })
    };
    row.map(|row| read_row((row.plugin_id, row.version, row.digest))).transpose()
}
