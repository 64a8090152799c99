//! Which rows of the registry an action wrote, and whether those that are there are the ones that the log says were
//! written last.
//!
//! The connection that writes notes by itself which rows change (triggers in its own temporary schema, where nobody else
//! can put anything). The next row of the audit log takes the notes and lists each row with the hash of its content. So
//! no change of the registry can forget to say what it wrote, and a row that came in past the service is in no list.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use crate::StoreError;
use plugbay_domain::{Digest, escape};

/// Rows that are named when several do not fit.
const NAMED: usize = 5;

/// One table of the registry.
#[derive(Debug)]
struct Kind {
    table: &'static str,
    /// The columns that name a row.
    key: &'static [&'static str],
    /// The other columns that decisions depend on. What changes by mere use is not among them.
    content: &'static [&'static str],
    /// Such columns that came after the log began to list rows, in the order in which they came. They are part of the
    /// content where they say something: rows from before do not, and keep their hash.
    later: &'static [LaterColumns],
}

/// Columns that came at one time.
#[derive(Debug)]
struct LaterColumns {
    columns: &'static [&'static str],
    /// Whether they say something.
    is_set: &'static str,
}

/// A table that came to the list when logs listed the others already. It is compared once a row of the log says that it
/// lists this one, too.
const LATER: &str = "snapshots";

/// Everything that says who may do what: what plugins keep is theirs.
///
/// Not listed are: `sandbox_users`, as no number can stand there twice, and another one leads to nothing: a sandbox sees no
/// volume but its own, whose files it then cannot read; `idempotency`, whose answers are told again and never acted on;
/// and `plugins.last_update`, which says how an update is told and whether it may go back by itself. What it goes back to
/// is `snapshots`, and the floor that it takes back is never below the version that serves then (`LastUpdate::floor_after`).
const KINDS: &[Kind] = &[
    Kind {
        table: "tokens",
        key: &["id"],
        content: &["secret_sha256", "label", "scopes", "plugins", "created_at", "expires_at", "revoked_at"],
        later: &[
            LaterColumns { columns: &["rate"], is_set: "rate IS NOT NULL" },
            LaterColumns { columns: &["tools", "read_only"], is_set: "tools IS NOT NULL OR read_only IS NOT 0" },
        ],
    },
    Kind {
        table: "keys",
        key: &["key_id"],
        content: &["public_key", "label", "names", "not_before", "not_after", "revoked_at", "reason", "added_at"],
        later: &[],
    },
    Kind {
        table: "grants",
        key: &["id"],
        content: &[
            "plugin_id",
            "digest",
            "permission",
            "scope",
            "decision",
            "decided_by",
            "label",
            "decided_at",
            "note",
            "expires_at",
            "carried_from",
            "ended_at",
            "ended_by",
            "ended_reason",
            "ended_note",
        ],
        later: &[],
    },
    Kind {
        table: "accepted_risks",
        key: &["plugin_id", "digest", "risk"],
        content: &["accepted_by", "label", "accepted_at", "note"],
        later: &[],
    },
    Kind {
        table: "plugins",
        key: &["id"],
        content: &[
            "name",
            "status",
            "serving",
            "pending",
            "pending_for",
            "signer_changed",
            "quarantine_reason",
            "generation",
            "limits",
            "installed_at",
        ],
        later: &[],
    },
    Kind {
        table: "versions",
        key: &["plugin_id", "version"],
        content: &[
            "digest",
            "manifest",
            "default_config",
            "files",
            "signature_status",
            "key_id",
            "signature",
            "archive_bytes",
            "installed_at",
        ],
        later: &[LaterColumns { is_set: "scan IS NOT NULL", columns: &["scan"] }],
    },
    Kind { table: "floors", key: &["name"], content: &["version", "ever_signed"], later: &[] },
    Kind { table: "configs", key: &["plugin_id"], content: &["revision", "fields"], later: &[] },
    Kind { table: "secrets", key: &["plugin_id", "field"], content: &["revision", "nonce", "sealed"], later: &[] },
    Kind { table: LATER, key: &["plugin_id"], content: &["generation", "version", "taken_at"], later: &[] },
];

/// A row as the log lists it: table, key, and the hash of its content; none when it is gone.
pub(super) type Listed = (String, String, Option<String>);

