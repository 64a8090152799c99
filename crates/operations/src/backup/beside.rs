//! The directory that a restore makes beside its target, and what killed restores left there.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use plugbay_data_dir::DataDirError;
use rustix::fs::{FlockOperation, flock};
use tracing::info;

/// Hex digits after the name of such a directory.
const DIGITS: usize = 32;

/// The directory in the making, which goes unless it takes its place.
pub(crate) struct Beside {
    path: PathBuf,
    /// Held as long as somebody works on it; whatever ends that, the kernel lets go of it.
    _lock: File,
}

fn file_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataDirError + 'a {
    move |source| DataDirError::File { action, path: path.to_owned(), source }
}

impl Beside {
    /// Makes one, and removes those of the same target that nobody works on any more.
    pub(crate) fn make(target: &Path) -> Result<Self, DataDirError> {
        let parent = target.parent().unwrap_or(target);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.restoring-");
        // While it is held nobody makes such a directory: each that is there is locked, or left over.
        let _one_at_a_time = lock(parent, FlockOperation::LockExclusive).map_err(file_error("lock", parent))?;
        remove_left_over(parent, &prefix)?;
        let path = parent.join(format!("{prefix}{}", uuid::Uuid::now_v7().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(file_error("make", &path))?;
        let locked = lock(&path, FlockOperation::NonBlockingLockExclusive).map_err(file_error("lock", &path))?;
        Ok(Self { path, _lock: locked })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn become_target(self, target: &Path) -> Result<(), DataDirError> {
        let sync = |path: &Path| rustix::fs::syncfs(File::open(path)?).map_err(io::Error::from);
        fs::remove_file(self.path.join("lock")).map_err(file_error("remove the lock of", &self.path))?;
        sync(&self.path).map_err(file_error("write", &self.path))?;
        // Over an empty directory, and over nothing else.
        fs::rename(&self.path, target).map_err(file_error("replace", target))?;
        let parent = target.parent().unwrap_or(target);
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(file_error("write", parent))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Renamed, it is not there any more.
        fs::remove_dir_all(&self.path).ok();
    }
}

fn lock(folder: &Path, operation: FlockOperation) -> io::Result<File> {
    let folder = File::open(folder)?;
    flock(&folder, operation)?;
    Ok(folder)
}

fn remove_left_over(parent: &Path, prefix: &str) -> Result<(), DataDirError> {
    for entry in fs::read_dir(parent).map_err(file_error("list", parent))? {
        let path = entry.map_err(file_error("list", parent))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let digits = name.strip_prefix(prefix).unwrap_or_default();
        let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_ours || !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            continue;
        }
        match lock(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(_nobody_works_on_it) => {
                fs::remove_dir_all(&path).map_err(file_error("remove", &path))?;
                info!(path = %path.display(), "Removed `{}`, which a restore left behind", path.display());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(file_error("lock", &path)(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_restore_left_goes_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("data");
        let digits = "0123456789abcdef0123456789abcdef";
        let left = folder.path().join(format!(".data.restoring-{digits}"));
        fs::create_dir_all(left.join("archives")).unwrap();
        fs::write(left.join("plugbay.db"), "half").unwrap();
        let others =
            [".data.restoring-", ".data.restoring-12", ".other.restoring-0123456789abcdef0123456789abcdef", "data.old"];
        for name in others {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept"), "").unwrap();
        let link = folder.path().join(format!(".data.restoring-{}", digits.replace('0', "f")));
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();

        let first = Beside::make(&target).unwrap();
        assert!(!left.exists());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(elsewhere.path().join("kept").exists());
        // Somebody works on the first one.
        let second = Beside::make(&target).unwrap();
        assert!(first.path().exists() && second.path().exists());
        // A process that is killed lets go of its lock and leaves the rest.
        fs::create_dir(&left).unwrap();
        let held = lock(&left, FlockOperation::NonBlockingLockExclusive).unwrap();
        drop(Beside::make(&target).unwrap());
        assert!(left.exists());
        drop(held);
        drop(Beside::make(&target).unwrap());
        assert!(!left.exists() && first.path().exists());
    }
}
