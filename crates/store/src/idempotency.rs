//! Answers already given to requests that carried an Idempotency-Key.

use sqlx::SqliteConnection;

use super::StoreError;
use plugbay_domain::{Timestamp, TokenId};

/// Whose key it is: keys of two tokens or two routes have nothing to do with each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey {
    /// The token that sent it.
    pub token: TokenId,
    /// The route it was sent to.
    pub route: String,
    /// The header's value.
    pub key: String,
}

/// An answer kept for a repeated request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the request said, so that another one under the same key is noticed.
    pub fingerprint: String,
    /// HTTP status.
    pub status: u16,
    /// JSON body.
    pub body: String,
}

/// Finds the answer given before.
pub async fn find(connection: &mut SqliteConnection, key: &IdempotencyKey) -> Result<Option<Answer>, StoreError> {
    let token = key.token.to_string();
    let row = sqlx::query!(
        "SELECT fingerprint, status, body FROM idempotency WHERE token_id = ? AND route = ? AND key = ?",
        token,
        key.route,
        key.key
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let status = row.status.try_into().map_err(|error| StoreError::bad_row("idempotency", &key.key, error))?;
        Ok(Answer { fingerprint: row.fingerprint, status, body: row.body })
    })
    .transpose()
}

/// Keeps an answer.
pub async fn insert(
    connection: &mut SqliteConnection,
    key: &IdempotencyKey,
    answer: &Answer,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (token, now) = (key.token.to_string(), now.as_millis());
    sqlx::query!(
        "INSERT INTO idempotency (token_id, route, key, fingerprint, status, body, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        token,
        key.route,
        key.key,
        answer.fingerprint,
        answer.status,
        answer.body,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets answers given before `oldest`.
pub async fn forget(connection: &mut SqliteConnection, oldest: Timestamp) -> Result<(), StoreError> {
    let oldest = oldest.as_millis();
    sqlx::query!("DELETE FROM idempotency WHERE created_at < ?", oldest).execute(connection).await?;
    Ok(())
}
