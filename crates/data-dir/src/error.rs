//! Why a data directory cannot be used.

use std::io;
use std::path::PathBuf;

use plugbay_domain::{Code, Refusal};

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another service holds the lock.
    #[error("`{}` is in use by process {holder}", root.display())]
    InUse {
        /// The directory.
        root: PathBuf,
        /// What the lock file says.
        holder: String,
    },
    /// Others can read the master key.
    #[error("`{}` has mode {mode:04o}; expected 0600", path.display())]
    KeyReadable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The master key has another length than ours have.
    #[error("`{}` has {found} bytes; expected 32", path.display())]
    KeyLength {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// The master key is gone, and with it everything sealed by it.
    #[error("`{}` is missing, but the database was written with it", path.display())]
    KeyMissing {
        /// The file.
        path: PathBuf,
    },
    /// The master key is another one than before.
    #[error("`{}` is not the key that the secrets in the database were sealed with", path.display())]
    KeyWrong {
        /// The file.
        path: PathBuf,
    },
    /// The key that was named is not the one of the backup.
    #[error("`{}` is not the master key that was in force when the backup was made: what was sealed then does not open with it", path.display())]
    KeyOfAnother {
        /// The file.
        path: PathBuf,
    },
    /// Only an empty directory is restored into.
    #[error("`{}` is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("failed to {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Refusal for DataDirError {
    fn code(&self) -> Code {
        match self {
            Self::InUse { .. } => Code::DataDirInUse,
            Self::NotEmpty { .. } => Code::DataDirNotEmpty,
            Self::KeyReadable { .. }
            | Self::KeyLength { .. }
            | Self::KeyMissing { .. }
            | Self::KeyWrong { .. }
            | Self::KeyOfAnother { .. } => Code::ConfigInvalid,
            Self::File { source, .. } => Code::of_file(source),
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::KeyReadable { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::KeyLength { .. } | Self::KeyMissing { .. } | Self::KeyWrong { .. } => {
                Some("restore master.key from your backup".to_owned())
            }
            Self::KeyOfAnother { .. } => Some(
                "name master.key of the service that made the backup; without --key-file everything but secrets is restored"
                    .to_owned(),
            ),
            Self::File { source, path, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("let the service's user write {}, or choose another `server.data_dir`", path.display()))
            }
            _ => None,
        }
    }
}
