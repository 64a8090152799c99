//! Room on the disk of the data directory, asked for before an upload begins.

use rustix::fs::statvfs;

use crate::{Service, ServiceError};

const MIB: u64 = 1024 * 1024;

/// Free space in MiB on the disk of the data directory.
pub fn free_mb(service: &Service) -> Result<u64, ServiceError> {
    let found = statvfs(service.data.root()).map_err(|error| ServiceError::File {
        action: "look at the disk of the data directory".to_owned(),
        source: error.into(),
    })?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize) / MIB)
}

/// What the operator wants to keep free, in MiB.
pub fn needed_mb(service: &Service) -> u64 {
    service.config.storage.min_free_bytes / MIB
}

/// Refuses an install while the disk is nearly full, so that the database can always be written.
pub(crate) fn require_free_disk(service: &Service) -> Result<(), ServiceError> {
    let (free_mb, needed_mb) = (free_mb(service)?, needed_mb(service));
    if free_mb < needed_mb { Err(ServiceError::DiskFull { free_mb, needed_mb }) } else { Ok(()) }
}
