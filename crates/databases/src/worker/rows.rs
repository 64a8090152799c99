//! From rows to JSON, as far as they fit. A text that is no UTF-8 is given like a blob, so that nothing is lost.

use data_encoding::BASE64;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement};
use serde_json::value::RawValue;

use super::super::message::Trouble;
use super::trouble::Failure;

/// Bytes that stand around columns and rows.
const FRAME: usize = 64;

/// What one answer may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// Runs a statement to its end, or until there is no more room.
pub(super) fn collect(statement: &mut Statement<'_>, room: Room) -> Result<Box<RawValue>, Failure> {
    let columns = json(&statement.column_names());
    let width = statement.column_count();
    let Some(most) = room.bytes.checked_sub(columns.len().saturating_add(FRAME)) else {
        return Err(Failure::new(Trouble::Limit, "the names of the columns alone exceed `databases.result_kb`"));
    };
    let (mut all, mut count, mut truncated) = (String::new(), 0, false);
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let left = most.saturating_sub(all.len());
        let fitting = if count < room.rows { line(row, width, left)? } else { None };
        let Some(line) = fitting else {
            truncated = true;
            break;
        };
        if count > 0 {
            all.push(',');
        }
        all.push_str(&line);
        count += 1;
    }
    let text = format!(r#"{{"columns":{columns},"rows":[{all}],"truncated":{truncated}}}"#);
    Ok(RawValue::from_string(text).expect("its parts are JSON"))
}

/// A row in JSON with the comma before it; `None` when it needs more bytes than are left.
fn line(row: &Row<'_>, width: usize, left: usize) -> Result<Option<String>, Failure> {
    let mut line = String::from("[");
    for index in 0..width {
        if index > 0 {
            line.push(',');
        }
        let value = row.get_ref(index)?;
        // Before anything is copied.
        if line.len().saturating_add(length(value)) > left {
            return Ok(None);
        }
        push(&mut line, value);
    }
    line.push(']');
    Ok((line.len() < left).then_some(line))
}

/// The least bytes that a value takes.
fn length(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 1,
    }
}

fn push(line: &mut String, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => line.push_str("null"),
        ValueRef::Integer(number) => line.push_str(&number.to_string()),
        // JSON has no word for it; this is what SQLite itself writes, and readers take it for infinite.
        ValueRef::Real(number) if number.is_infinite() => {
            line.push_str(if number > 0.0 { "9e999" } else { "-9e999" });
        }
        ValueRef::Real(number) => line.push_str(&json(&number)),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => line.push_str(&json(&text)),
            Err(_other_bytes) => push_bytes(line, bytes),
        },
        ValueRef::Blob(bytes) => push_bytes(line, bytes),
    }
}

fn push_bytes(line: &mut String, bytes: &[u8]) {
    line.push_str(r#"{"base64":""#);
    BASE64.encode_append(bytes, line);
    line.push_str(r#""}"#);
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers serialise")
}