/// What the log says was written last: for table and key, in which of its rows, with which hash.
#[derive(Debug, Default)]
pub(super) struct Registered {
    rows: BTreeMap<(String, String), (i64, Option<String>)>,
    /// Rows of [`LATER`] are among them.
    has_later: bool,
}

/// What every row of the log lists first: that it lists rows of [`LATER`]. No table has that name, and versions from before
/// take it for a row that is gone.
fn mark() -> Listed {
    (String::new(), LATER.to_owned(), None)
}

/// What the next row of the log has to list beside what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacks {
    Nothing,
    /// What stands in [`LATER`].
    Later,
    /// Whatever stands anywhere.
    Everything,
}

impl Lacks {
    /// By what the last row lists.
    pub(super) fn of(last: Option<&str>) -> Self {
        match last {
            None => Self::Everything,
            Some(changes) => match serde_json::from_str::<Vec<Listed>>(changes) {
                Ok(listed) if listed.first() == Some(&mark()) => Self::Nothing,
                _ => Self::Later,
            },
        }
    }
}

impl Kind {
    fn of(table: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.table == table)
    }

    /// The columns of the key as one text, of `NEW.`, `OLD.` or the table itself. None of them holds the separator, but the
    /// last one, of which there is nothing to be told apart.
    fn key_text(&self, of: &str) -> String {
        let columns: Vec<_> = self.key.iter().map(|column| format!("CAST({of}{column} AS TEXT)")).collect();
        columns.join(" || ' ' || ")
    }

    /// The whole row as one text with one reading. Blobs are no JSON.
    fn content_text(&self) -> String {
        let columns = self.key.iter().chain(self.content);
        let columns: Vec<_> = columns
            .map(|column| match *column {
                "nonce" | "sealed" => format!("HEX({column})"),
                other => other.to_owned(),
            })
            .collect();
        let mut columns = columns.join(", ");
        let mut text = format!("JSON_ARRAY({columns})");
        // Each has another length, so no two contents have one text.
        for later in self.later {
            columns = format!("{columns}, {}", later.columns.join(", "));
            text = format!("IIF({}, JSON_ARRAY({columns}), {text})", later.is_set);
        }
        text
    }

    fn triggers(&self) -> String {
        let Self { table, key, content, later } = self;
        let columns = key.iter().chain(*content).chain(later.iter().flat_map(|later| later.columns));
        let differs: Vec<_> = columns.map(|column| format!("OLD.{column} IS NOT NEW.{column}")).collect();
        let trigger = |event: &str, condition: &str, sides: &[&str]| {
            let note = |side: &&str| format!("INSERT INTO touched VALUES ('{table}', {}); ", self.key_text(side));
            let notes: String = sides.iter().map(note).collect();
            format!("CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table} {condition} BEGIN {notes}END;\n")
        };
        [
            trigger("INSERT", "", &["NEW."]),
            trigger("UPDATE", &format!("WHEN {}", differs.join(" OR ")), &["OLD.", "NEW."]),
            trigger("DELETE", "", &["OLD."]),
        ]
        .concat()
    }
}

