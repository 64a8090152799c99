//! Judges what a statement would do while SQLite compiles it: what is not allowed here never runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::functions;

/// Tables that are no tables: they tell of the file, the process, or the settings.
const CLOSED_TABLES: &[&str] = &["dbstat", "fts3tokenize", "sqlite_dbpage", "sqlite_stmt", "bytecode", "tables_used"];

/// What full-text indexes read by themselves; they tell nothing.
const INNER_PRAGMAS: &[&str] = &["data_version", "page_size"];

const ROWS_ONLY: &str = "only rows are changed, never tables, views, triggers or indexes";

/// What was seen of the statement that is compiled.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) reads: bool,
    pub(super) change: Option<Change>,
    /// The table that the statement itself inserts into.
    pub(super) inserts_into: Option<String>,
    /// The first thing that is not allowed.
    pub(super) refusal: Option<String>,
    /// The statement is ours: it begins or ends a transaction, or asks for the mode of the journal.
    is_ours: bool,
}

/// What a statement does to rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It adds some.
    Insert,
    /// It changes or deletes some.
    Other,
}

#[derive(Clone, Debug)]
pub(super) struct Judge {
    writes: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Judge {
    pub(super) fn new(writes: bool) -> Self {
        Self { writes, seen: Arc::default() }
    }

    pub(super) fn attach(&self, connection: &Connection) -> rusqlite::Result<()> {
        let judge = self.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| judge.judge(context)))
    }

    /// Forgets the last statement.
    pub(super) fn begin(&self) {
        *self.seen() = Seen::default();
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement of ours.
    pub(super) fn ours(&self, connection: &Connection, sql: &str) -> rusqlite::Result<()> {
        self.seen().is_ours = true;
        let done = connection.execute_batch(sql);
        self.begin();
        done
    }

    /// How the database keeps what a change can be undone from.
    pub(super) fn journal_mode(&self, connection: &Connection) -> rusqlite::Result<String> {
        self.seen().is_ours = true;
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
        self.begin();
        mode
    }

    fn judge(&self, context: AuthContext<'_>) -> Authorization {
        let mut seen = self.seen();
        let is_of_ours = matches!(
            context.action,
            AuthAction::Transaction { .. } | AuthAction::Pragma { pragma_name: "journal_mode", pragma_value: None }
        );
        if seen.is_ours && is_of_ours {
            return Authorization::Allow;
        }
        match verdict(self.writes, context) {
            Ok(()) => {
                match context.action {
                    AuthAction::Select => seen.reads = true,
                    // What a trigger adds has no id that the statement could tell.
                    AuthAction::Insert { table_name } if context.accessor.is_none() => {
                        seen.change = Some(Change::Insert);
                        seen.inserts_into = Some(table_name.to_owned());
                    }
                    AuthAction::Insert { .. } | AuthAction::Update { .. } | AuthAction::Delete { .. } => {
                        seen.change.get_or_insert(Change::Other);
                    }
                    _ => {}
                }
                Authorization::Allow
            }
            Err(refusal) => {
                seen.refusal.get_or_insert(refusal);
                Authorization::Deny
            }
        }
    }
}

/// Whether this may be done; what is not listed may not.
fn verdict(writes: bool, context: AuthContext<'_>) -> Result<(), String> {
    let refuse = |text: &str| Err(text.to_owned());
    match context.action {
        AuthAction::Select | AuthAction::Recursive => Ok(()),
        AuthAction::Read { table_name, .. } => {
            let name = table_name.to_ascii_lowercase();
            if CLOSED_TABLES.contains(&name.as_str()) || name.starts_with("pragma_") {
                return Err(format!("`{name}` cannot be read"));
            }
            Ok(())
        }
        AuthAction::Function { function_name } if functions::is_offered(function_name) => Ok(()),
        AuthAction::Function { function_name } => Err(format!("the function `{function_name}` is not offered")),
        AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name } => {
            // To make a table is to insert a row there.
            if table_name.to_ascii_lowercase().starts_with("sqlite_") {
                return refuse(ROWS_ONLY);
            }
            if writes { Ok(()) } else { refuse("db.query only reads; db.execute changes rows") }
        }
        AuthAction::Pragma { pragma_name, pragma_value: None }
            if INNER_PRAGMAS.contains(&pragma_name.to_ascii_lowercase().as_str()) =>
        {
            Ok(())
        }
        AuthAction::Pragma { .. } => refuse("PRAGMA is not allowed"),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            refuse("no other file is opened: ATTACH, DETACH and VACUUM are not allowed")
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            refuse("transactions are not begun by statements; a list of statements is one")
        }
        AuthAction::Unknown { .. } => refuse("this kind of statement is not allowed"),
        // The rest makes, changes or removes something that is not a row.
        _ => refuse(ROWS_ONLY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_and_other_files_are_closed_to_both() {
        let context = |action| AuthContext { action, database_name: Some("main"), accessor: None };
        for writes in [false, true] {
            for action in [
                AuthAction::Attach { filename: "x" },
                AuthAction::Detach { database_name: "x" },
                AuthAction::Pragma { pragma_name: "writable_schema", pragma_value: Some("1") },
                AuthAction::Pragma { pragma_name: "data_version", pragma_value: Some("1") },
                AuthAction::CreateTable { table_name: "t" },
                AuthAction::CreateTempTable { table_name: "t" },
                AuthAction::CreateTrigger { trigger_name: "t", table_name: "t" },
                AuthAction::CreateVtable { table_name: "t", module_name: "fts5" },
                AuthAction::AlterTable { database_name: "main", table_name: "t" },
                AuthAction::Analyze { table_name: "t" },
                AuthAction::Reindex { index_name: "t" },
                AuthAction::Function { function_name: "load_extension" },
                AuthAction::Delete { table_name: "SQLITE_master" },
                AuthAction::Read { table_name: "DBSTAT", column_name: "name" },
                AuthAction::Unknown { code: 99, arg1: None, arg2: None },
            ] {
                assert!(verdict(writes, context(action)).is_err(), "{action:?}");
            }
            assert_eq!(verdict(writes, context(AuthAction::Insert { table_name: "t" })).is_ok(), writes);
            assert!(verdict(writes, context(AuthAction::Select)).is_ok());
        }
    }
}
