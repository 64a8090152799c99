//! Copies of volumes, also of ones in use: those are frozen while they are read, which makes whoever writes wait.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use tracing::error;

use super::tools::{Done, find, run};
use super::{Means, VolumeError, Volumes, folder, image, lock};
use plugbay_domain::{Chain, DataId};

/// Longest time that a plugin waits for its volume; shorter than calls usually have.
const LONGEST_FREEZE: Duration = Duration::from_secs(10);

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 20;

impl Volumes {
    /// Copies a volume into a new file, holes as holes. False if nothing was kept in it yet.
    pub fn copy(&self, volume: DataId, into: &Path) -> Result<bool, VolumeError> {
        let volume = self.now_of(volume);
        let slot = self.slot(volume);
        // Until the copy is there, nobody mounts or unmounts the volume.
        let slot = lock(&slot);
        let places = self.places(volume);
        if !places.image.exists() {
            return if places.folder.exists() {
                Err(VolumeError::NotCopied { folder: places.folder })
            } else {
                Ok(false)
            };
        }
        match self.means() {
            Means::Images(_) if slot.users > 0 => {
                let _frozen = Frozen::freeze(&places.mount_point)?;
                sparsely(&places.image, into, Some(Instant::now() + LONGEST_FREEZE))?;
            }
            _ => {
                // What ended may not have let go yet.
                image::let_go(&places.image)?;
                sparsely(&places.image, into, None)?;
            }
        }
        Ok(true)
    }

    /// Whether some of these are volumes that [`Volumes::copy`] refuses.
    pub fn check_copy(&self, volumes: &[DataId]) -> Result<(), VolumeError> {
        for volume in volumes {
            let places = self.places(*volume);
            if !places.image.exists() && places.folder.exists() {
                return Err(VolumeError::NotCopied { folder: places.folder });
            }
        }
        Ok(())
    }

    /// Makes the next generation of what a plugin keeps: a volume of its own with the same content.
    pub fn fork(&self, from: DataId, to: DataId) -> Result<(), VolumeError> {
        self.remove(to)?;
        let (old, new) = (self.places(from), self.places(to));
        if old.image.exists() {
            self.copy(from, &new.image).inspect_err(|_| drop(super::remove(&new.image)))?;
        } else if old.folder.exists() {
            folder::copy(&old.folder, &new.folder).inspect_err(|_| drop(super::remove(&new.folder)))?;
        }
        Ok(())
    }
}

/// A file system in which nothing changes; it thaws with this value.
struct Frozen {
    program: PathBuf,
    mount_point: PathBuf,
    holds: bool,
}

impl Frozen {
    fn freeze(mount_point: &Path) -> Result<Self, VolumeError> {
        let program = find("fsfreeze", "util-linux");
        let failed = |said| VolumeError::Program { action: "freeze", path: mount_point.to_owned(), said };
        // Where nothing is mounted, the file system around it would be frozen: the machine's own.
        if !is_mount_point(mount_point).map_err(|source| VolumeError::file("look at", mount_point, source))? {
            return Err(failed("nothing is mounted there".to_owned()));
        }
        // The value exists before the file system is frozen, so that it thaws whatever happens.
        let program = program.map_err(failed)?;
        let mut frozen = Self { program, mount_point: mount_point.to_owned(), holds: false };
        let done = run(&frozen.program, &[OsStr::new("--freeze"), mount_point.as_os_str()]);
        match done {
            Ok(done) if done.is_good() => {
                frozen.holds = true;
                Ok(frozen)
            }
            Ok(done) => Err(failed(done.said)),
            Err(source) => Err(VolumeError::file("freeze", mount_point, source)),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let path = self.mount_point.display();
        match thaw(&self.program, &self.mount_point) {
            // Where freezing has failed, there is nothing to thaw.
            Ok(done) if done.is_good() || !self.holds => {}
            Ok(done) => {
                error!(%path, said = done.said, "`{path}` stays frozen: `fsfreeze -u {path}` lets its plugin go on");
            }
            Err(error) => error!(%path, error = %Chain(&error), "`{path}` may stay frozen: `fsfreeze -u {path}`"),
        }
    }
}

/// Whether a file system begins at this folder.
fn is_mount_point(folder: &Path) -> io::Result<bool> {
    let around = folder.parent().unwrap_or(folder);
    Ok(fs::metadata(folder)?.dev() != fs::metadata(around)?.dev())
}

/// Lets a file system go on; one that is not frozen stays as it is.
pub(super) fn thaw(program: &Path, mount_point: &Path) -> io::Result<Done> {
    run(program, &[OsStr::new("--unfreeze"), mount_point.as_os_str()])
}

fn sparsely(from: &Path, into: &Path, deadline: Option<Instant>) -> Result<(), VolumeError> {
    let copied = (|| {
        let source = File::open(from)?;
        let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into)?;
        let bytes = source.metadata()?.len();
        target.set_len(bytes)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut at = 0;
        while at < bytes {
            at = match seek(&source, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            let end = seek(&source, SeekFrom::Hole(at))?;
            while at < end {
                if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    return Ok(false);
                }
                let most = usize::try_from(end - at).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
                let count = source.read_at(&mut buffer[..most], at)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                target.write_all_at(&buffer[..count], at)?;
                at += count as u64;
            }
        }
        Ok(true)
    })();
    match copied {
        Ok(true) => Ok(()),
        Ok(false) => Err(VolumeError::TooSlow { image: from.to_owned(), seconds: LONGEST_FREEZE.as_secs() }),
        Err(source) => Err(VolumeError::file("copy", from, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_file_system_of_its_own_is_not_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("volume");
        fs::create_dir(&inner).unwrap();
        assert!(!is_mount_point(&inner).unwrap() && is_mount_point(Path::new("/proc")).unwrap());
        let error = Frozen::freeze(&inner).err().unwrap();
        assert!(error.to_string().contains("nothing is mounted there"), "{error}");
        fs::write(inner.join("file"), "goes on").unwrap();
    }

    #[test]
    fn copies_have_the_same_holes_and_take_no_longer_than_they_may() {
        let folder = tempfile::tempdir().unwrap();
        let (from, into) = (folder.path().join("from"), folder.path().join("into"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"content", 8 << 20).unwrap();
        let late = sparsely(&from, &folder.path().join("late"), Some(Instant::now())).unwrap_err();
        assert!(late.to_string().contains("took more than 10 s"), "{late}");
        sparsely(&from, &into, None).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&into).unwrap());
        assert!(fs::metadata(&into).unwrap().blocks() < 100);
    }
}
