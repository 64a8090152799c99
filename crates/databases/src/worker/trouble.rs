//! From what SQLite says to what the service is told.

use rusqlite::ErrorCode;

use super::super::message::Trouble;

/// Characters of a text.
const MAX_CHARACTERS: usize = 500;

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) trouble: Trouble,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn new(trouble: Trouble, text: impl Into<String>) -> Self {
        Self { trouble, text: text.into() }
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::new(Trouble::Refused, text)
    }

    pub(super) fn invalid(text: impl Into<String>) -> Self {
        Self::new(Trouble::Invalid, text)
    }
}

/// No longer than is read.
pub(super) fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let text = match &error {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            rusqlite::Error::MultipleStatement => {
                return Self::refused("one statement is run at a time; db.execute takes a list of them");
            }
            other => other.to_string(),
        };
        let Some(code) = error.sqlite_error_code() else { return Self::refused(text) };
        match code {
            ErrorCode::OperationInterrupted => Self::new(Trouble::TooLate, text),
            ErrorCode::OutOfMemory => {
                let text = "the statement needs more memory than `databases.memory_mb` allows";
                Self::new(Trouble::Memory, text)
            }
            ErrorCode::DiskFull => {
                let text = "the database would grow beyond `databases.file_mb`, or its disk is full";
                Self::new(Trouble::Limit, text)
            }
            ErrorCode::TooBig => Self::new(Trouble::Limit, format!("a text, blob or row is too long: {text}")),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::new(Trouble::Locked, text),
            ErrorCode::CannotOpen
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport
            | ErrorCode::InternalMalfunction => Self::new(Trouble::Failed, text),
            _ => Self::refused(text),
        }
    }
}
