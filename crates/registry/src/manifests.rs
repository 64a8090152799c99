//! Manifests of stored versions, parsed once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Registry;
use plugbay_domain::{Digest, Manifest};
use plugbay_store::StoreError;
use plugbay_store::plugins::VersionRecord;

/// Manifests already parsed, by the archive they came from. Bounded by the versions kept.
#[derive(Debug, Default)]
pub(super) struct Manifests(Mutex<HashMap<Digest, Arc<Manifest>>>);

impl Manifests {
    pub(super) fn get(&self, version: &VersionRecord) -> Result<Arc<Manifest>, StoreError> {
        let mut parsed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = parsed.get(&version.digest) {
            return Ok(Arc::clone(manifest));
        }
        // It was valid when it came in, so a caller cannot mend it.
        let manifest = Manifest::parse_accepted(version.manifest.as_bytes())
            .map_err(|error| StoreError::bad_row("versions", version.digest, error))?;
        let manifest = Arc::new(manifest);
        parsed.insert(version.digest, Arc::clone(&manifest));
        Ok(manifest)
    }
}

impl Registry {
    /// The manifest of a stored version.
    pub fn manifest(&self, version: &VersionRecord) -> Result<Arc<Manifest>, StoreError> {
        self.manifests.get(version)
    }

    /// Forgets the manifest of a version that is gone.
    pub fn forget_manifest(&self, digest: Digest) {
        self.manifests.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
    }
}
