//! Signing keys: minisign public keys and what the operator trusts them for.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use super::{Code, KeyId, NamePattern, PluginName, Refusal, Timestamp};

/// The two letters minisign puts before every Ed25519 public key.
const ALGORITHM: [u8; 2] = *b"Ed";

/// Bytes of a public key: algorithm, key id, point.
const KEY_BYTES: usize = 2 + 8 + 32;

/// An Ed25519 public key in minisign's form, such as `RWQ…`. Weak points cannot be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    id: KeyId,
    point: VerifyingKey,
}

/// Why a text is not a usable public key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not minisign's form. The text is not repeated: what was pasted may be the secret half.
    #[error("expected 56 base64 characters beginning with RW, or a .pub file with them; found {found}")]
    Form {
        /// What it is instead.
        found: &'static str,
    },
    /// A point of small order or one that is not encoded canonically verifies forged signatures.
    #[error("key {id} is weak: its point has a small order or is not encoded canonically")]
    Weak {
        /// The key's id.
        id: KeyId,
    },
}

impl Refusal for KeyError {
    fn code(&self) -> Code {
        match self {
            Self::Form { .. } => Code::KeyInvalid,
            Self::Weak { .. } => Code::KeyWeak,
        }
    }
}

impl PublicKey {
    /// Makes a key from its id and its point.
    pub fn new(id: KeyId, point: [u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(&point).map_err(|_not_a_point| KeyError::Weak { id })?;
        // Decompression accepts y ≥ p; only the canonical encoding survives a round trip.
        if key.is_weak() || key.to_edwards().compress().to_bytes() != point {
            return Err(KeyError::Weak { id });
        }
        Ok(Self { id, point: key })
    }

    /// The number in the key and in everything it signs.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The curve point, for verification.
    pub fn point(&self) -> &VerifyingKey {
        &self.point
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads the base64 text alone, or a whole `.pub` file with its comment line.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let found = if text.contains("secret key") { "a secret key, which must stay secret" } else { "other text" };
        let form = || KeyError::Form { found };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.find(|line| !line.starts_with("untrusted comment:")).ok_or_else(form)?;
        if lines.next().is_some() {
            return Err(form());
        }
        let bytes = BASE64.decode(line.as_bytes()).map_err(|_not_base64| form())?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_wrong_length| form())?;
        let (algorithm, rest) = bytes.split_at(2);
        let (id, point) = rest.split_at(8);
        if algorithm != ALGORITHM {
            return Err(form());
        }
        let id = KeyId::from_bytes(id.try_into().map_err(|_wrong_length| form())?);
        let key = Self::new(id, point.try_into().map_err(|_wrong_length| form())?)?;
        // The decoder takes padding inside the text; one key has one text.
        if key.to_string() == line { Ok(key) } else { Err(form()) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(KEY_BYTES);
        bytes.extend(ALGORITHM);
        bytes.extend(self.id.to_bytes());
        bytes.extend(self.point.as_bytes());
        f.write_str(&BASE64.encode(&bytes))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// Whether archives must be signed by a trusted key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignaturePolicy {
    /// Nothing is parsed before a trusted key vouches for it.
    #[default]
    Required,
    /// Unsigned and unknown archives install and are marked; a signature that does not fit is refused all the same.
    Off,
}

/// A key the operator registered, with what it is trusted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// The operator's name for it.
    pub label: String,
    /// Plugins it may sign.
    pub names: Vec<NamePattern>,
    /// It signs nothing before this time.
    pub not_before: Option<Timestamp>,
    /// It signs nothing from this time on.
    pub not_after: Option<Timestamp>,
    /// It signs nothing any more.
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub reason: Option<String>,
}

impl TrustedKey {
    /// Tells whether the key may sign plugins of this name.
    pub fn covers(&self, name: &PluginName) -> bool {
        self.names.iter().any(|pattern| pattern.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn a_key_reads_alone_and_as_a_file() {
        let key: PublicKey = KEY.parse().unwrap();
        assert_eq!(key.id().to_string(), "E7620F1842B4E81F");
        assert_eq!(key.to_string(), KEY);
        assert_eq!(format!("untrusted comment: minisign public key\n{KEY}\n").parse::<PublicKey>().unwrap(), key);
    }

    #[test]
    fn other_texts_are_not_keys() {
        let padded = format!("{}=={}", &KEY[..2], &KEY[2..]);
        for text in ["", "RWQ", "untrusted comment: x", &padded, &format!("{KEY}\n{KEY}"), &KEY.replace("RWQ", "RUQ")] {
            assert!(matches!(text.parse::<PublicKey>(), Err(KeyError::Form { .. })), "{text}");
        }
    }

    #[test]
    fn a_secret_key_given_by_mistake_is_not_repeated() {
        let text = "untrusted comment: minisign encrypted secret key\nRWRTY0IyABCDEF\n";
        let error = text.parse::<PublicKey>().unwrap_err().to_string();
        assert!(error.contains("a secret key") && !error.contains("RWRTY"), "{error}");
    }

    #[test]
    fn points_of_small_order_and_non_canonical_points_are_weak() {
        let mut non_canonical = [0xff; 32];
        non_canonical[0] = 0xf0; // y = p + 3
        non_canonical[31] = 0x7f;
        for point in [
            [0; 32],
            {
                let mut one = [0; 32];
                one[0] = 1;
                one
            },
            non_canonical,
        ] {
            assert!(matches!(PublicKey::new(KeyId::from_bytes([0; 8]), point), Err(KeyError::Weak { .. })));
        }
    }
}
