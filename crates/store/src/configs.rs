//! What operators set for plugins: plain values, and sealed secrets.

use secrecy::SecretString;
use serde_json::{Map, Value};
use sqlx::SqliteConnection;

use super::StoreError;
use super::sealing::{Place, Sealed, SealingKey};
use plugbay_domain::{PluginId, SecretPolicies};

/// What is set for one plugin.
#[derive(Clone, Debug, Default)]
pub struct ConfigRecord {
    /// Counts the changes; 0 before the first.
    pub revision: i64,
    /// Plain values.
    pub values: Map<String, Value>,
    /// Secrets, by field.
    pub secrets: Vec<SealedSecret>,
}

/// A secret as it lies in the database.
#[derive(Clone, Debug)]
pub struct SealedSecret {
    /// Whose it is.
    pub plugin: PluginId,
    /// The field.
    pub field: String,
    revision: i64,
    policies: Option<String>,
    sealed: Sealed,
}

/// A secret that is to be sealed.
#[derive(Clone, Copy, Debug)]
pub struct NewSecret<'a> {
    /// Whose it is.
    pub plugin: PluginId,
    /// The field.
    pub field: &'a str,
    /// The revision of the configuration that it comes with.
    pub revision: i64,
    /// What it is for.
    pub policies: &'a SecretPolicies,
    /// Its value.
    pub value: &'a SecretString,
}

impl SealedSecret {
    /// Whether it was written before there were policies.
    pub fn is_unbound(&self) -> bool {
        self.policies.is_none()
    }
}

impl ConfigRecord {
    /// The sealed secret of a field.
    pub fn secret(&self, field: &str) -> Option<&SealedSecret> {
        self.secrets.iter().find(|secret| secret.field == field)
    }
}

impl SealedSecret {
    /// The value. A row that was changed, or comes from another place, is refused.
    pub fn open(&self, key: &SealingKey) -> Result<SecretString, StoreError> {
        let policies = self.policies.as_deref();
        let place = Place::Secret { plugin: self.plugin, field: &self.field, revision: self.revision, policies };
        key.open(place, &self.sealed).map_err(|_does_not_open| self.unreadable())
    }

    /// What it was set for. Believed once the value opens with it; a row without any is for no version.
    pub fn policies(&self) -> Result<SecretPolicies, StoreError> {
        let Some(text) = &self.policies else { return Ok(SecretPolicies::default()) };
        SecretPolicies::from_text(text).map_err(|_not_ours| self.unreadable())
    }

    fn unreadable(&self) -> StoreError {
        StoreError::SecretUnreadable { plugin: self.plugin, field: plugbay_domain::escape(&self.field) }
    }
}

/// What is set for a plugin.
pub async fn find(connection: &mut SqliteConnection, plugin: PluginId) -> Result<ConfigRecord, StoreError> {
    let id = plugin.to_string();
    let row = sqlx::query!("SELECT revision, fields FROM configs WHERE plugin_id = ?", id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(ConfigRecord::default()) };
    let values = serde_json::from_str(&row.fields).map_err(|error| StoreError::bad_row("configs", plugin, error))?;
    let rows = sqlx::query!(
        "SELECT field, revision, policies, nonce, sealed FROM secrets WHERE plugin_id = ? ORDER BY field",
        id
    )
    .fetch_all(connection)
    .await?;
    let secrets = rows.into_iter().map(|row| SealedSecret {
        plugin,
        field: row.field,
        revision: row.revision,
        policies: row.policies,
        sealed: Sealed { nonce: row.nonce, bytes: row.sealed },
    });
    Ok(ConfigRecord { revision: row.revision, values, secrets: secrets.collect() })
}

/// Sets the plain values and counts the change. The new revision is given back.
pub async fn set_values(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    values: &Map<String, Value>,
) -> Result<i64, StoreError> {
    let (id, fields) = (plugin.to_string(), Value::Object(values.clone()).to_string());
    let revision = sqlx::query_scalar!(
        "INSERT INTO configs (plugin_id, revision, fields) VALUES (?, 1, ?)
         ON CONFLICT (plugin_id) DO UPDATE SET revision = revision + 1, fields = excluded.fields
         RETURNING revision",
        id,
        fields,
    )
    .fetch_one(connection)
    .await?;
    Ok(revision)
}

