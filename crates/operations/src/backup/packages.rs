//! Packages are not in a backup: they are unpacked again from their archives, by the code that an install uses, and must
//! come out as they were.

use std::path::Path;

use plugbay_backup::{BackupError, EntryName};
use plugbay_data_dir::DataDir;
use plugbay_domain::{ArchiveLimits, Manifest, SignaturePolicy};
use plugbay_package::{PackageFile, Upload};
use plugbay_store::StoreError;
use plugbay_store::plugins::VersionRecord;

use crate::ServiceError;
use crate::install::contents;

/// Unpacks what a version was installed from. Who signed it is judged when the service starts.
pub(crate) fn unpack(data: &DataDir, version: &VersionRecord, files: &str) -> Result<(), ServiceError> {
    let digest = version.digest;
    let files: Vec<PackageFile> =
        serde_json::from_str(files).map_err(|error| StoreError::bad_row("versions", digest, error))?;
    let limits = limits(&files);
    let upload = Upload::read(&data.archive(digest), &limits)?;
    let archive = upload.verify(None, &[], SignaturePolicy::Off, version.installed_at)?.inspect(&limits)?;
    let manifest = Manifest::parse(archive.manifest_bytes())?;
    let staging = data.stage()?;
    let unpacked = archive.unpack(&staging.path().join("package"), &contents(&manifest), &limits)?;
    if unpacked.files() != files {
        let rule = "does not unpack to the files that the database lists".to_owned();
        return Err(BackupError::Malformed { place: EntryName::Archive(digest).to_string(), rule }.into());
    }
    unpacked.publish(&data.packages(), digest)?;
    if let Some(text) = &version.signature {
        write(&data.signature(digest), text)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), ServiceError> {
    std::fs::write(path, text)
        .map_err(|source| ServiceError::File { action: format!("write `{}`", path.display()), source })
}

/// The operator may have allowed more than the defaults: what was installed may come out as large as it was.
fn limits(files: &[PackageFile]) -> ArchiveLimits {
    let usual = ArchiveLimits::default();
    let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
    let largest = files.iter().map(|file| file.bytes).max().unwrap_or_default();
    ArchiveLimits {
        upload_bytes: u64::MAX,
        unpacked_bytes: usual.unpacked_bytes.max(bytes.saturating_mul(2)),
        file_bytes: usual.file_bytes.max(largest),
        // Folders count, too.
        entries: usual.entries.max((files.len() as u64).saturating_mul(20)),
        ratio: u64::MAX,
    }
}
