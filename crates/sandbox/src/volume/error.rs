//! Why a volume is not ready.

use std::io;
use std::path::{Path, PathBuf};

use plugbay_domain::{Code, Refusal};

/// What fails where files of plugins lie in folders that the service may not write.
pub(super) const REMOVE: &str = "remove";

/// Why a volume is not ready.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The limit is below what is kept.
    #[error("{data_mb} MiB of /data are allowed, and more is kept")]
    TooSmall {
        /// The limit.
        data_mb: u64,
    },
    /// A folder holds more than the limit.
    #[error("{data_mb} MiB of /data are allowed, and {found} are kept in `{}`", path.display())]
    OverQuota {
        /// The folder.
        path: PathBuf,
        /// The limit.
        data_mb: u64,
        /// What is there.
        found: String,
    },
    /// A program found what it cannot mend.
    #[error("the file system in `{}` is damaged: {said}", image.display())]
    Damaged {
        /// The image.
        image: PathBuf,
        /// What the program said.
        said: String,
    },
    /// Something still has it mounted.
    #[error("the volume `{}` is still in use", image.display())]
    InUse {
        /// The image.
        image: PathBuf,
    },
    /// It was made where more was possible.
    #[error("`{}` cannot be mounted: {why}", image.display())]
    NeedsImages {
        /// The image.
        image: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A folder cannot be held still.
    #[error("`{}` is a folder, which cannot be copied while plugins write into it", folder.display())]
    NotCopied {
        /// The folder.
        folder: PathBuf,
    },
    /// Whoever writes into it must not wait longer.
    #[error("copying `{}` took more than {seconds} s, for which its plugin can be held up", image.display())]
    TooSlow {
        /// The image.
        image: PathBuf,
        /// The longest time.
        seconds: u64,
    },
    /// Only a hard quota is accepted.
    #[error("`storage.require_hard_quota` is set, and there is none: {why}")]
    HardQuotaMissing {
        /// What is missing.
        why: String,
    },
    /// A program failed.
    #[error("failed to {action} `{}`: {said}", path.display())]
    Program {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the program said.
        said: String,
    },
    /// The system refused.
    #[error("failed to {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl VolumeError {
    pub(super) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }
}

impl Refusal for VolumeError {
    fn code(&self) -> Code {
        match self {
            Self::TooSmall { .. } | Self::OverQuota { .. } => Code::QuotaExceeded,
            Self::HardQuotaMissing { .. } => Code::HardQuotaMissing,
            Self::Damaged { .. }
            | Self::InUse { .. }
            | Self::NeedsImages { .. }
            | Self::NotCopied { .. }
            | Self::TooSlow { .. }
            | Self::Program { .. }
            | Self::File { .. } => Code::DataUnavailable,
        }
    }

    fn how(&self) -> Option<String> {
        let how = match self {
            Self::TooSmall { .. } => "allow more with `plugbay limits set NAME data_mb=…`".to_owned(),
            Self::OverQuota { path, .. } => {
                format!(
                    "allow more with `plugbay limits set NAME data_mb=…`, or remove files from `{}`",
                    path.display()
                )
            }
            Self::Damaged { image, .. } => format!(
                "it is kept as it is: mend it with `e2fsck -f {0}`, or move it away to begin with nothing",
                image.display()
            ),
            Self::InUse { .. } => "try again when the sandbox before is gone".to_owned(),
            Self::NeedsImages { .. } => "run the service as root, with e2fsprogs and mount installed".to_owned(),
            Self::NotCopied { .. } => {
                "run the service as root, so that volumes are images; or stop it and copy the data directory".to_owned()
            }
            Self::TooSlow { .. } => "disable the plugin for the time of the backup".to_owned(),
            Self::File { action: REMOVE, path, .. } => {
                format!("remove `{}` as root; the service tries again when it starts", path.display())
            }
            Self::HardQuotaMissing { .. } | Self::Program { .. } | Self::File { .. } => return None,
        };
        Some(how)
    }
}
