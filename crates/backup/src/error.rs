//! Why a backup cannot be written or read.

use std::fmt::Display;
use std::io;

use plugbay_domain::{Code, Refusal};

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is cut off.
    #[error("the backup ends within {place}")]
    Truncated {
        /// Where.
        place: String,
    },
    /// It is not what a backup is.
    #[error("{place} {rule}")]
    Malformed {
        /// Where.
        place: String,
        /// What is wrong.
        rule: String,
    },
    /// A later version made it.
    #[error("the backup was made by a later plugbay, {made_by}: its {what} is {found}, this one knows {known}")]
    Newer {
        /// That version, escaped.
        made_by: String,
        /// What is later.
        what: &'static str,
        /// In which version.
        found: i64,
        /// What is known here.
        known: i64,
    },
    /// Somebody without the key wrote it, or changed it.
    #[error("the seal of the backup does not fit: it was changed after it was made")]
    SealBroken,
    /// It carries no seal, and nobody said that this will do.
    #[error("the backup carries no seal, so it cannot be told whether it was changed")]
    Unsealed,
    /// A file changed while it was read.
    #[error("{entry} became shorter while it was read")]
    Changed {
        /// Its name.
        entry: String,
    },
    /// Reading or writing failed.
    #[error("failed to {action} {place}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        place: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl BackupError {
    pub(super) fn malformed(place: impl Display, rule: impl Into<String>) -> Self {
        Self::Malformed { place: place.to_string(), rule: rule.into() }
    }

    /// Of reading or writing.
    pub fn io(action: &'static str, place: impl Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, place: place.to_string(), source }
    }
}

impl Refusal for BackupError {
    fn code(&self) -> Code {
        match self {
            Self::Truncated { .. } | Self::Malformed { .. } | Self::SealBroken => Code::BackupInvalid,
            Self::Unsealed => Code::BackupUnsealed,
            Self::Newer { .. } => Code::BackupNewer,
            Self::Changed { .. } => Code::Internal,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
                _ => Code::Internal,
            },
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Unsealed => {
                Some("add --accept-unsealed for one that an older plugbay made and nobody could change".to_owned())
            }
            _ => None,
        }
    }
}
