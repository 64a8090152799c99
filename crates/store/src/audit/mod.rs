//! The audit chain. Each row's hash is a keyed hash over the row and the hash before it, so that an edited, removed or
//! moved row is found. The sealed head, once in the database and once in a file beside it, finds rows that were cut off
//! at the end; what each row lists of the registry finds changes that no row reports.

mod head_file;
mod registered;
mod verify;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use sqlx::SqliteConnection;

pub(super) use head_file::HeadFile;
use registered::Lacks;
pub(super) use registered::watch;
pub use verify::{Verdict, taken_over, verify};

use super::{StoreError, WriteTransaction};
use plugbay_domain::{PluginName, Timestamp};

/// Rows read at a time while the chain is verified.
const BATCH: i64 = 1_000;

/// The keys of the chain, derived from the master key.
#[derive(Clone)]
pub struct AuditKey {
    rows: [u8; 32],
    head: [u8; 32],
}

impl std::fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditKey([redacted])")
    }
}

/// What happened, before it has a place in the chain.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// When.
    pub at: Timestamp,
    /// Id of the token that did it, or `service`.
    pub actor: String,
    /// What was done, such as `plugin.installed`.
    pub action: &'static str,
    /// The plugin it was done to.
    pub plugin: Option<String>,
    /// Particulars, without secrets or personal data.
    pub detail: Value,
    /// The request that did it.
    pub request_id: Option<String>,
}

/// One row of the chain.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Place in the chain, from 1.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// To which plugin.
    pub plugin: Option<String>,
    /// Particulars.
    pub detail: Value,
    /// By which request.
    pub request_id: Option<String>,
    /// The row's link in the chain.
    pub hash: String,
}

/// Where the chain ends: the row's number and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last row; 0 for an empty chain.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl std::str::FromStr for Head {
    type Err = HeadError;

    fn from_str(text: &str) -> Result<Self, HeadError> {
        text.split_once(':')
            .and_then(|(seq, hash)| Some(Self { seq: seq.parse().ok()?, hash: hash.to_ascii_lowercase() }))
            .filter(|head| head.seq > 0 && head.hash.len() == 64)
            .ok_or_else(|| HeadError(plugbay_domain::escape(text)))
    }
}

/// The text does not name a head.
#[derive(Debug, thiserror::Error)]
#[error("expected SEQ:HASH as `plugbay audit verify` prints it, found `{0}`")]
pub struct HeadError(String);

impl AuditKey {
    /// Derives the keys from the master key.
    pub fn derive(master: &[u8; 32]) -> Self {
        Self { rows: keyed(master, &[b"plugbay audit rows 1"]), head: keyed(master, &[b"plugbay audit head 1"]) }
    }

    fn link(&self, before: &str, seq: i64, at: i64, fields: &[&str]) -> String {
        // Lengths go in with the fields, so that no two rows have the same bytes.
        let mut bytes = Vec::new();
        bytes.extend(seq.to_be_bytes());
        bytes.extend(at.to_be_bytes());
        for field in fields {
            bytes.extend((field.len() as u64).to_be_bytes());
            bytes.extend(field.as_bytes());
        }
        HEXLOWER.encode(&keyed(&self.rows, &[before.as_bytes(), &bytes]))
    }

    fn link_of(&self, before: &str, row: &Row) -> String {
        let (plugin, request_id) = (optional(row.plugin.as_deref()), optional(row.request_id.as_deref()));
        let fields = [row.actor.as_str(), &row.action, &plugin, &row.detail, &request_id];
        // Rows from before the log listed changes have one field less, and keep their hash.
        match &row.changes {
            None => self.link(before, row.seq, row.at, &fields),
            Some(changes) => self.link(before, row.seq, row.at, &[&fields[..], &[changes]].concat()),
        }
    }

    fn seal(&self, head: &Head) -> String {
        HEXLOWER.encode(&keyed(&self.head, &[&head.seq.to_be_bytes(), head.hash.as_bytes()]))
    }
}

impl AuditKey {
    /// The head that a line of the file beside the database names, if its seal fits.
    fn sealed(&self, line: &str) -> Option<Head> {
        let (head, seal) = line.rsplit_once(':')?;
        let head: Head = head.parse().ok()?;
        (self.seal(&head) == seal).then_some(head)
    }
}

pub(super) fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Appends a row. Call it in the transaction of the change that it reports; it lists every row that this wrote.
pub async fn append(tx: &mut WriteTransaction, key: &AuditKey, entry: &NewEntry) -> Result<Head, StoreError> {
    let before = head(tx).await?.unwrap_or(Head { seq: 0, hash: String::new() });
    let lacking = lacks(tx).await?;
    registered::touch(tx, lacking).await?;
    let listed = registered::take_touched(tx).await?;
    let changes =
        serde_json::to_string(&listed).map_err(|error| StoreError::bad_row("audit", before.seq + 1, error))?;
    let row = Row {
        seq: before.seq + 1,
        at: entry.at.as_millis(),
        actor: entry.actor.clone(),
        action: entry.action.to_owned(),
        plugin: entry.plugin.clone(),
        detail: entry.detail.to_string(),
        request_id: entry.request_id.clone(),
        hash: String::new(),
        changes: Some(changes),
    };
    let hash = key.link_of(&before.hash, &row);
    sqlx::query!(
        "INSERT INTO audit (seq, at, actor, action, plugin, detail, request_id, hash, changes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row.seq,
        row.at,
        row.actor,
        row.action,
        row.plugin,
        row.detail,
        row.request_id,
        hash,
        row.changes,
    )
    .execute(&mut **tx)
    .await?;
    let head = Head { seq: row.seq, hash };
    store_head(tx, key, &head).await?;
    tx.note_head(format!("{head}:{}", key.seal(&head)));
    Ok(head)
}

