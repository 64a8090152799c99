//! A folder held open, and file operations that cannot leave it.
//!
//! Paths are resolved by the kernel with `openat2` and `RESOLVE_BENEATH`, so that neither `..` nor a link can lead out
//! even if a check before this one had a hole. Kernels without `openat2` get the same by one `openat` per component.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{EntryPath, PackageError};

/// Modes of everything in a package.
pub(super) const FILE_MODE: u32 = 0o644;
pub(super) const RUNNABLE_MODE: u32 = 0o755;
pub(super) const FOLDER_MODE: u32 = 0o755;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// A FIFO that was put in place of a file would block the open for ever without NONBLOCK.
const OLD_FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
    has_openat2: Cell<bool>,
}

/// What is at a path.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: Vec<u8>,
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) bytes: u64,
}

impl Folder {
    /// Makes a folder that is not there yet, readable for the service alone.
    pub(super) fn create(path: &Path) -> Result<Self, PackageError> {
        fs::mkdir(path, Mode::RWXU).map_err(PackageError::io("create", path))?;
        Self::open(path)
    }

    /// Opens a folder that is there.
    pub(super) fn open(path: &Path) -> Result<Self, PackageError> {
        let handle = fs::open(path, FOLDER, Mode::empty()).map_err(PackageError::io("open", path))?;
        Ok(Self { handle, path: path.to_owned(), has_openat2: Cell::new(true) })
    }

    /// Makes a folder in it.
    pub(super) fn make_folder(&self, path: &EntryPath) -> Result<(), PackageError> {
        let failed = || PackageError::io("create", self.path.join(path.as_str()));
        let (parent, name) = match path.as_str().rsplit_once('/') {
            Some((parent, name)) => (Some(self.resolve(parent, FOLDER, Mode::empty()).map_err(failed())?), name),
            None => (None, path.as_str()),
        };
        let parent = parent.as_ref().map_or(self.handle.as_fd(), |parent| parent.as_fd());
        fs::mkdirat(parent, name, Mode::RWXU).map_err(failed())?;
        let made = fs::openat(parent, name, FOLDER, Mode::empty()).map_err(failed())?;
        // The umask does not decide what plugins can read.
        fs::fchmod(made, Mode::from_raw_mode(FOLDER_MODE)).map_err(failed())
    }

    /// Makes a file in it that is not there yet.
    pub(super) fn make_file(&self, path: &EntryPath, mode: u32) -> Result<File, PackageError> {
        let failed = || PackageError::io("create", self.path.join(path.as_str()));
        let made = self.resolve(path.as_str(), NEW_FILE, Mode::RUSR | Mode::WUSR).map_err(failed())?;
        fs::fchmod(&made, Mode::from_raw_mode(mode)).map_err(failed())?;
        Ok(made.into())
    }

    /// Opens a file in it for reading.
    pub(super) fn read_file(&self, path: &str) -> Result<File, PackageError> {
        let opened = self.resolve(path, OLD_FILE, Mode::empty());
        opened.map(File::from).map_err(PackageError::io("open", self.path.join(path)))
    }

