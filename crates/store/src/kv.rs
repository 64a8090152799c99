//! Small values that plugins keep. What has expired is as if it were not there.

use std::collections::HashMap;

use sqlx::{QueryBuilder, SqliteConnection};

use super::StoreError;
use plugbay_domain::{DataId, PluginId, Timestamp};

/// What a plugin keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// How many values.
    pub values: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// The value of a key, as JSON text.
pub async fn find(
    connection: &mut SqliteConnection,
    data: DataId,
    key: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let (id, now) = (data.plugin.to_string(), now.as_millis());
    let value = sqlx::query_scalar!(
        "SELECT value FROM kv WHERE plugin_id = ? AND generation = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)",
        id,
        data.generation,
        key,
        now,
    );
    Ok(value.fetch_optional(connection).await?)
}

/// Which keys to list.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How they begin.
    pub prefix: &'a str,
    /// Only those that follow this one.
    pub after: Option<&'a str>,
    /// How many at most.
    pub limit: i64,
}

/// Keys, in order.
pub async fn list(
    connection: &mut SqliteConnection,
    data: DataId,
    Wanted { prefix, after, limit }: Wanted<'_>,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let (id, now) = (data.plugin.to_string(), now.as_millis());
    // No key is empty, so every one follows the empty text.
    let after = after.unwrap_or_default();
    // By the index up to the first that does not fit; LIKE would ignore case and read `%`.
    let keys = sqlx::query_scalar!(
        "SELECT key FROM kv
         WHERE plugin_id = ?1 AND generation = ?2 AND key >= ?3 AND key > ?4 AND SUBSTR(key, 1, LENGTH(?3)) = ?3
           AND (expires_at IS NULL OR expires_at > ?5)
         ORDER BY key
         LIMIT ?6",
        id,
        data.generation,
        prefix,
        after,
        now,
        limit,
    );
    Ok(keys.fetch_all(connection).await?)
}

/// What a plugin keeps, after what has expired is removed.
pub async fn kept(connection: &mut SqliteConnection, data: DataId, now: Timestamp) -> Result<Kept, StoreError> {
    let (id, now) = (data.plugin.to_string(), now.as_millis());
    sqlx::query!("DELETE FROM kv WHERE plugin_id = ? AND generation = ? AND expires_at <= ?", id, data.generation, now)
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query!(
        r#"SELECT COUNT(*) AS "count!: i64", COALESCE(SUM(OCTET_LENGTH(key) + OCTET_LENGTH(value)), 0) AS "bytes!: i64"
           FROM kv WHERE plugin_id = ? AND generation = ?"#,
        id,
        data.generation,
    )
    .fetch_one(connection)
    .await?;
    Ok(Kept { values: row.count.unsigned_abs(), bytes: row.bytes.unsigned_abs() })
}

/// Bytes of these keys with their values, of those that are there.
pub async fn sizes(
    connection: &mut SqliteConnection,
    data: DataId,
    keys: &[&str],
) -> Result<HashMap<String, u64>, StoreError> {
    let mut query = QueryBuilder::new("SELECT key, OCTET_LENGTH(key) + OCTET_LENGTH(value) FROM kv");
    of_keys(&mut query, data, keys);
    let rows: Vec<(String, i64)> = query.build_query_as().persistent(false).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(key, bytes)| (key, bytes.unsigned_abs())).collect())
}

/// Keeps several values with one statement, each in place of the one before.
pub async fn set_many(
    connection: &mut SqliteConnection,
    data: DataId,
    values: &[(&str, &str, Option<Timestamp>)],
) -> Result<(), StoreError> {
    if values.is_empty() {
        return Ok(());
    }
    let id = data.plugin.to_string();
    let mut query = QueryBuilder::new("INSERT INTO kv (plugin_id, generation, key, value, expires_at) ");
    query.push_values(values, |mut row, (key, value, expires_at)| {
        row.push_bind(id.as_str()).push_bind(data.generation).push_bind(*key).push_bind(*value);
        row.push_bind(expires_at.map(Timestamp::as_millis));
    });
    query.push(
        " ON CONFLICT (plugin_id, generation, key)
          DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at",
    );
    query.build().persistent(false).execute(connection).await?;
    Ok(())
}

