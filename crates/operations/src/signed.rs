//! Who vouches for a version.

use plugbay_domain::{KeyId, SignatureStatus, TrustedKey};
use plugbay_store::plugins::VersionRecord;

/// Who vouches for a version.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What the signature was worth when the version came in.
    pub status: SignatureStatus,
    /// The key.
    pub key_id: Option<KeyId>,
    /// The operator's name for it.
    pub label: Option<String>,
}

impl Signed {
    pub(crate) fn of(version: &VersionRecord, keys: &[TrustedKey]) -> Self {
        let label = label_of(keys, version).filter(|_| version.signature_status == SignatureStatus::Valid);
        Self { status: version.signature_status, key_id: version.key_id, label }
    }
}

/// The label of the key that signed a version, while it is registered.
pub(crate) fn label_of(keys: &[TrustedKey], version: &VersionRecord) -> Option<String> {
    let id = version.key_id?;
    keys.iter().find(|key| key.key.id() == id).map(|key| key.label.clone())
}
