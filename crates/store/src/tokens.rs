//! Tokens. Only the hash of a token's secret is kept.

use sqlx::SqliteConnection;

use super::StoreError;
use plugbay_domain::{Digest, NamePattern, RequestRate, Scope, ScopeSet, Timestamp, TokenId, ToolPattern};

/// A token as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its id, which the audit log names.
    pub id: TokenId,
    /// Hash of its secret.
    pub secret: Digest,
    /// The operator's name for it.
    pub label: String,
    /// What it allows.
    pub scopes: ScopeSet,
    /// The plugins it is for; all when absent.
    pub plugins: Option<Vec<NamePattern>>,
    /// The tools it is for; every method when absent.
    pub tools: Option<Vec<ToolPattern>>,
    /// It may only call tools that change nothing.
    pub read_only: bool,
    /// Its requests per second; as configured when absent.
    pub rate: Option<RequestRate>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Row {
    id: String,
    secret_sha256: String,
    label: String,
    scopes: String,
    plugins: Option<String>,
    tools: Option<String>,
    read_only: bool,
    rate: Option<i64>,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl TryFrom<Row> for TokenRecord {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let bad = |found: String| StoreError::bad_row("tokens", &row.id, found);
        let time = |millis: i64| Timestamp::from_millis(millis).ok_or_else(|| bad(format!("time {millis}")));
        let scopes: Vec<Scope> = serde_json::from_str(&row.scopes).map_err(|error| bad(error.to_string()))?;
        let rate = row.rate.map(RequestRate::try_from).transpose();
        let plugins = row.plugins.as_deref().map(serde_json::from_str).transpose();
        let tools = row.tools.as_deref().map(serde_json::from_str).transpose();
        Ok(Self {
            id: row.id.parse().map_err(|error: plugbay_domain::IdError| bad(error.to_string()))?,
            secret: row.secret_sha256.parse().map_err(|error: plugbay_domain::DigestError| bad(error.to_string()))?,
            scopes: ScopeSet::new(scopes).ok_or_else(|| bad("no scopes".to_owned()))?,
            plugins: plugins.map_err(|error| bad(error.to_string()))?,
            tools: tools.map_err(|error| bad(error.to_string()))?,
            read_only: row.read_only,
            rate: rate.map_err(|error| bad(error.to_string()))?,
            created_at: time(row.created_at)?,
            expires_at: row.expires_at.map(time).transpose()?,
            last_used_at: row.last_used_at.map(time).transpose()?,
            revoked_at: row.revoked_at.map(time).transpose()?,
            label: row.label,
        })
    }
}

/// Adds a token.
pub async fn insert(connection: &mut SqliteConnection, token: &TokenRecord) -> Result<(), StoreError> {
    let (id, secret) = (token.id.to_string(), token.secret.to_hex());
    let json =
        |value: Result<String, serde_json::Error>| value.map_err(|error| StoreError::bad_row("tokens", &id, error));
    let scopes = json(serde_json::to_string(token.scopes.as_slice()))?;
    let plugins = token.plugins.as_ref().map(|plugins| json(serde_json::to_string(plugins))).transpose()?;
    let tools = token.tools.as_ref().map(|tools| json(serde_json::to_string(tools))).transpose()?;
    let (created_at, expires_at) = (token.created_at.as_millis(), token.expires_at.map(Timestamp::as_millis));
    let rate = token.rate.map(RequestRate::get);
    sqlx::query!(
        "INSERT INTO tokens (id, secret_sha256, label, scopes, plugins, tools, read_only, rate, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        secret,
        token.label,
        scopes,
        plugins,
        tools,
        token.read_only,
        rate,
        created_at,
        expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Every token, revoked ones included, oldest first.
pub async fn list(connection: &mut SqliteConnection) -> Result<Vec<TokenRecord>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, secret_sha256, label, scopes, plugins, tools, read_only AS "read_only: bool", rate, created_at,
                  expires_at, last_used_at, revoked_at
         FROM tokens
         ORDER BY id"#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TokenRecord::try_from).collect()
}

/// Ends a token.
pub async fn revoke(connection: &mut SqliteConnection, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
    let (id, now) = (id.to_string(), now.as_millis());
    sqlx::query!("UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", now, id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Notes when a token was last used.
pub async fn touch(connection: &mut SqliteConnection, id: TokenId, used_at: Timestamp) -> Result<(), StoreError> {
    let (id, used_at) = (id.to_string(), used_at.as_millis());
    sqlx::query!("UPDATE tokens SET last_used_at = ? WHERE id = ?", used_at, id).execute(connection).await?;
    Ok(())
}