/// Counts a change of what the configuration means: another version serves.
pub async fn note_version(connection: &mut SqliteConnection, plugin: PluginId) -> Result<(), StoreError> {
    let id = plugin.to_string();
    sqlx::query!(
        "INSERT INTO configs (plugin_id, revision, fields) VALUES (?, 1, '{}')
         ON CONFLICT (plugin_id) DO UPDATE SET revision = revision + 1",
        id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Seals a secret and keeps it.
pub async fn set_secret(
    connection: &mut SqliteConnection,
    key: &SealingKey,
    secret: NewSecret<'_>,
) -> Result<(), StoreError> {
    let NewSecret { plugin, field, revision, policies, value } = secret;
    let policies = policies.to_text();
    let place = Place::Secret { plugin, field, revision, policies: Some(&policies) };
    let Sealed { nonce, bytes } = key.seal(place, value)?;
    let id = plugin.to_string();
    sqlx::query!(
        "INSERT INTO secrets (plugin_id, field, revision, policies, nonce, sealed) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (plugin_id, field)
         DO UPDATE SET revision = excluded.revision, policies = excluded.policies, nonce = excluded.nonce,
                       sealed = excluded.sealed",
        id,
        field,
        revision,
        policies,
        nonce,
        bytes,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Seals a secret again for other policies; its value and its revision stay.
pub async fn bind_secret(
    connection: &mut SqliteConnection,
    key: &SealingKey,
    secret: &SealedSecret,
    policies: &SecretPolicies,
) -> Result<(), StoreError> {
    let value = secret.open(key)?;
    let SealedSecret { plugin, field, revision, .. } = secret;
    let bound = NewSecret { plugin: *plugin, field, revision: *revision, policies, value: &value };
    set_secret(connection, key, bound).await
}

/// Plugins with secrets of before there were policies.
pub async fn list_unbound(connection: &mut SqliteConnection) -> Result<Vec<PluginId>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT DISTINCT plugin_id FROM secrets WHERE policies IS NULL ORDER BY plugin_id")
        .fetch_all(connection)
        .await?;
    let parse = |id: String| id.parse().map_err(|error| StoreError::bad_row("secrets", &id, error));
    rows.into_iter().map(parse).collect()
}

/// Removes a secret.
pub async fn delete_secret(connection: &mut SqliteConnection, plugin: PluginId, field: &str) -> Result<(), StoreError> {
    let id = plugin.to_string();
    sqlx::query!("DELETE FROM secrets WHERE plugin_id = ? AND field = ?", id, field).execute(connection).await?;
    Ok(())
}

/// Tells whether the key is the one that secrets were sealed with; the first key ever asked about is noted down.
pub async fn check_key(connection: &mut SqliteConnection, key: &SealingKey) -> Result<bool, StoreError> {
    let row = sqlx::query!("SELECT nonce, sealed FROM sealing_check").fetch_optional(&mut *connection).await?;
    if let Some(row) = row {
        return Ok(key.open(Place::Check, &Sealed { nonce: row.nonce, bytes: row.sealed }).is_ok());
    }
    let Sealed { nonce, bytes } = key.seal(Place::Check, &SecretString::from("plugbay"))?;
    sqlx::query!("INSERT INTO sealing_check (one, nonce, sealed) VALUES (1, ?, ?)", nonce, bytes)
        .execute(connection)
        .await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use semver::Version;

    use super::*;
    use crate::plugins;
    use crate::{Missing, Store};
    use plugbay_domain::Plugin;
    use plugbay_domain::{Code, Refusal as _, Secret, Timestamp};

    async fn plugin(connection: &mut SqliteConnection, name: &str) -> PluginId {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let plugin = Plugin::new(name.parse().unwrap(), Version::new(1, 0, 0), now);
        plugins::insert(connection, &plugin).await.unwrap();
        plugin.id
    }

    #[tokio::test]
    async fn rows_that_were_changed_or_moved_do_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugbay.db");
        let store = Store::open(&path, Missing::Create).await.unwrap();
        let key = SealingKey::derive(&[1; 32]);
        let mut tx = store.begin().await.unwrap();
        assert!(check_key(&mut tx, &key).await.unwrap() && check_key(&mut tx, &key).await.unwrap());
        assert!(!check_key(&mut tx, &SealingKey::derive(&[2; 32])).await.unwrap());
        let (one, two) = (plugin(&mut tx, "one").await, plugin(&mut tx, "two").await);
        for plugin in [one, two] {
            let revision = set_values(&mut tx, plugin, &Map::new()).await.unwrap();
            for field in ["a", "b"] {
                let value = SecretString::from(format!("secret-{field}"));
                let policies = SecretPolicies::default();
                let secret = NewSecret { plugin, field, revision, policies: &policies, value: &value };
                set_secret(&mut tx, &key, secret).await.unwrap();
            }
        }
        let found = find(&mut tx, one).await.unwrap();
        assert_eq!(found.secret("a").unwrap().open(&key).unwrap().expose_secret(), "secret-a");
        assert!(found.secret("a").unwrap().open(&SealingKey::derive(&[2; 32])).is_err());
        tx.commit().await.unwrap();

        let from = |column: &str, plugin: PluginId, field: &str| {
            format!("(SELECT {column} FROM secrets WHERE plugin_id = '{plugin}' AND field = '{field}')")
        };
        let other_field = format!("nonce = {}, sealed = {}", from("nonce", one, "b"), from("sealed", one, "b"));
        let other_plugin = format!("nonce = {}, sealed = {}", from("nonce", two, "a"), from("sealed", two, "a"));
        for change in [
            &other_field,
            &other_plugin,
            "revision = 9",
            "policies = NULL",
            "policies = '[ ]'",
            "nonce = zeroblob(24)",
            "sealed = zeroblob(24)",
        ] {
            let mut tx = store.begin().await.unwrap();
            let statement = format!("UPDATE secrets SET {change} WHERE plugin_id = '{one}' AND field = 'a'");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
            let error = find(&mut tx, one).await.unwrap().secret("a").unwrap().open(&key).unwrap_err();
            assert_eq!(error.code(), Code::SecretUnreadable, "{change}: {error}");
        }
        store.close().await;
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"secret-"), "nothing lies open in the file");
    }

    #[tokio::test]
    async fn secrets_of_before_open_and_are_bound() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let key = SealingKey::derive(&[1; 32]);
        let mut tx = store.begin().await.unwrap();
        let plugin = plugin(&mut tx, "one").await;
        set_values(&mut tx, plugin, &Map::new()).await.unwrap();
        let place = Place::Secret { plugin, field: "k", revision: 1, policies: None };
        let Sealed { nonce, bytes } = key.seal(place, &SecretString::from("of before")).unwrap();
        let statement = "INSERT INTO secrets (plugin_id, field, revision, nonce, sealed) VALUES (?, 'k', 1, ?, ?)";
        let query = sqlx::query(statement).bind(plugin.to_string()).bind(nonce).bind(bytes);
        query.execute(&mut *tx).await.unwrap();
        assert_eq!(list_unbound(&mut tx).await.unwrap(), [plugin]);
        let found = find(&mut tx, plugin).await.unwrap().secret("k").unwrap().clone();
        assert!(found.is_unbound() && found.policies().unwrap() == SecretPolicies::default());
        let policies = SecretPolicies::of(&Secret::delivered());
        bind_secret(&mut tx, &key, &found, &policies).await.unwrap();
        let found = find(&mut tx, plugin).await.unwrap().secret("k").unwrap().clone();
        assert_eq!(found.open(&key).unwrap().expose_secret(), "of before");
        assert!(found.policies().unwrap() == policies && list_unbound(&mut tx).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn every_change_counts_and_all_is_gone_with_the_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let key = SealingKey::derive(&[1; 32]);
        let mut tx = store.begin().await.unwrap();
        let plugin = plugin(&mut tx, "one").await;
        assert_eq!(find(&mut tx, plugin).await.unwrap().revision, 0);
        note_version(&mut tx, plugin).await.unwrap();
        let values: Map<String, Value> = serde_json::from_str(r#"{"z": 1, "a": [null]}"#).unwrap();
        assert_eq!(set_values(&mut tx, plugin, &values).await.unwrap(), 2);
        note_version(&mut tx, plugin).await.unwrap();
        let (policies, value) = (SecretPolicies::of(&Secret::delivered()), SecretString::from("v"));
        let secret = NewSecret { plugin, field: "k", revision: 3, policies: &policies, value: &value };
        set_secret(&mut tx, &key, secret).await.unwrap();
        let found = find(&mut tx, plugin).await.unwrap();
        assert_eq!((found.revision, &found.values, found.secrets.len()), (3, &values, 1));
        delete_secret(&mut tx, plugin, "k").await.unwrap();
        assert!(find(&mut tx, plugin).await.unwrap().secrets.is_empty());
        set_secret(&mut tx, &key, secret).await.unwrap();
        plugins::delete(&mut tx, plugin).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT (SELECT count(*) FROM secrets) + (SELECT count(*) FROM configs)")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert_eq!(left, 0);
    }
}
