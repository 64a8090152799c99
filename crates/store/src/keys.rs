//! Signing keys the operator trusts.

use sqlx::SqliteConnection;

use super::StoreError;
use plugbay_domain::{KeyId, NamePattern, Timestamp, TrustedKey};

#[derive(Debug)]
struct Row {
    key_id: String,
    public_key: String,
    label: String,
    names: String,
    not_before: Option<i64>,
    not_after: Option<i64>,
    revoked_at: Option<i64>,
    reason: Option<String>,
}

impl TryFrom<Row> for TrustedKey {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let bad = |found: String| StoreError::bad_row("keys", &row.key_id, found);
        let names: Vec<NamePattern> = serde_json::from_str(&row.names).map_err(|error| bad(error.to_string()))?;
        let time = |stored: Option<i64>| {
            stored.map(|millis| Timestamp::from_millis(millis).ok_or_else(|| bad(format!("time {millis}")))).transpose()
        };
        Ok(Self {
            key: row.public_key.parse().map_err(|error: plugbay_domain::KeyError| bad(error.to_string()))?,
            names,
            not_before: time(row.not_before)?,
            not_after: time(row.not_after)?,
            revoked_at: time(row.revoked_at)?,
            label: row.label,
            reason: row.reason,
        })
    }
}

/// Registers a key; [`StoreError::Exists`] if its id is in use.
pub async fn insert(connection: &mut SqliteConnection, key: &TrustedKey, now: Timestamp) -> Result<(), StoreError> {
    let id = key.key.id().to_string();
    let public_key = key.key.to_string();
    let names = serde_json::to_string(&key.names).map_err(|error| StoreError::bad_row("keys", &id, error))?;
    let (not_before, not_after) = (key.not_before.map(Timestamp::as_millis), key.not_after.map(Timestamp::as_millis));
    let now = now.as_millis();
    sqlx::query!(
        "INSERT INTO keys (key_id, public_key, label, names, not_before, not_after, added_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        id,
        public_key,
        key.label,
        names,
        not_before,
        not_after,
        now,
    )
    .execute(connection)
    .await
    .map_err(StoreError::of_insert)?;
    Ok(())
}

/// Every key, revoked ones included, by label.
pub async fn list(connection: &mut SqliteConnection) -> Result<Vec<TrustedKey>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT key_id, public_key, label, names, not_before, not_after, revoked_at, reason
         FROM keys
         ORDER BY label, key_id"
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TrustedKey::try_from).collect()
}

/// Marks a key as revoked; the first time and reason stay.
pub async fn revoke(
    connection: &mut SqliteConnection,
    id: KeyId,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (id, now) = (id.to_string(), now.as_millis());
    sqlx::query!("UPDATE keys SET revoked_at = ?, reason = ? WHERE key_id = ? AND revoked_at IS NULL", now, reason, id)
        .execute(connection)
        .await?;
    Ok(())
}
