//! Runs what was ordered, one statement at a time.

use rusqlite::Connection;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::super::message::{Statement, Trouble, Work};
use super::Hello;
use super::bind::bind;
use super::columns::gives_command;
use super::judge::{Change, Judge};
use super::rows::{Room, collect};
use super::trouble::Failure;

/// Statements of one transaction.
const MAX_STATEMENTS: usize = 1_000;

/// An open database.
#[derive(Debug)]
pub(super) struct Bench {
    connection: Connection,
    judge: Judge,
    room: Room,
}

impl Bench {
    pub(super) fn new(connection: Connection, judge: Judge, hello: &Hello) -> Self {
        Self { connection, judge, room: Room { rows: hello.rows, bytes: hello.result_bytes } }
    }

    /// Whether the database has a write-ahead log. Its owner may give it one at any time.
    pub(super) fn has_log(&self) -> bool {
        self.judge.journal_mode(&self.connection).is_ok_and(|mode| mode.eq_ignore_ascii_case("wal"))
    }

    /// Whether no transaction is open.
    pub(super) fn is_at_rest(&self) -> bool {
        self.connection.is_autocommit()
    }

    pub(super) fn work(&mut self, work: &Work) -> Result<Box<RawValue>, Failure> {
        match work {
            Work::Query(statement) => self.query(statement),
            Work::Execute(statement) => self.execute(statement).map(|changed| raw(&changed)),
            Work::Transaction(statements) => self.transaction(statements),
        }
    }

    fn query(&self, statement: &Statement) -> Result<Box<RawValue>, Failure> {
        let mut prepared = self.prepare(&statement.sql)?;
        if !self.judge.seen().reads || !prepared.readonly() {
            return Err(Failure::refused("db.query runs one statement that reads, such as SELECT"));
        }
        bind(&mut prepared, statement.params.as_deref())?;
        collect(&mut prepared, self.room).map_err(|failure| self.explain(failure))
    }

    fn execute(&self, statement: &Statement) -> Result<serde_json::Value, Failure> {
        let mut prepared = self.prepare(&statement.sql)?;
        if self.judge.seen().change.is_none() {
            return Err(Failure::refused("db.execute runs INSERT, REPLACE, UPDATE and DELETE"));
        }
        if prepared.column_count() > 0 {
            return Err(Failure::refused("db.execute gives no rows back: leave out RETURNING and EXPLAIN"));
        }
        let table = self.judge.seen().inserts_into.clone();
        if let Some(table) = table
            && gives_command(&self.connection, &statement.sql, &table)?
        {
            let rule = format!("rows are inserted into `{table}`, never commands to its index: leave out that column");
            return Err(Failure::refused(rule));
        }
        bind(&mut prepared, statement.params.as_deref())?;
        let rows = prepared.raw_execute().map_err(|error| self.explain(error.into()))?;
        let inserted = self.judge.seen().change == Some(Change::Insert) && rows > 0;
        let last_id = inserted.then(|| self.connection.last_insert_rowid());
        Ok(json!({"rows_affected": rows, "last_id": last_id}))
    }

    fn transaction(&self, statements: &[Statement]) -> Result<Box<RawValue>, Failure> {
        if statements.is_empty() || statements.len() > MAX_STATEMENTS {
            let found = statements.len();
            return Err(Failure::invalid(format!("`statements` has 1 to {MAX_STATEMENTS} entries, found {found}")));
        }
        self.judge.ours(&self.connection, "BEGIN IMMEDIATE")?;
        let done = self.execute_all(statements).and_then(|changed| {
            self.judge.ours(&self.connection, "COMMIT")?;
            Ok(raw(&json!({ "results": changed })))
        });
        if done.is_err() && !self.connection.is_autocommit() {
            // What cannot be undone here is undone by whoever opens the file next; see `is_at_rest`.
            self.judge.ours(&self.connection, "ROLLBACK").ok();
        }
        done
    }

    fn execute_all(&self, statements: &[Statement]) -> Result<Vec<serde_json::Value>, Failure> {
        let each = statements.iter().enumerate().map(|(index, statement)| {
            self.execute(statement).map_err(|Failure { trouble, text }| {
                Failure::new(trouble, format!("statement {}: {text}; none of them was made", index + 1))
            })
        });
        each.collect()
    }

    /// Compiles exactly one statement; the judge sees what it would do.
    fn prepare(&self, sql: &str) -> Result<rusqlite::Statement<'_>, Failure> {
        // SQLite stops reading there, and would never see what follows.
        if sql.contains('\0') {
            return Err(Failure::refused("a statement has no NUL in it"));
        }
        self.judge.begin();
        self.connection.prepare(sql).map_err(|error| self.explain(error.into()))
    }

    /// Says which rule it was, where SQLite only says that there is one.
    fn explain(&self, failure: Failure) -> Failure {
        match self.judge.seen().refusal.take() {
            Some(rule) if failure.trouble == Trouble::Refused => Failure::refused(rule),
            _ => failure,
        }
    }
}

fn raw(value: &serde_json::Value) -> Box<RawValue> {
    to_raw_value(value).expect("JSON serialises")
}
