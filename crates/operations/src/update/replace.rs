//! Other bytes under the number of a version that is known. They are refused, but on a service for development, where an
//! author would raise the number for every edit. There they come as an update does, and the version that had the number
//! goes on under another one: it serves until the other bytes take over, and is there to go back to.

use plugbay_domain::Digest;
use plugbay_store::plugins::VersionRecord;
use semver::{BuildMetadata, Version};

use crate::install::Candidate;
use crate::{Service, ServiceError};

/// Hex digits of a version's digest that tell it from others of its number.
const DIGITS: usize = 12;

/// A version that gives up its number.
#[derive(Clone, Debug)]
pub(crate) struct SetAside {
    /// The number.
    pub(crate) from: Version,
    /// What the version is called from then on: equal in rank, as build metadata has none.
    pub(crate) to: Version,
    /// Its bytes.
    pub(crate) digest: Digest,
}

impl SetAside {
    pub(crate) fn of(version: &VersionRecord) -> Self {
        let (from, digest) = (version.version.clone(), version.digest);
        let before = if from.build.is_empty() { String::new() } else { format!("{}.", from.build) };
        let digits: String = digest.to_hex().chars().take(DIGITS).collect();
        let build = BuildMetadata::new(&format!("{before}replaced.{digits}"));
        let build = build.expect("letters, digits and dots are build metadata");
        Self { to: Version { build, ..from.clone() }, from, digest }
    }
}

/// Refuses other bytes under the number of a version that is known, unless this is a service for development.
pub(crate) fn check_replacement(
    service: &Service,
    known: &VersionRecord,
    candidate: &Candidate,
) -> Result<(), ServiceError> {
    if service.config.insecure_dev {
        return Ok(());
    }
    Err(ServiceError::VersionConflict {
        name: candidate.manifest.name.clone(),
        version: candidate.manifest.version.clone(),
        known: known.digest.to_string(),
        found: candidate.archive.digest().to_string(),
    })
}
