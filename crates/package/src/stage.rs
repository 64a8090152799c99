//! The second pass: unpacks an inspected archive into a folder of its own, then publishes that folder under its digest.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::instrument;

use super::archive::{Archive, Entry, EntryKind};
use super::beneath::{FILE_MODE, Folder, RUNNABLE_MODE};
use super::inspect::At;
use super::upload::discard;
use super::{Contents, EntryPath, InspectedArchive, PackageError, verify_tree};
use plugbay_domain::{ArchiveLimits, Digest, escape};

/// One file of a package as it was unpacked, kept to notice later changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFile {
    /// Where it lies within the package.
    pub path: EntryPath,
    /// Its content.
    pub sha256: Digest,
    /// Its size.
    pub bytes: u64,
    /// Whether its mode is 0755 instead of 0644.
    pub executable: bool,
}

/// An unpacked package that is not published yet. Without [`Self::publish`] it is removed again.
#[derive(Debug)]
pub struct StagedPackage {
    folder: Folder,
    files: Vec<PackageFile>,
    staging: Staging,
}

/// A folder that goes with its owner unless it was moved away.
#[derive(Debug)]
struct Staging {
    path: PathBuf,
    published: bool,
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            discard(&self.path);
        }
    }
}

impl InspectedArchive {
    /// Unpacks into a new folder. What the manifest needs is checked first; the archive is read again and must be what
    /// [`super::VerifiedArchive::inspect`] saw.
    #[instrument(name = "package.unpack", skip_all, fields(archive.digest = %self.archive.digest))]
    pub fn unpack(
        &self,
        into: &Path,
        wanted: &Contents<'_>,
        limits: &ArchiveLimits,
    ) -> Result<StagedPackage, PackageError> {
        self.check_contents(wanted)?;
        let folder = Folder::create(into)?;
        let staging = Staging { path: into.to_owned(), published: false };
        for path in &self.plan.folders {
            folder.make_folder(path)?;
        }
        let main: Option<EntryPath> = wanted.main.parse().ok().filter(|_| wanted.always_executable);
        let mut archive = Archive::open(At::start(&self.archive.file), self.archive.size, limits)?;
        let mut plan = self.plan.entries.iter();
        let mut files = Vec::new();
        while let Some(entry) = archive.next()? {
            if plan.next() != Some(&entry) {
                return Err(changed(&entry));
            }
            let path = self.plan.root.relative(&entry.path);
            let (EntryKind::File, Some(path)) = (entry.kind, path) else { continue };
            let executable = entry.executable || main.as_ref() == Some(&path);
            files.push(unpack_file(&mut archive, &folder, &entry, path, executable)?);
        }
        if let Some(missing) = plan.next() {
            return Err(changed(missing));
        }
        Ok(StagedPackage { folder, files, staging })
    }
}

fn changed(entry: &Entry) -> PackageError {
    let place = format!("entry `{}`", escape(entry.path.as_str()));
    PackageError::malformed(place, "the archive changed between two readings")
}

fn unpack_file(
    archive: &mut Archive<At<'_>>,
    folder: &Folder,
    entry: &Entry,
    path: EntryPath,
    executable: bool,
) -> Result<PackageFile, PackageError> {
    let mut file = folder.make_file(&path, if executable { RUNNABLE_MODE } else { FILE_MODE })?;
    let mut hash = Sha256::new();
    let mut bytes: u64 = 0;
    archive.content(&mut |piece| {
        bytes = bytes.saturating_add(piece.len() as u64);
        hash.update(piece);
        file.write_all(piece).map_err(PackageError::io("write", path.as_str()))
    })?;
    if bytes != entry.size {
        return Err(changed(entry));
    }
    Ok(PackageFile { path, sha256: Digest::from_bytes(hash.finalize().into()), bytes, executable })
}

impl StagedPackage {
    /// Opens the folder for what looks at it under another user. No other user gets to it while the folder around it is
    /// private.
    pub fn open_up(&self) -> Result<(), PackageError> {
        self.folder.open_up()
    }

    /// Every file, in the archive's order.
    pub fn files(&self) -> &[PackageFile] {
        &self.files
    }

    /// Moves the package to `<packages>/<digest in hex>` in one step, after everything in it is on disk. If an equal
    /// package is there already, that one is kept and this one removed.
    #[instrument(name = "package.publish", skip_all, fields(archive.digest = %digest))]
    pub fn publish(mut self, packages: &Path, digest: Digest) -> Result<PathBuf, PackageError> {
        let target = packages.join(digest.to_hex());
        self.open_up()?;
        self.folder.seal()?;
        match fs::rename(&self.staging.path, &target) {
            Ok(()) => self.staging.published = true,
            Err(error) if is_occupied(&error) => verify_tree(&target, &self.files)?,
            Err(error) => return Err(PackageError::io("move the package to", &target)(error)),
        }
        Folder::open(packages)?.sync()?;
        Ok(target)
    }
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty)
}