/// Removes the values of several keys with one statement.
pub async fn delete_many(connection: &mut SqliteConnection, data: DataId, keys: &[&str]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::new("DELETE FROM kv");
    of_keys(&mut query, data, keys);
    query.build().persistent(false).execute(connection).await?;
    Ok(())
}

/// Narrows a statement to these keys of a plugin.
fn of_keys(query: &mut QueryBuilder<sqlx::Sqlite>, data: DataId, keys: &[&str]) {
    query
        .push(" WHERE plugin_id = ")
        .push_bind(data.plugin.to_string())
        .push(" AND generation = ")
        .push_bind(data.generation)
        .push(" AND key IN (");
    let mut list = query.separated(", ");
    for key in keys {
        list.push_bind(*key);
    }
    query.push(")");
}

/// Removes everything that a plugin keeps.
pub async fn purge(connection: &mut SqliteConnection, plugin: PluginId) -> Result<(), StoreError> {
    let id = plugin.to_string();
    sqlx::query!("DELETE FROM kv WHERE plugin_id = ?", id).execute(connection).await?;
    Ok(())
}

/// Makes the values of another generation: those of `from`, and nothing else.
pub async fn fork(connection: &mut SqliteConnection, from: DataId, generation: u32) -> Result<(), StoreError> {
    let id = from.plugin.to_string();
    delete_generation(connection, DataId { generation, ..from }).await?;
    sqlx::query!(
        "INSERT INTO kv (plugin_id, generation, key, value, expires_at)
         SELECT plugin_id, ?, key, value, expires_at FROM kv WHERE plugin_id = ? AND generation = ?",
        generation,
        id,
        from.generation,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the values of one generation.
pub async fn delete_generation(connection: &mut SqliteConnection, data: DataId) -> Result<(), StoreError> {
    let id = data.plugin.to_string();
    sqlx::query!("DELETE FROM kv WHERE plugin_id = ? AND generation = ?", id, data.generation)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Missing, Store};

    fn some_data() -> DataId {
        DataId { plugin: PluginId::generate(), generation: 0 }
    }

    #[tokio::test]
    async fn generations_begin_alike_and_go_their_own_way() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let (now, old) = (Timestamp::from_millis(1).unwrap(), some_data());
        let new = DataId { generation: 7, ..old };
        set_many(&mut tx, old, &[("key", "1", None)]).await.unwrap();
        set_many(&mut tx, new, &[("left", "0", None)]).await.unwrap();
        fork(&mut tx, old, 7).await.unwrap();
        set_many(&mut tx, new, &[("key", "2", None)]).await.unwrap();
        let all = Wanted { prefix: "", after: None, limit: 10 };
        assert_eq!(list(&mut tx, new, all, now).await.unwrap(), ["key"]);
        assert_eq!(find(&mut tx, old, "key", now).await.unwrap().as_deref(), Some("1"));
        delete_generation(&mut tx, old).await.unwrap();
        assert_eq!(find(&mut tx, old, "key", now).await.unwrap(), None);
        assert_eq!(find(&mut tx, new, "key", now).await.unwrap().as_deref(), Some("2"));
    }

    #[tokio::test]
    async fn purging_removes_the_values_of_one_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let (now, plugins) = (Timestamp::from_millis(1).unwrap(), [some_data(), some_data()]);
        for plugin in plugins {
            set_many(&mut tx, plugin, &[("key", "\"é\"", None)]).await.unwrap();
        }
        assert_eq!(kept(&mut tx, plugins[0], now).await.unwrap(), Kept { values: 1, bytes: 7 });
        purge(&mut tx, plugins[0].plugin).await.unwrap();
        assert_eq!(find(&mut tx, plugins[0], "key", now).await.unwrap(), None);
        assert_eq!(find(&mut tx, plugins[1], "key", now).await.unwrap().as_deref(), Some("\"é\""));
    }
}
