//! Archives forged field by field, and honest ones: which are accepted, and what they become on disk.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

#[path = "../support/forge/mod.rs"]
mod forge;

mod corpus;
mod costs;
mod gzip;
mod honest;
mod place;
mod stage;
mod tar;
mod tree;
mod zip;

use std::fs;

use plugbay::domain::{ArchiveLimits, Code, Refusal, SignaturePolicy, Timestamp};
use plugbay::package::{InspectedArchive, PackageError, Upload};

/// Inspects an archive as an unsigned one.
fn inspect(bytes: &[u8], limits: &ArchiveLimits) -> Result<InspectedArchive, PackageError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    fs::write(&path, bytes).unwrap();
    let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    Upload::read(&path, limits)?.verify(None, &[], SignaturePolicy::Off, now)?.inspect(limits)
}

fn code(bytes: &[u8]) -> Option<Code> {
    inspect(bytes, &ArchiveLimits::default()).err().map(|error| error.code())
}

/// Checks that an archive is refused with a code, by a message that says something.
fn assert_refused(label: &str, bytes: &[u8], expected: Code) {
    match inspect(bytes, &ArchiveLimits::default()) {
        Ok(_) => panic!("{label} is accepted"),
        Err(error) => {
            assert_eq!(error.code(), expected, "{label}: {error}");
            let message = error.to_string();
            assert!(message.len() > 10 && !message.ends_with('.') && !message.contains('\n'), "{label}: {message}");
        }
    }
}

/// Checks that an archive is accepted and unpacks to what Python makes of it.
fn assert_accepted(label: &str, bytes: &[u8]) {
    if let Err(error) = inspect(bytes, &ArchiveLimits::default()) {
        panic!("{label} is refused: {}: {error}", error.code());
    }
    tree::assert_same_as_python(label, bytes);
}
