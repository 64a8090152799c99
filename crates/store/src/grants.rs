//! Decisions about permissions, and risks that were accepted. A decision that ended stays as a record.

use sqlx::SqliteConnection;

use super::StoreError;
use plugbay_domain::{Decision, Digest, Permission, PermissionUnit, PluginId, Risk, Timestamp, Word, words};

words! {
    /// Why a decision does not hold any more.
    EndReason {
        /// An administrator took it back.
        Revoked = "revoked",
        /// Its time was over.
        Expired = "expired",
        /// A later decision is about the same.
        Replaced = "replaced",
        /// Another version serves.
        Superseded = "superseded",
    }
}

/// How a decision ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantEnd {
    /// When.
    pub at: Timestamp,
    /// Id of the token that ended it, or `service`.
    pub by: String,
    /// Why.
    pub reason: EndReason,
    /// What was said about it.
    pub note: Option<String>,
}

/// A decision about one unit, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// Its number; 0 before it is stored.
    pub id: i64,
    /// The plugin.
    pub plugin_id: PluginId,
    /// The archive that was decided about.
    pub digest: Digest,
    /// What was decided about.
    pub unit: PermissionUnit,
    /// What was decided.
    pub decision: Decision,
    /// Id of the token that decided.
    pub by: String,
    /// Its label at that time.
    pub label: String,
    /// When.
    pub at: Timestamp,
    /// What was said about it.
    pub note: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The archive it was decided about first, where an update carried it over.
    pub carried_from: Option<Digest>,
    /// How it ended, if it has.
    pub end: Option<GrantEnd>,
}

impl GrantRecord {
    /// Tells whether the decision holds at this time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.end.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

/// Who accepted a risk.
#[derive(Clone, Debug)]
pub struct AcceptedRisk {
    /// The risk.
    pub risk: Risk,
    /// The archive.
    pub digest: Digest,
    /// Id of the token.
    pub by: String,
    /// Its label at that time.
    pub label: String,
    /// When.
    pub at: Timestamp,
    /// What was said about it.
    pub note: Option<String>,
}

#[derive(Debug)]
struct Row {
    id: i64,
    plugin_id: String,
    digest: String,
    permission: String,
    scope: String,
    decision: String,
    decided_by: String,
    label: String,
    decided_at: i64,
    note: Option<String>,
    expires_at: Option<i64>,
    carried_from: Option<String>,
    ended_at: Option<i64>,
    ended_by: Option<String>,
    ended_reason: Option<String>,
    ended_note: Option<String>,
}

/// Finds a stored word.
fn word<T: Word>(text: &str) -> Option<T> {
    T::ALL.iter().copied().find(|word| word.as_str() == text)
}

impl TryFrom<Row> for GrantRecord {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let bad = |found: &dyn std::fmt::Display| StoreError::bad_row("grants", row.id, found);
        let time = |millis: i64| Timestamp::from_millis(millis).ok_or_else(|| bad(&format!("time {millis}")));
        let digest = |text: &str| text.parse::<Digest>().map_err(|error| bad(&error));
        // Never read as the whole permission by mistake: the scope is one list of at most one name.
        let scope: Vec<String> = serde_json::from_str(&row.scope).map_err(|error| bad(&error))?;
        let permission: Permission = row.permission.parse().map_err(|error| bad(&error))?;
        let unit = match scope.as_slice() {
            [] => PermissionUnit::whole(permission),
            [part] => PermissionUnit::part(permission, part).map_err(|error| bad(&error))?,
            _ => return Err(bad(&"a scope of several names")),
        };
        let end = match (row.ended_at, &row.ended_by, &row.ended_reason) {
            (Some(at), Some(by), Some(reason)) => Some(GrantEnd {
                at: time(at)?,
                by: by.clone(),
                reason: word(reason).ok_or_else(|| bad(reason))?,
                note: row.ended_note.clone(),
            }),
            _ => None,
        };
        Ok(Self {
            id: row.id,
            plugin_id: row.plugin_id.parse().map_err(|error: plugbay_domain::IdError| bad(&error))?,
            digest: digest(&row.digest)?,
            unit,
            decision: word(&row.decision).ok_or_else(|| bad(&row.decision))?,
            at: time(row.decided_at)?,
            expires_at: row.expires_at.map(time).transpose()?,
            carried_from: row.carried_from.as_deref().map(digest).transpose()?,
            end,
            by: row.decided_by,
            label: row.label,
            note: row.note,
        })
    }
}

/// Adds a decision and gives it its number.
pub async fn insert(connection: &mut SqliteConnection, record: &mut GrantRecord) -> Result<(), StoreError> {
    let (plugin, digest) = (record.plugin_id.to_string(), record.digest.to_hex());
    let (permission, decision) = (record.unit.permission.as_str(), record.decision.as_str());
    let scope: Vec<&String> = record.unit.part.iter().collect();
    let scope = serde_json::to_string(&scope).map_err(|error| StoreError::bad_row("grants", &plugin, error))?;
    let (at, expires_at) = (record.at.as_millis(), record.expires_at.map(Timestamp::as_millis));
    let carried_from = record.carried_from.map(Digest::to_hex);
    let done = sqlx::query!(
        "INSERT INTO grants (plugin_id, digest, permission, scope, decision, decided_by, label, decided_at, note,
                             expires_at, carried_from)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        plugin,
        digest,
        permission,
        scope,
        decision,
        record.by,
        record.label,
        at,
        record.note,
        expires_at,
        carried_from,
    )
    .execute(connection)
    .await?;
    record.id = done.last_insert_rowid();
    Ok(())
}