    /// Lists a folder in it; the empty path is the folder itself.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Found>, PackageError> {
        let shown = self.path.join(path);
        let opened = if path.is_empty() {
            fs::openat(&self.handle, ".", FOLDER, Mode::empty())
        } else {
            self.resolve(path, FOLDER, Mode::empty())
        };
        let listed = opened.and_then(|folder| {
            let mut found = Vec::new();
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let stat = fs::statat(&folder, entry.file_name(), fs::AtFlags::SYMLINK_NOFOLLOW)?;
                found.push(Found {
                    name: name.to_vec(),
                    kind: FileType::from_raw_mode(stat.st_mode),
                    mode: stat.st_mode & 0o7777,
                    bytes: u64::try_from(stat.st_size).unwrap_or_default(),
                });
            }
            Ok(found)
        });
        listed.map_err(PackageError::io("list", shown))
    }

    /// The folder's own permission bits.
    pub(super) fn mode(&self) -> Result<u32, PackageError> {
        let stat = fs::fstat(&self.handle).map_err(PackageError::io("look at", &self.path))?;
        Ok(stat.st_mode & 0o7777)
    }

    /// Opens the folder for what runs under another user.
    pub(super) fn open_up(&self) -> Result<(), PackageError> {
        fs::fchmod(&self.handle, Mode::from_raw_mode(FOLDER_MODE)).map_err(PackageError::io("open up", &self.path))
    }

    /// Writes everything on its file system to disk: one call instead of one per file.
    pub(super) fn seal(&self) -> Result<(), PackageError> {
        fs::syncfs(&self.handle).map_err(PackageError::io("write to disk", &self.path))
    }

    /// Writes the folder's own list of names to disk.
    pub(super) fn sync(&self) -> Result<(), PackageError> {
        fs::fsync(&self.handle).map_err(PackageError::io("write to disk", &self.path))
    }

    fn resolve(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        const STRICT: ResolveFlags =
            ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
        if self.has_openat2.get() {
            match fs::openat2(&self.handle, path, flags, mode, STRICT) {
                // Older kernels, and seccomp profiles that do not know the call.
                Err(Errno::NOSYS | Errno::PERM) => self.has_openat2.set(false),
                answer => return answer,
            }
        }
        let (parents, name) = path.rsplit_once('/').map_or((None, path), |(parents, name)| (Some(parents), name));
        let mut folder = None;
        for component in parents.into_iter().flat_map(|parents| parents.split('/')) {
            let from = folder.as_ref().map_or(self.handle.as_fd(), |folder: &OwnedFd| folder.as_fd());
            folder = Some(fs::openat(from, plain(component)?, FOLDER, Mode::empty())?);
        }
        let from = folder.as_ref().map_or(self.handle.as_fd(), |folder| folder.as_fd());
        fs::openat(from, plain(name)?, flags, mode)
    }
}

/// Refuses the names that lead elsewhere, which the kernel refuses where it knows `openat2`.
fn plain(component: &str) -> Result<&str, Errno> {
    if matches!(component, "" | "." | "..") { Err(Errno::XDEV) } else { Ok(component) }
}

/// Tells whether an operation failed because nothing, or a link, is at the path.
pub(super) fn is_gone(error: &PackageError) -> bool {
    let PackageError::Io { source, .. } = error else { return false };
    let gone = [Errno::NOENT, Errno::LOOP, Errno::NOTDIR].map(|errno| Some(errno.raw_os_error()));
    gone.contains(&source.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_resolves_to_a_place_outside() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::create(&base.path().join("in")).unwrap();
        symlink("..", base.path().join("in/up")).unwrap();
        symlink("/etc/passwd", base.path().join("in/file")).unwrap();
        std::fs::write(base.path().join("secret"), "x").unwrap();
        for has_openat2 in [true, false] {
            folder.has_openat2.set(has_openat2);
            for path in ["up/secret", "../secret", "file", "/etc/passwd", "./../secret"] {
                assert!(folder.read_file(path).is_err(), "{path}");
            }
            for path in ["up/new", "file"] {
                assert!(folder.make_file(&path.parse().unwrap(), FILE_MODE).is_err(), "{path}");
            }
            assert!(folder.make_folder(&"up/new".parse().unwrap()).is_err());
            assert!(folder.list("up").is_err());
        }
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 2);
    }

    #[test]
    fn files_and_folders_get_their_modes_with_and_without_openat2() {
        let base = tempfile::tempdir().unwrap();
        for (name, has_openat2) in [("a", true), ("b", false)] {
            let folder = Folder::create(&base.path().join(name)).unwrap();
            folder.has_openat2.set(has_openat2);
            folder.make_folder(&"d".parse().unwrap()).unwrap();
            folder.make_folder(&"d/e".parse().unwrap()).unwrap();
            folder.make_file(&"d/e/f".parse().unwrap(), RUNNABLE_MODE).unwrap();
            assert!(folder.make_file(&"d/e/f".parse().unwrap(), FILE_MODE).is_err(), "it is there already");
            let [found] = &folder.list("d/e").unwrap()[..] else { panic!("one file") };
            assert_eq!((found.name.as_slice(), found.mode), (b"f".as_slice(), RUNNABLE_MODE));
            assert_eq!(folder.mode().unwrap(), 0o700);
        }
    }
}
