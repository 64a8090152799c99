//! Detached signatures in minisign's format: reading a `.minisig` file and checking it over an archive's hash.
//!
//! Four lines: an untrusted comment, the signature (`ED`, key id, Ed25519 over the BLAKE2b-512 of the archive), a trusted
//! comment, and a second signature over the first signature and that comment. Lines end with LF or CRLF, the last one may
//! end without; nothing else is tolerated, so that every reader takes the same file for the same signature.

use std::str::FromStr;

use data_encoding::BASE64;
use ed25519_dalek::Signature as Ed25519;

use super::PackageError;
use plugbay_domain::{KeyId, PublicKey, escape};

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

    /// What the file holds beside its comments.
    pub(super) fn parts(&self) -> (KeyId, &[u8; 64], &[u8; 64]) {
        (self.id, &self.archive, &self.global)
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
        let end = |line| str::strip_suffix(line, "\r\n").or_else(|| str::strip_suffix(line, "\n")).unwrap_or(line);
        let lines: Vec<&str> = text.split_inclusive('\n').map(end).collect();
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

/// Reads base64 with its padding, without white space, and with zero bits at its end: one text for one value. The decoder
/// also takes padding in the middle of a text, so the result is written back and compared.
fn decode<const N: usize>(line: &str) -> Result<[u8; N], PackageError> {
    BASE64
        .decode(line.as_bytes())
        .ok()
        .filter(|bytes| BASE64.encode(bytes) == line)
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

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a wrong index fails the test, as it should")]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use plugbay_domain::{Code, Refusal};

    const PREHASH: Prehash = [7; 64];

    /// The order of the group, little-endian.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn key() -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[3; 32]);
        let public = PublicKey::new(KeyId::from_bytes([9; 8]), key.verifying_key().to_bytes()).unwrap();
        (key, public)
    }

    fn good() -> Signature {
        let (key, public) = key();
        let archive = key.sign(&PREHASH).to_bytes();
        let global = key.sign(&[archive.as_slice(), b"comment"].concat()).to_bytes();
        Signature { id: public.id(), archive, trusted_comment: "comment".to_owned(), global }
    }

    fn text() -> String {
        let Signature { id, archive, trusted_comment, global } = good();
        to_text("x", id, &archive, &trusted_comment, &global)
    }

    fn refused(signature: &Signature) -> bool {
        signature.check(&key().1, &PREHASH).is_err_and(|error| error.code() == Code::SignatureInvalid)
    }

    #[test]
    fn both_signatures_must_fit() {
        assert!(good().check(&key().1, &PREHASH).is_ok());
        assert!(good().check(&key().1, &[8; 64]).is_err());
        for bit in [0, 255, 256, 511] {
            let mut changed = good();
            changed.archive[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&changed), "archive, bit {bit}");
            let mut changed = good();
            changed.global[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&changed), "global, bit {bit}");
        }
        assert!(refused(&Signature { trusted_comment: "Comment".to_owned(), ..good() }));
        assert!(refused(&Signature { trusted_comment: String::new(), ..good() }));
    }

    #[test]
    fn malleable_and_degenerate_signatures_do_not_verify() {
        // S + L is the same number modulo L: readers without the check take it for a second valid signature.
        let mut malleable = good();
        let mut carry = 0;
        for (byte, add) in malleable.archive[32..].iter_mut().zip(L) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert!(refused(&malleable));

        assert!(refused(&Signature { archive: [0; 64], ..good() }));
        assert!(refused(&Signature { archive: [0xff; 64], ..good() }));
        assert!(refused(&Signature { global: [0; 64], ..good() }));
        // R of small order (the neutral element, its non-canonical form, a point of order 4), S = 0.
        let mut neutral = [0; 64];
        neutral[0] = 1;
        let mut non_canonical = [0xff; 64];
        (non_canonical[0], non_canonical[31]) = (0xee, 0x7f);
        non_canonical[32..].fill(0);
        for archive in [neutral, non_canonical, [0; 64]] {
            assert!(refused(&Signature { archive, ..good() }));
        }
    }

    #[test]
    fn a_signature_has_one_text() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        let [untrusted, first, trusted, second] = lines[..] else { panic!("four lines") };
        for same in [text.clone(), text.trim_end().to_owned(), text.replace('\n', "\r\n")] {
            assert!(same.parse::<Signature>().is_ok(), "{same:?}");
        }
        let join = |lines: [&str; 4]| format!("{}\n", lines.join("\n"));
        let bare = first.trim_end_matches('=');
        let bits = format!("{}B=", &first[..first.len() - 2]);
        let decoded = BASE64.decode(first.as_bytes()).unwrap();
        let longer = BASE64.encode(&[decoded.as_slice(), &[0]].concat());
        let shorter = BASE64.encode(&decoded[1..]);
        let (head, tail) = decoded.split_at(50);
        let padded_inside = BASE64.encode(head) + &BASE64.encode(tail);
        let others = [
            String::new(),
            join([untrusted, &padded_inside, trusted, second]),
            format!("{text}\n"),
            format!("{text}x"),
            format!("\n{text}"),
            format!("\u{feff}{text}"),
            format!("{}\r", text.trim_end()),
            join(["comment: x", first, trusted, second]),
            join([untrusted, first, "trusted comment:x", second]),
            join([untrusted, &format!(" {first}"), trusted, second]),
            join([untrusted, &format!("{first} "), trusted, second]),
            join([untrusted, bare, trusted, second]),
            join([untrusted, &bits, trusted, second]),
            join([untrusted, &longer, trusted, second]),
            join([untrusted, &shorter, trusted, second]),
            join([untrusted, &first.replace('+', "-").replace('/', "_").replacen('R', "_", 1), trusted, second]),
            join([untrusted, second, trusted, first]),
            join([untrusted, first, "trusted comment: a\u{1b}[2Kb", second]),
            join([untrusted, first, "trusted comment: a\rb", second]),
            join(["untrusted comment: \0", first, trusted, second]),
            join([&format!("untrusted comment: {}", "x".repeat(4096)), first, trusted, second]),
        ];
        for other in others {
            let error = other.parse::<Signature>().unwrap_err();
            assert_eq!(error.code(), Code::SignatureInvalid, "{other:?}");
        }
    }
}
