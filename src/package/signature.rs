//! Detached signatures in minisign's format: reading a `.minisig` file and checking it over an archive's hash.
//!
//! Four lines: an untrusted comment, the signature (`ED`, key id, Ed25519 over the BLAKE2b-512 of the archive), a trusted
//! comment, and a second signature over the first signature and that comment. Lines end with LF or CRLF, the last one may
//! end without; nothing else is tolerated, so that every reader takes the same file for the same signature.

use std::str::FromStr;

use data_encoding::BASE64;
use ed25519_dalek::Signature as Ed25519;

use super::PackageError;
use crate::domain::{KeyId, PublicKey, escape};

/// Longest signature file. minisign allows longer comments; nothing here needs them.
pub const MAX_SIGNATURE_BYTES: usize = 4096;

/// Signed over the BLAKE2b-512 of the file.
pub(super) const PREHASHED: [u8; 2] = *b"ED";

/// Signed over the file itself, which would have to be held in memory.
const LEGACY: [u8; 2] = *b"Ed";

pub(super) const UNTRUSTED_COMMENT: &str = "untrusted comment: ";
pub(super) const TRUSTED_COMMENT: &str = "trusted comment: ";

/// The BLAKE2b-512 of an archive.
pub(super) type Prehash = [u8; 64];

/// A `.minisig` file as read. It says nothing yet: only [`super::Upload::verify`] compares it with an archive.
#[derive(Clone, Debug)]
pub struct Signature {
    id: KeyId,
    archive: [u8; 64],
    trusted_comment: String,
    global: [u8; 64],
}

impl Signature {
    /// The id of the key that claims to have signed.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// The comment that the signature covers. It is foreign text: escape it before showing it.
    pub fn trusted_comment(&self) -> &str {
        &self.trusted_comment
    }

    /// Checks both signatures under a key.
    pub(super) fn check(&self, key: &PublicKey, prehash: &Prehash) -> Result<(), PackageError> {
        let invalid = |what: &str| PackageError::SignatureInvalid {
            rule: format!("the {what} was not made by key {} over these bytes", self.id),
            how: None,
        };
        // `verify_strict` also refuses S ≥ L and points of small order, so that nobody can make a second valid
        // signature out of a first, nor one that fits many archives.
        let point = key.point();
        point.verify_strict(prehash, &Ed25519::from_bytes(&self.archive)).map_err(|_forged| invalid("signature"))?;
        let mut covered = self.archive.to_vec();
        covered.extend_from_slice(self.trusted_comment.as_bytes());
        point.verify_strict(&covered, &Ed25519::from_bytes(&self.global)).map_err(|_forged| invalid("trusted comment"))
    }
}

/// The four lines of a `.minisig` file.
pub(super) fn to_text(
    untrusted_comment: &str,
    id: KeyId,
    signature: &[u8; 64],
    trusted_comment: &str,
    global: &[u8; 64],
) -> String {
    let mut first = PREHASHED.to_vec();
    first.extend_from_slice(&id.to_bytes());
    first.extend_from_slice(signature);
    format!(
        "{UNTRUSTED_COMMENT}{untrusted_comment}\n{}\n{TRUSTED_COMMENT}{trusted_comment}\n{}\n",
        BASE64.encode(&first),
        BASE64.encode(global)
    )
}

impl FromStr for Signature {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, PackageError> {
        if text.len() > MAX_SIGNATURE_BYTES {
            return Err(form(format!(
                "the signature file has {} bytes; at most {MAX_SIGNATURE_BYTES} are read",
                text.len()
            )));
        }
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        let lines: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
        let [untrusted, first, trusted, second] = lines.as_slice() else {
            return Err(form(format!("a signature file has 4 lines, found {}", lines.len())));
        };
        let untrusted = untrusted
            .strip_prefix(UNTRUSTED_COMMENT)
            .ok_or_else(|| form(format!("expected `{UNTRUSTED_COMMENT}`, found `{}`", escape(untrusted))))?;
        let trusted_comment = trusted
            .strip_prefix(TRUSTED_COMMENT)
            .ok_or_else(|| form(format!("expected `{TRUSTED_COMMENT}`, found `{}`", escape(trusted))))?;
        if [untrusted, trusted_comment].into_iter().any(|comment| !is_comment(comment)) {
            return Err(form("a comment of the signature file holds control characters".to_owned()));
        }
        let first: [u8; 74] = decode(first)?;
        let ([a, b, id @ ..], signature) = first.split_first_chunk::<10>().ok_or_else(no_rest)?;
        let algorithm = [*a, *b];
        if algorithm == LEGACY {
            return Err(PackageError::SignatureInvalid {
                rule: "the signature is of minisign's legacy kind `Ed`; only prehashed `ED` is accepted".to_owned(),
                how: Some(
                    "sign again without -l: minisign -S -s NAME.key -m FILE, or plugbay sign FILE --key NAME.key",
                ),
            });
        }
        if algorithm != PREHASHED {
            return Err(form(format!(
                "the signature's algorithm is `{}`; expected `ED`",
                escape(&String::from_utf8_lossy(&algorithm))
            )));
        }
        Ok(Self {
            id: KeyId::from_bytes(*id),
            archive: signature.try_into().map_err(|_length| no_rest())?,
            trusted_comment: trusted_comment.to_owned(),
            global: decode(second)?,
        })
    }
}

/// minisign writes tabs between the parts of its comment; other control characters could rewrite a terminal line.
pub(super) fn is_comment(text: &str) -> bool {
    text.chars().all(|character| character == '\t' || !character.is_control())
}

/// Reads base64 with its padding, without white space, and with zero bits at its end: one text for one value.
pub(super) fn decode<const N: usize>(line: &str) -> Result<[u8; N], PackageError> {
    BASE64
        .decode(line.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| form(format!("expected {N} bytes in base64, found `{}`", escape(line))))
}

fn no_rest() -> PackageError {
    form("the signature is too short".to_owned())
}

fn form(rule: String) -> PackageError {
    PackageError::SignatureInvalid {
        rule,
        how: Some("send the .minisig file as `minisign -S` or `plugbay sign` wrote it"),
    }
}