/// Whether the log is from before its rows listed what they wrote, or some of it. Its next row then lists what is there.
pub async fn lists_too_little(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    Ok(lacks(connection).await? != Lacks::Nothing)
}

async fn lacks(connection: &mut SqliteConnection) -> Result<Lacks, StoreError> {
    let last = sqlx::query_scalar!("SELECT changes FROM audit ORDER BY seq DESC LIMIT 1").fetch_optional(connection);
    // An empty log is of an empty database.
    Ok(last.await?.map_or(Lacks::Nothing, |changes| Lacks::of(changes.as_deref())))
}

async fn store_head(connection: &mut SqliteConnection, key: &AuditKey, head: &Head) -> Result<(), StoreError> {
    let seal = key.seal(head);
    sqlx::query!(
        "INSERT INTO audit_head (one, seq, hash, seal) VALUES (1, ?, ?, ?)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal",
        head.seq,
        head.hash,
        seal,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// An absent field must not hash like an empty one.
fn optional(field: Option<&str>) -> String {
    field.map_or_else(String::new, |text| format!("={text}"))
}

/// The end of the chain, unverified.
pub async fn head(connection: &mut SqliteConnection) -> Result<Option<Head>, StoreError> {
    Ok(sqlx::query_as!(Head, "SELECT seq, hash FROM audit_head WHERE one = 1").fetch_optional(connection).await?)
}

/// Which rows to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only rows about this plugin.
    pub plugin: Option<PluginName>,
    /// Only rows of this actor.
    pub actor: Option<String>,
    /// Only rows from this time on.
    pub since: Option<Timestamp>,
    /// Only rows before this one.
    pub before: Option<i64>,
}

#[derive(Debug)]
struct Row {
    seq: i64,
    at: i64,
    actor: String,
    action: String,
    plugin: Option<String>,
    detail: String,
    request_id: Option<String>,
    hash: String,
    changes: Option<String>,
}

impl TryFrom<Row> for Entry {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let bad = |found: String| StoreError::bad_row("audit", row.seq, found);
        Ok(Self {
            seq: row.seq,
            at: Timestamp::from_millis(row.at).ok_or_else(|| bad(format!("time {}", row.at)))?,
            detail: serde_json::from_str(&row.detail).map_err(|error| bad(error.to_string()))?,
            actor: row.actor,
            action: row.action,
            plugin: row.plugin,
            request_id: row.request_id,
            hash: row.hash,
        })
    }
}

/// Lists rows, newest first.
pub async fn list(connection: &mut SqliteConnection, filter: &Filter, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let plugin = filter.plugin.as_ref().map(PluginName::as_str);
    let actor = filter.actor.as_deref();
    let since = filter.since.map(Timestamp::as_millis);
    let rows = sqlx::query_as!(
        Row,
        "SELECT seq, at, actor, action, plugin, detail, request_id, hash, changes
         FROM audit
         WHERE (?1 IS NULL OR plugin = ?1)
           AND (?2 IS NULL OR actor = ?2)
           AND (?3 IS NULL OR at >= ?3)
           AND (?4 IS NULL OR seq < ?4)
         ORDER BY seq DESC
         LIMIT ?5",
        plugin,
        actor,
        since,
        filter.before,
        limit,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// Gives every row a new link, under another key, and seals the head.
pub(super) async fn link_anew(connection: &mut SqliteConnection, key: &AuditKey) -> Result<(), StoreError> {
    let mut last = Head { seq: 0, hash: String::new() };
    loop {
        let rows = batch_after(connection, last.seq).await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let hash = key.link_of(&last.hash, &row);
            sqlx::query!("UPDATE audit SET hash = ? WHERE seq = ?", hash, row.seq).execute(&mut *connection).await?;
            last = Head { seq: row.seq, hash };
        }
    }
    store_head(connection, key, &last).await?;
    // What is there may have been changed, too. It is listed as it was found.
    registered::touch(connection, Lacks::Everything).await
}

/// The rows that follow, as many as are read at a time.
async fn batch_after(connection: &mut SqliteConnection, seq: i64) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT seq, at, actor, action, plugin, detail, request_id, hash, changes
         FROM audit
         WHERE seq > ?
         ORDER BY seq
         LIMIT ?",
        seq,
        BATCH,
    );
    Ok(rows.fetch_all(connection).await?)
}

async fn sealed_head(connection: &mut SqliteConnection) -> Result<Option<(Head, String)>, StoreError> {
    let row = sqlx::query!("SELECT seq, hash, seal FROM audit_head WHERE one = 1").fetch_optional(connection).await?;
    Ok(row.map(|row| (Head { seq: row.seq, hash: row.hash }, row.seal)))
}
