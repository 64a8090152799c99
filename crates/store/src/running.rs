//! What the database knows of running plugins: their users, the operator's limits, and when they were last called.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::StoreError;
use plugbay_domain::{PluginId, ResourceRequest, Timestamp};

/// The number of a plugin's user, which it keeps from its first start until its volume is gone.
pub async fn user_of(connection: &mut SqliteConnection, plugin: PluginId) -> Result<u32, StoreError> {
    let id = plugin.to_string();
    sqlx::query!(
        "INSERT INTO sandbox_users (number, plugin_id)
         SELECT MIN(free.number), ?1
         FROM (SELECT 1 AS number UNION SELECT number + 1 FROM sandbox_users) AS free
         WHERE NOT EXISTS (SELECT 1 FROM sandbox_users AS taken WHERE taken.number = free.number)
           AND NOT EXISTS (SELECT 1 FROM sandbox_users WHERE plugin_id = ?1)
         HAVING MIN(free.number) IS NOT NULL",
        id,
    )
    .execute(&mut *connection)
    .await?;
    let number =
        sqlx::query_scalar!("SELECT number FROM sandbox_users WHERE plugin_id = ?", id).fetch_one(connection).await?;
    u32::try_from(number).map_err(|error| StoreError::bad_row("sandbox_users", plugin, error))
}

/// Whether a plugin has a user, as every plugin has that was ever started.
pub async fn has_user(connection: &mut SqliteConnection, plugin: PluginId) -> Result<bool, StoreError> {
    let id = plugin.to_string();
    let number = sqlx::query_scalar!("SELECT number FROM sandbox_users WHERE plugin_id = ?", id);
    Ok(number.fetch_optional(connection).await?.is_some())
}

/// Frees a plugin's user, once nothing of that user is left.
pub async fn free_user(connection: &mut SqliteConnection, plugin: PluginId) -> Result<(), StoreError> {
    let id = plugin.to_string();
    sqlx::query!("DELETE FROM sandbox_users WHERE plugin_id = ?", id).execute(connection).await?;
    Ok(())
}

/// The limits that an operator has set for a plugin.
pub async fn find_limits(connection: &mut SqliteConnection, plugin: PluginId) -> Result<ResourceRequest, StoreError> {
    let id = plugin.to_string();
    let text = sqlx::query_scalar!("SELECT limits FROM plugins WHERE id = ?", id).fetch_optional(connection).await?;
    match text.flatten() {
        Some(text) => serde_json::from_str(&text).map_err(|error| StoreError::bad_row("plugins", plugin, error)),
        None => Ok(ResourceRequest::default()),
    }
}

/// Every limit that an operator has set, by plugin.
pub async fn list_limits(connection: &mut SqliteConnection) -> Result<HashMap<PluginId, ResourceRequest>, StoreError> {
    let rows = sqlx::query!(r#"SELECT id, limits AS "limits!" FROM plugins WHERE limits IS NOT NULL"#)
        .fetch_all(connection)
        .await?;
    let read = |id: &str, limits: &str| {
        let bad = |error: &dyn std::error::Error| StoreError::bad_row("plugins", id, error.to_string());
        let plugin = id.parse().map_err(|error| bad(&error))?;
        Ok((plugin, serde_json::from_str(limits).map_err(|error| bad(&error))?))
    };
    rows.iter().map(|row| read(&row.id, &row.limits)).collect()
}

/// Sets the operator's limits of a plugin; none when it asks for nothing.
pub async fn set_limits(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    limits: &ResourceRequest,
) -> Result<(), StoreError> {
    let id = plugin.to_string();
    let is_set = *limits != ResourceRequest::default();
    let text = is_set.then(|| serde_json::to_string(limits)).transpose();
    let text = text.map_err(|error| StoreError::bad_row("plugins", plugin, error))?;
    sqlx::query!("UPDATE plugins SET limits = ? WHERE id = ?", text, id).execute(connection).await?;
    Ok(())
}

/// Writes down when plugins were last called.
pub async fn note_calls(connection: &mut SqliteConnection, calls: &[(PluginId, Timestamp)]) -> Result<(), StoreError> {
    for (plugin, at) in calls {
        let (id, at) = (plugin.to_string(), at.as_millis());
        sqlx::query!("UPDATE plugins SET last_called_at = ? WHERE id = ?", at, id).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Enabled plugins that nothing holds back, most recently called first.
pub async fn list_wanted(connection: &mut SqliteConnection) -> Result<Vec<PluginId>, StoreError> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM plugins
         WHERE status = 'enabled' AND quarantine_reason IS NULL
         ORDER BY last_called_at DESC NULLS LAST, name"
    )
    .fetch_all(connection)
    .await?;
    let read = |id: &String| {
        id.parse().map_err(|error: plugbay_domain::IdError| StoreError::bad_row("plugins", id.as_str(), error))
    };
    ids.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Missing, Store};

    #[tokio::test]
    async fn users_are_kept_and_freed_numbers_are_given_out_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let plugins: Vec<_> = (0..3).map(|_| PluginId::generate()).collect();
        for (plugin, number) in plugins.iter().zip(1..) {
            assert_eq!(user_of(&mut tx, *plugin).await.unwrap(), number);
        }
        assert_eq!(user_of(&mut tx, plugins[1]).await.unwrap(), 2);
        free_user(&mut tx, plugins[0]).await.unwrap();
        assert_eq!(user_of(&mut tx, PluginId::generate()).await.unwrap(), 1);
        assert_eq!(user_of(&mut tx, PluginId::generate()).await.unwrap(), 4);
    }
}