/// Ends a decision that holds.
pub async fn end(connection: &mut SqliteConnection, id: i64, end: &GrantEnd) -> Result<(), StoreError> {
    let (at, reason) = (end.at.as_millis(), end.reason.as_str());
    sqlx::query!(
        "UPDATE grants SET ended_at = ?, ended_by = ?, ended_reason = ?, ended_note = ?
         WHERE id = ? AND ended_at IS NULL",
        at,
        end.by,
        reason,
        end.note,
        id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Every decision about a plugin, ended ones included, oldest first.
pub async fn history(connection: &mut SqliteConnection, plugin: PluginId) -> Result<Vec<GrantRecord>, StoreError> {
    let plugin = plugin.to_string();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, plugin_id, digest, permission, scope, decision, decided_by, label, decided_at, note, expires_at,
                carried_from, ended_at, ended_by, ended_reason, ended_note
         FROM grants
         WHERE plugin_id = ?
         ORDER BY id",
        plugin,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(GrantRecord::try_from).collect()
}

/// The decisions that were not ended, about one plugin or about all, oldest first. Some may have expired just now.
pub async fn list_open(
    connection: &mut SqliteConnection,
    plugin: Option<PluginId>,
) -> Result<Vec<GrantRecord>, StoreError> {
    let plugin = plugin.map(|id| id.to_string());
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, plugin_id, digest, permission, scope, decision, decided_by, label, decided_at, note, expires_at,
                carried_from, ended_at, ended_by, ended_reason, ended_note
         FROM grants
         WHERE ended_at IS NULL AND (?1 IS NULL OR plugin_id = ?1)
         ORDER BY id",
        plugin,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(GrantRecord::try_from).collect()
}

/// Marks the grants that end before `until` and that nobody was warned about yet, and gives them back.
pub async fn take_unwarned(
    connection: &mut SqliteConnection,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<GrantRecord>, StoreError> {
    let (until, now) = (until.as_millis(), now.as_millis());
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, plugin_id, digest, permission, scope, decision, decided_by, label, decided_at, note, expires_at,
                carried_from, ended_at, ended_by, ended_reason, ended_note
         FROM grants
         WHERE ended_at IS NULL AND warned_at IS NULL AND expires_at <= ?
         ORDER BY id",
        until,
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!(
        "UPDATE grants SET warned_at = ? WHERE ended_at IS NULL AND warned_at IS NULL AND expires_at <= ?",
        now,
        until
    )
    .execute(connection)
    .await?;
    rows.into_iter().map(GrantRecord::try_from).collect()
}

/// Remembers that a risk was accepted; a later acceptance takes the place of an earlier one.
pub async fn accept(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    accepted: &AcceptedRisk,
) -> Result<(), StoreError> {
    let (plugin, digest, risk) = (plugin.to_string(), accepted.digest.to_hex(), accepted.risk.as_str());
    let at = accepted.at.as_millis();
    sqlx::query!(
        "INSERT INTO accepted_risks (plugin_id, digest, risk, accepted_by, label, accepted_at, note)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (plugin_id, digest, risk) DO UPDATE SET accepted_by = excluded.accepted_by,
             label = excluded.label, accepted_at = excluded.accepted_at, note = excluded.note",
        plugin,
        digest,
        risk,
        accepted.by,
        accepted.label,
        at,
        accepted.note,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The risks that were accepted for a plugin, for any of its archives.
pub async fn list_accepted(
    connection: &mut SqliteConnection,
    plugin: PluginId,
) -> Result<Vec<AcceptedRisk>, StoreError> {
    let id = plugin.to_string();
    let rows = sqlx::query!(
        "SELECT digest, risk, accepted_by, label, accepted_at, note FROM accepted_risks WHERE plugin_id = ? ORDER BY risk",
        id,
    )
    .fetch_all(connection)
    .await?;
    let read = |digest: &str, risk: &str, at: i64| {
        let bad = |found: &dyn std::fmt::Display| StoreError::bad_row("accepted_risks", plugin, found);
        let digest = digest.parse::<Digest>().map_err(|error| bad(&error))?;
        let risk = word::<Risk>(risk).ok_or_else(|| bad(&risk))?;
        Ok::<_, StoreError>((digest, risk, Timestamp::from_millis(at).ok_or_else(|| bad(&format!("time {at}")))?))
    };
    rows.into_iter()
        .map(|row| {
            let (digest, risk, at) = read(&row.digest, &row.risk, row.accepted_at)?;
            Ok(AcceptedRisk { risk, digest, by: row.accepted_by, label: row.label, at, note: row.note })
        })
        .collect()
}

/// Forgets that risks were accepted, so that they have to be accepted again. How the bytes look does not change with what
/// they are granted.
pub async fn forget_accepted(
    connection: &mut SqliteConnection,
    plugin: PluginId,
    digest: Digest,
) -> Result<(), StoreError> {
    let (plugin, digest) = (plugin.to_string(), digest.to_hex());
    sqlx::query!(
        "DELETE FROM accepted_risks WHERE plugin_id = ? AND digest = ? AND risk <> 'scan-suspicious'",
        plugin,
        digest
    )
    .execute(connection)
    .await?;
    Ok(())
}
