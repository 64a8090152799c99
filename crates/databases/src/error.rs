//! Why a database did not do as asked.

use std::time::Duration;

use plugbay_domain::{Code, escape};

/// Why a database did not do as asked, as the plugin is told.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The operator names no such database.
    #[error(
        "the operator names no database `{}`: it belongs under `resources.databases` in plugbay.yaml",
        escape(name)
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// The parameters have another form.
    #[error("{text}")]
    Invalid {
        /// What does not fit.
        text: String,
    },
    /// A rule, or the database itself, does not accept the statement.
    #[error("{text}")]
    Refused {
        /// Why.
        text: String,
    },
    /// It needs more than it may take.
    #[error("{text}")]
    Limit {
        /// Of what.
        text: String,
    },
    /// It ran too long.
    #[error("the statement was stopped after {} s; ask for less at once, or raise `databases.seconds`", time.as_secs())]
    TooLate {
        /// The most it may take.
        time: Duration,
    },
    /// Somebody else holds the lock.
    #[error("another program held the database `{name}` locked all the time; try again")]
    Locked {
        /// Its name.
        name: String,
    },
    /// The file cannot be used.
    #[error("the database `{name}` cannot be used; the service's log says why")]
    Failed {
        /// Its name.
        name: String,
    },
    /// The process that held it is gone, and the answer with it.
    #[error(
        "the process that held the database `{name}` ended before it answered; whether a change was made is not known"
    )]
    Ended {
        /// Its name.
        name: String,
    },
    /// Too much is going on.
    #[error("{text}")]
    Busy {
        /// What.
        text: &'static str,
    },
}

impl DatabaseError {
    /// Its code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown { .. } => Code::DatabaseUnknown,
            Self::Invalid { .. } | Self::Refused { .. } => Code::DatabaseRefused,
            Self::Limit { .. } => Code::DatabaseLimit,
            Self::TooLate { .. } => Code::DatabaseTimeout,
            Self::Locked { .. } => Code::DatabaseLocked,
            Self::Failed { .. } | Self::Ended { .. } => Code::DatabaseFailed,
            Self::Busy { .. } => Code::Unavailable,
        }
    }
}
