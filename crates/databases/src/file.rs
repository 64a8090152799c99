//! Which file a database is, looked up without opening it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::message::Identity;

/// What every address begins with; an absolute path follows.
const SCHEME: &str = "sqlite://";

/// Why a path is not used. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileProblem {
    #[error("`{}` cannot be looked at: {source}", path.display())]
    Unseen {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Whoever may write to the folder could lead the service to any file.
    #[error("`{}` is a symbolic link; name the file itself", path.display())]
    Link { path: PathBuf },
    #[error("`{}` is not a file", path.display())]
    NoFile { path: PathBuf },
}

pub(super) fn path_of(url: &str) -> PathBuf {
    PathBuf::from(url.strip_prefix(SCHEME).unwrap_or(url))
}

/// The file that the path names; a link is not followed.
pub(super) fn identify(path: &Path) -> Result<Identity, FileProblem> {
    let own = || path.to_owned();
    let found = fs::symlink_metadata(path).map_err(|source| FileProblem::Unseen { path: own(), source })?;
    if found.is_symlink() {
        return Err(FileProblem::Link { path: own() });
    }
    if !found.is_file() {
        return Err(FileProblem::NoFile { path: own() });
    }
    Ok(Identity { device: found.dev(), inode: found.ino(), user: found.uid(), group: found.gid() })
}
