//! A volume as a folder, for a service that may mount nothing. It is measured, and what it holds can be started.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink,
};
use std::path::Path;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use super::image::BYTES_PER_INODE;
use super::{VolumeError, VolumeOrder};

/// Bytes of a unit in which the system counts what a file takes.
const UNIT: u64 = 512;

/// What a folder was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// It is within the limit.
    Within {
        /// Bytes on the disk.
        bytes: u64,
    },
    /// It is beyond the limit; it was not looked at further.
    Beyond {
        /// What was counted until then.
        bytes: u64,
        /// What is too much.
        what: String,
    },
}

impl Measured {
    /// Bytes that were counted.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Within { bytes } | Self::Beyond { bytes, .. } => *bytes,
        }
    }
}

/// Makes the folder, for the plugin's user alone where the service may give it away. One that holds too much is refused:
/// whoever is over the limit could add to it with every start.
pub(super) fn open(path: &Path, order: VolumeOrder) -> Result<(), VolumeError> {
    let made = (|| {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if rustix::process::geteuid().is_root() {
            chown(path, Some(order.uid), Some(order.uid))?;
            return fs::set_permissions(path, Permissions::from_mode(0o700));
        }
        // Its parent is closed to everybody else.
        fs::set_permissions(path, Permissions::from_mode(0o777))
    })();
    made.map_err(|source| VolumeError::file("make", path, source))?;
    match measure(path, order.data_mb) {
        Measured::Within { .. } => Ok(()),
        Measured::Beyond { what, .. } => {
            Err(VolumeError::OverQuota { path: path.to_owned(), data_mb: order.data_mb, found: what })
        }
    }
}

/// Counts what a folder takes on the disk, until it is too much: no more is looked at than the limit allows to be there.
/// What cannot be looked at counts as too much, as anything could be hidden in it. Links are not followed.
pub(super) fn measure(path: &Path, data_mb: u64) -> Measured {
    let most_bytes = data_mb.saturating_mul(1 << 20);
    let most_entries = most_bytes / BYTES_PER_INODE;
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let unreadable = |bytes, error: &io::Error| {
            let inside = folder.strip_prefix(path).unwrap_or(&folder).to_string_lossy();
            let inside: String = inside.chars().take(100).collect();
            Measured::Beyond {
                bytes,
                what: format!("`/data/{}` cannot be measured ({error})", inside.escape_default()),
            }
        };
        let listed = match fs::read_dir(&folder) {
            Ok(listed) => listed,
            // It was removed meanwhile; of the volume itself nothing is there yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return unreadable(bytes, &error),
        };
        for entry in listed {
            let found = entry.and_then(|entry| Ok((entry.metadata()?, entry)));
            let (metadata, entry) = match found {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return unreadable(bytes, &error),
            };
            entries += 1;
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(UNIT));
            if bytes > most_bytes {
                return Measured::Beyond { bytes, what: format!("more than {data_mb} MiB") };
            }
            if entries > most_entries {
                return Measured::Beyond { bytes, what: format!("more than {most_entries} files and folders") };
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Measured::Within { bytes }
}

/// Copies a folder with everything in it, as it is just then. Nothing is reached by its path: whoever writes into it could
/// lead the service elsewhere with a link.
pub(super) fn copy(from: &Path, into: &Path) -> Result<(), VolumeError> {
    let copied = openat(CWD, from, LOOK, Mode::empty()).map_err(io::Error::from).and_then(|old| copy_tree(old, into));
    copied.map_err(|source| VolumeError::file("copy", from, source))
}

/// How what was written by a plugin is opened.
const LOOK: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn copy_tree(from: OwnedFd, into: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(into)?;
    for entry in Dir::read_from(&from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let target = into.join(OsStr::from_bytes(name.to_bytes()));
        match openat(&from, name, LOOK, Mode::empty()) {
            Ok(opened) => copy_one(File::from(opened), &target)?,
            Err(Errno::LOOP) => {
                let link = readlinkat(&from, name, Vec::new())?;
                symlink(OsStr::from_bytes(link.to_bytes()), &target)?;
            }
            // A socket means nothing without whoever made it; what is gone was removed meanwhile.
            Err(Errno::NXIO | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    keep_owner(&File::from(from).metadata()?, into)
}

fn copy_one(mut from: File, into: &Path) -> io::Result<()> {
    let found = from.metadata()?;
    if found.is_dir() {
        return copy_tree(from.into(), into);
    }
    if found.is_file() {
        io::copy(&mut from, &mut OpenOptions::new().write(true).create_new(true).mode(0o600).open(into)?)?;
        keep_owner(&found, into)?;
    }
    Ok(())
}

/// Only root can give files away; elsewhere the plugin's user writes into what belongs to the service.
fn keep_owner(found: &Metadata, into: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        chown(into, Some(found.uid()), Some(found.gid()))?;
        return fs::set_permissions(into, found.permissions());
    }
    let open = if found.is_dir() { 0o777 } else { 0o666 };
    fs::set_permissions(into, Permissions::from_mode(found.mode() | open))
}
