//! What uninstalled plugins left on the disk and in `kv`: who signed them, and what becomes of it.

use sqlx::SqliteConnection;

use super::StoreError;
use super::plugins::read_generation;
use plugbay_domain::{DataId, KeyId, PluginId, PluginName, PluginRef, Timestamp};

/// What becomes of what a plugin left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for another plugin of the same signer.
    Kept,
    /// It is being removed.
    Purged,
}

/// What a plugin left.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The plugin it belonged to.
    pub plugin_id: PluginId,
    /// Who signed the version that served last; nobody known if it was not signed by a trusted key.
    pub key_id: Option<KeyId>,
    /// Which copy of it was the plugin's own.
    pub generation: u32,
}

#[derive(Debug)]
struct KeptRow {
    plugin_id: String,
    key_id: Option<String>,
    generation: i64,
}

fn read_id(text: &str) -> Result<PluginId, StoreError> {
    text.parse().map_err(|error| StoreError::bad_row("kept_data", text, error))
}

impl TryFrom<KeptRow> for Kept {
    type Error = StoreError;

    fn try_from(row: KeptRow) -> Result<Self, StoreError> {
        let read = |id: &String| id.parse().map_err(|error| StoreError::bad_row("kept_data", &row.plugin_id, error));
        Ok(Self {
            plugin_id: read_id(&row.plugin_id)?,
            key_id: row.key_id.as_ref().map(read).transpose()?,
            generation: read_generation("kept_data", &row.plugin_id, row.generation)?,
        })
    }
}

impl Kept {
    /// What was kept.
    pub fn data(&self) -> DataId {
        DataId { plugin: self.plugin_id, generation: self.generation }
    }
}

/// Writes down what a plugin leaves.
pub async fn insert(
    connection: &mut SqliteConnection,
    kept: &Kept,
    name: &PluginName,
    fate: Fate,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (id, key_id) = (kept.plugin_id.to_string(), kept.key_id.map(|id| id.to_string()));
    let (name, now) = (name.as_str(), now.as_millis());
    let fate = match fate {
        Fate::Kept => "kept",
        Fate::Purged => "purged",
    };
    sqlx::query!(
        "INSERT INTO kept_data (plugin_id, name, key_id, generation, kept_at, fate) VALUES (?, ?, ?, ?, ?, ?)",
        id,
        name,
        key_id,
        kept.generation,
        now,
        fate,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What plugins of a name, or one plugin, left and nobody has yet; the last first.
pub async fn list(connection: &mut SqliteConnection, wanted: &PluginRef) -> Result<Vec<Kept>, StoreError> {
    let (id, name) = match wanted {
        PluginRef::Id(id) => (Some(id.to_string()), None),
        PluginRef::Name(name) => (None, Some(name.to_string())),
    };
    let rows = sqlx::query_as!(
        KeptRow,
        "SELECT plugin_id, key_id, generation FROM kept_data
         WHERE fate = 'kept' AND (plugin_id = ?1 OR name = ?2)
         ORDER BY kept_at DESC, plugin_id DESC",
        id,
        name,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Kept::try_from).collect()
}

/// The name of the plugin that left it.
pub async fn find_name(connection: &mut SqliteConnection, plugin: PluginId) -> Result<Option<PluginName>, StoreError> {
    let id = plugin.to_string();
    let name = sqlx::query_scalar!("SELECT name FROM kept_data WHERE plugin_id = ?", id);
    let name = name.fetch_optional(connection).await?;
    name.map(|name| name.parse().map_err(|error| StoreError::bad_row("kept_data", plugin, error))).transpose()
}

/// Gives values and user of one plugin to another; the files have yet to follow.
pub async fn attach(connection: &mut SqliteConnection, kept: &Kept, to: PluginId) -> Result<(), StoreError> {
    let (from, to) = (kept.plugin_id.to_string(), to.to_string());
    sqlx::query!("UPDATE plugins SET generation = ? WHERE id = ?", kept.generation, to)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("UPDATE kv SET plugin_id = ? WHERE plugin_id = ?", to, from).execute(&mut *connection).await?;
    sqlx::query!("UPDATE sandbox_users SET plugin_id = ? WHERE plugin_id = ?", to, from)
        .execute(&mut *connection)
        .await?;
    sqlx::query!("UPDATE kept_data SET fate = 'attached', attached_to = ? WHERE plugin_id = ?", to, from)
        .execute(connection)
        .await?;
    Ok(())
}

/// The plugin whose files a plugin was given, until they have followed.
pub async fn find_attached(connection: &mut SqliteConnection, to: PluginId) -> Result<Option<Kept>, StoreError> {
    let to = to.to_string();
    let found =
        sqlx::query_as!(KeptRow, "SELECT plugin_id, key_id, generation FROM kept_data WHERE attached_to = ?", to);
    found.fetch_optional(connection).await?.map(Kept::try_from).transpose()
}

/// Plugins whose files have to follow somebody.
pub async fn list_attached(connection: &mut SqliteConnection) -> Result<Vec<PluginId>, StoreError> {
    let rows = sqlx::query_scalar!(r#"SELECT attached_to AS "to!" FROM kept_data WHERE attached_to IS NOT NULL"#);
    rows.fetch_all(connection).await?.iter().map(|id| read_id(id)).collect()
}

/// Marks what is to be removed.
pub async fn mark_purged(connection: &mut SqliteConnection, plugin: PluginId) -> Result<(), StoreError> {
    let id = plugin.to_string();
    sqlx::query!("UPDATE kept_data SET fate = 'purged' WHERE plugin_id = ? AND fate = 'kept'", id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Plugins whose files have to be removed.
pub async fn list_purged(connection: &mut SqliteConnection) -> Result<Vec<PluginId>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT plugin_id FROM kept_data WHERE fate = 'purged'");
    rows.fetch_all(connection).await?.iter().map(|id| read_id(id)).collect()
}

/// Forgets what is gone or has found another.
pub async fn delete(connection: &mut SqliteConnection, plugin: PluginId) -> Result<(), StoreError> {
    let id = plugin.to_string();
    sqlx::query!("DELETE FROM kept_data WHERE plugin_id = ?", id).execute(connection).await?;
    Ok(())
}
