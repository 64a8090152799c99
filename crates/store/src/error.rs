//! Why the database did not do as asked.

use std::path::PathBuf;

use sqlx::error::DatabaseError;

use super::SealError;
use plugbay_domain::{Code, PluginId, Refusal};

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file exists and is not a whole plugbay database.
    #[error("database `{}` is damaged: {found}", path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// Something stands in the database, or is gone, that only a migration makes.
    #[error("the database was changed past the service: {object} is not as a migration made it")]
    SchemaChanged {
        /// Its kind and name, escaped.
        object: String,
    },
    /// The schema is newer than this program.
    #[error("database `{}` has schema {found}, which this version of plugbay does not know", path.display())]
    SchemaNewer {
        /// The database file.
        path: PathBuf,
        /// The newest migration in the file.
        found: i64,
    },
    /// A row already exists.
    #[error("a row with this key exists already")]
    Exists,
    /// A stored value that no version of plugbay writes.
    #[error("table `{table}`, row `{row}`: stored value cannot be read: {found}")]
    BadRow {
        /// Table of the row.
        table: &'static str,
        /// Key of the row.
        row: String,
        /// What is wrong with the value.
        found: String,
    },
    /// A sealed secret was changed, or comes from another place.
    #[error("secret `{field}` of {plugin} cannot be opened: its row was changed, or sealed elsewhere")]
    SecretUnreadable {
        /// Its plugin.
        plugin: PluginId,
        /// Its field, escaped.
        field: String,
    },
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A migration failed; the database is as it was before.
    #[error("failed to migrate database")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// SQLite refused a statement.
    #[error("the database refused: {message}")]
    Refused {
        /// What follows from its result code.
        code: Code,
        /// What it says.
        message: String,
    },
    /// The database could not be asked.
    #[error("database query failed")]
    Query(#[source] sqlx::Error),
}

impl StoreError {
    /// A stored value that this version of the program cannot read.
    pub fn bad_row(table: &'static str, row: impl std::fmt::Display, found: impl std::fmt::Display) -> Self {
        Self::BadRow { table, row: row.to_string(), found: found.to_string() }
    }

    /// An insert that can meet a row of the same key; any other violation is our bug.
    pub(super) fn of_insert(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(database) if database.is_unique_violation() => Self::Exists,
            _ => error.into(),
        }
    }

    /// A row that another row refers to is not there.
    pub fn missing(table: &'static str, row: impl std::fmt::Display) -> Self {
        Self::bad_row(table, row, "the row is missing")
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            // Its own text and that of its cause are the same.
            Some(database) => Self::Refused { code: refusal_code(database), message: database.message().to_owned() },
            None => Self::Query(error),
        }
    }
}

impl Refusal for StoreError {
    fn code(&self) -> Code {
        match self {
            Self::Corrupt { .. } | Self::SchemaChanged { .. } => Code::DatabaseCorrupt,
            Self::SchemaNewer { .. } => Code::SchemaNewer,
            Self::Refused { code, .. } => *code,
            Self::Query(sqlx::Error::PoolTimedOut) => Code::DatabaseBusy,
            Self::SecretUnreadable { .. } => Code::SecretUnreadable,
            Self::Exists | Self::BadRow { .. } | Self::Seal(_) | Self::Migrate(_) | Self::Query(_) => Code::Internal,
        }
    }

    fn how(&self) -> Option<String> {
        matches!(self, Self::SchemaChanged { .. }).then(|| {
            "restore a backup: a program that can write to the data directory may have changed more than this"
                .to_owned()
        })
    }
}

/// Primary result codes of SQLite; extended codes carry them in their low byte.
fn refusal_code(error: &dyn DatabaseError) -> Code {
    match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => Code::DatabaseBusy,
        Some(8 | 14) => Code::DatabaseReadOnly,
        Some(13) => Code::StorageFull,
        Some(11 | 26) => Code::DatabaseCorrupt,
        _ => Code::Internal,
    }
}