/// Lets a connection note which rows it writes. Rows are noted as often as they are written: within a trigger, how
/// conflicts are resolved is decided by the statement that fires it.
pub(crate) async fn watch(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut sql =
        "PRAGMA temp_store = MEMORY;\nCREATE TEMP TABLE touched (kind TEXT NOT NULL, key TEXT NOT NULL) STRICT;\n"
            .to_owned();
    for kind in KINDS {
        sql.push_str(&kind.triggers());
    }
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Takes the notes: every row that was written since the last row of the log.
pub(super) async fn take_touched(connection: &mut SqliteConnection) -> Result<Vec<Listed>, StoreError> {
    let touched: Vec<(String, String)> =
        sqlx::query_as("SELECT DISTINCT kind, key FROM temp.touched ORDER BY kind, key")
            .fetch_all(&mut *connection)
            .await?;
    let mut listed = Vec::with_capacity(1 + touched.len());
    listed.push(mark());
    for (table, key) in touched {
        let Some(kind) = Kind::of(&table) else { continue };
        let sql = format!("SELECT {} FROM main.{table} WHERE {} = ?", kind.content_text(), kind.key_text(""));
        let content: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(&key).fetch_optional(&mut *connection).await?;
        listed.push((table, key, content.as_deref().map(hash)));
    }
    if listed.len() > 1 {
        sqlx::query("DELETE FROM temp.touched").execute(connection).await?;
    }
    Ok(listed)
}

/// Notes every row that is there, for a database from before the log listed any, or those that it did not list.
pub(super) async fn touch(connection: &mut SqliteConnection, lacks: Lacks) -> Result<(), StoreError> {
    let is_lacking = |kind: &&Kind| match lacks {
        Lacks::Nothing => false,
        Lacks::Later => kind.table == LATER,
        Lacks::Everything => true,
    };
    for kind in KINDS.iter().filter(is_lacking) {
        let (table, key) = (kind.table, kind.key_text(""));
        let sql = format!("INSERT INTO temp.touched SELECT '{table}', {key} FROM main.{table}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

fn hash(content: &str) -> String {
    Digest::from_bytes(Sha256::digest(content.as_bytes()).into()).to_hex()
}

impl Registered {
    /// Goes on with what a row of the log lists.
    pub(super) fn follow(&mut self, seq: i64, changes: &str) -> Result<(), serde_json::Error> {
        for (table, key, hash) in serde_json::from_str::<Vec<Listed>>(changes)? {
            self.has_later |= table.is_empty();
            self.rows.insert((table, key), (seq, hash));
        }
        Ok(())
    }

    /// Compares what is there with what the log says, in both directions. Tells what does not fit, in words.
    pub(super) async fn differences(mut self, connection: &mut SqliteConnection) -> Result<Option<String>, StoreError> {
        let (mut found, mut more) = (Vec::new(), 0);
        let mut note = |text: String| if found.len() < NAMED { found.push(text) } else { more += 1 };
        for kind in KINDS.iter().filter(|kind| self.has_later || kind.table != LATER) {
            let sql = format!("SELECT {}, {} FROM main.{}", kind.key_text(""), kind.content_text(), kind.table);
            let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut *connection);
            while let Some(row) = rows.try_next().await? {
                let (key, content): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                let shown = format!("`{}` of table `{}`", escape(&key), kind.table);
                match self.rows.remove(&(kind.table.to_owned(), key)) {
                    Some((_, Some(recorded))) if recorded == hash(&content) => {}
                    Some((seq, Some(_))) => note(format!("row {shown} is not what row {seq} of the log recorded")),
                    Some((seq, None)) => note(format!("row {shown} is there, and row {seq} of the log removed it")),
                    None => note(format!("row {shown} is not recorded by the log")),
                }
            }
        }
        for ((table, key), (seq, recorded)) in self.rows {
            if recorded.is_some() {
                note(format!(
                    "row `{}` of table `{table}` is missing, and row {seq} of the log recorded it",
                    escape(&key)
                ));
            }
        }
        if found.is_empty() {
            return Ok(None);
        }
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        Ok(Some(format!("{}{rest}", found.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Missing, Store};

    #[tokio::test]
    async fn a_column_that_came_later_changes_no_hash_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("plugbay.db"), Missing::Create).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let mut content = async |id: &str, later: &str| {
            let insert = format!(
                "INSERT INTO tokens (id, secret_sha256, label, scopes, created_at, rate, tools, read_only)
                 VALUES ('{id}', '{id}', 'x', '[]', 7, {later})"
            );
            sqlx::query(AssertSqlSafe(insert)).execute(&mut *tx).await.unwrap();
            let sql = format!("SELECT {} FROM tokens WHERE id = ?", Kind::of("tokens").unwrap().content_text());
            let text: String = sqlx::query_scalar(AssertSqlSafe(sql)).bind(id).fetch_one(&mut *tx).await.unwrap();
            text
        };
        // As it was hashed when there were no rates.
        assert_eq!(content("a", "NULL, NULL, 0").await, r#"["a","a","x","[]",null,7,null,null]"#);
        // As it was hashed when there were no tools.
        assert_eq!(content("b", "0, NULL, 0").await, r#"["b","b","x","[]",null,7,null,null,0]"#);
        assert_eq!(content("c", "5, NULL, 0").await, r#"["c","c","x","[]",null,7,null,null,5]"#);
        assert_eq!(content("d", "NULL, '[]', 0").await, r#"["d","d","x","[]",null,7,null,null,null,"[]",0]"#);
        assert_eq!(content("e", "5, NULL, 1").await, r#"["e","e","x","[]",null,7,null,null,5,null,1]"#);
    }
}
