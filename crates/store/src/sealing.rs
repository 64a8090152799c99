//! How secrets lie in the database: XChaCha20-Poly1305 under a key of their own, each bound to its plugin, its field and
//! the revision it came with, and what it was set for. A row that was changed, or copied to another place, does not open.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use zeroize::Zeroize as _;

use super::audit::keyed;
use plugbay_domain::PluginId;

/// Bytes of a nonce: enough of them that drawing at random never meets one twice.
const NONCE_BYTES: usize = 24;

/// The key that seals, derived from the master key.
pub struct SealingKey(SecretBox<[u8; 32]>);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey([redacted])")
    }
}

/// What a sealed value belongs to; it opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// A secret of a plugin; `policies` is missing in rows that were written before there were any.
    Secret { plugin: PluginId, field: &'a str, revision: i64, policies: Option<&'a str> },
    /// The known text.
    Check,
}

/// A sealed value.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) nonce: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// The system has no random bytes, or the cipher failed.
#[derive(Debug, thiserror::Error)]
#[error("a secret could not be sealed: {0}")]
pub struct SealError(String);

/// The value does not belong here, or was sealed with another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DoesNotOpen;

impl Place<'_> {
    /// Lengths go in with the fields, so that no two places have the same bytes.
    fn associated(self) -> Vec<u8> {
        let Self::Secret { plugin, field, revision, policies } = self else {
            return b"plugbay sealing check 1".to_vec();
        };
        let plugin = plugin.to_string();
        let (kind, parts) = match policies {
            None => (&b"plugbay secret 1"[..], vec![plugin.as_str(), field]),
            Some(policies) => (&b"plugbay secret 2"[..], vec![plugin.as_str(), field, policies]),
        };
        let mut bytes = kind.to_vec();
        for part in parts {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes.extend(revision.to_be_bytes());
        bytes
    }
}

impl SealingKey {
    /// Derives the key from the master key.
    pub fn derive(master: &[u8; 32]) -> Self {
        let mut key = keyed(master, &[b"plugbay secrets 1"]);
        let boxed = Self(SecretBox::new(Box::new(key)));
        key.zeroize();
        boxed
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0.expose_secret()))
    }

    pub(super) fn seal(&self, place: Place<'_>, value: &SecretString) -> Result<Sealed, SealError> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| SealError(error.to_string()))?;
        let payload = Payload { msg: value.expose_secret().as_bytes(), aad: &place.associated() };
        let bytes = self.cipher().encrypt(&XNonce::from(nonce), payload);
        let bytes = bytes.map_err(|error| SealError(error.to_string()))?;
        Ok(Sealed { nonce: nonce.to_vec(), bytes })
    }

    pub(super) fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<SecretString, DoesNotOpen> {
        let nonce: [u8; NONCE_BYTES] = sealed.nonce.as_slice().try_into().map_err(|_length| DoesNotOpen)?;
        let payload = Payload { msg: &sealed.bytes, aad: &place.associated() };
        let opened = self.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_refused| DoesNotOpen)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_only_text_is_sealed| DoesNotOpen)
    }
}

/// The key by which an installation knows its own backups, derived from the master key.
#[derive(Clone)]
pub struct BackupKey(Arc<SecretBox<[u8; 32]>>);

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey([redacted])")
    }
}

impl BackupKey {
    /// Derives the key from the master key.
    pub fn derive(master: &[u8; 32]) -> Self {
        let mut key = keyed(master, &[b"plugbay backup 1"]);
        let boxed = Self(Arc::new(SecretBox::new(Box::new(key))));
        key.zeroize();
        boxed
    }

    /// A keyed hash, as hexadecimal digits.
    pub fn seal(&self, bytes: &[u8]) -> String {
        HEXLOWER.encode(&keyed(self.0.expose_secret(), &[bytes]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealingKey {
        SealingKey::derive(&[byte; 32])
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_alone() {
        let (plugin, other) = (PluginId::generate(), PluginId::generate());
        let place = Place::Secret { plugin, field: "api_key", revision: 1, policies: Some("[]") };
        let sealed = key(1).seal(place, &SecretString::from("hunter2")).unwrap();
        assert_eq!(key(1).open(place, &sealed).unwrap().expose_secret(), "hunter2");
        for elsewhere in [
            Place::Secret { plugin: other, field: "api_key", revision: 1, policies: Some("[]") },
            Place::Secret { plugin, field: "api_kez", revision: 1, policies: Some("[]") },
            Place::Secret { plugin, field: "api_key", revision: 2, policies: Some("[]") },
            Place::Secret { plugin, field: "api_key", revision: 1, policies: Some("[1]") },
            Place::Secret { plugin, field: "api_key", revision: 1, policies: None },
            Place::Check,
        ] {
            assert_eq!(key(1).open(elsewhere, &sealed).unwrap_err(), DoesNotOpen, "{elsewhere:?}");
        }
        assert_eq!(key(2).open(place, &sealed).unwrap_err(), DoesNotOpen, "another key");
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let place = Place::Secret { plugin: PluginId::generate(), field: "a", revision: 1, policies: None };
        let sealed = key(1).seal(place, &SecretString::from("hunter2")).unwrap();
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1;
            assert_eq!(key(1).open(place, &changed).unwrap_err(), DoesNotOpen);
        }
        for at in 0..sealed.nonce.len() {
            let mut changed = sealed.clone();
            changed.nonce[at] ^= 1;
            assert_eq!(key(1).open(place, &changed).unwrap_err(), DoesNotOpen);
        }
        let cut = Sealed { bytes: sealed.bytes[..10].to_vec(), ..sealed.clone() };
        assert_eq!(key(1).open(place, &cut).unwrap_err(), DoesNotOpen);
        let short = Sealed { nonce: vec![0; 12], ..sealed };
        assert_eq!(key(1).open(place, &short).unwrap_err(), DoesNotOpen);
    }

    #[test]
    fn the_same_value_is_never_sealed_to_the_same_bytes() {
        let place = Place::Secret { plugin: PluginId::generate(), field: "a", revision: 1, policies: None };
        let seal = || key(1).seal(place, &SecretString::from("hunter2")).unwrap();
        let (one, two) = (seal(), seal());
        assert!(one.nonce != two.nonce && one.bytes != two.bytes);
        let bytes = b"hunter2";
        assert!(!one.bytes.windows(bytes.len()).any(|window| window == bytes));
        assert!(!format!("{:?}", key(1)).contains('1'));
    }
}
