//! Secret keys in minisign's file format, and what authors do with them: make a pair, sign an archive.
//!
//! A protected key is masked with scrypt's output at the cost libsodium calls *sensitive* (2^20 rounds, 1 GiB of memory),
//! as minisign writes it. A plain one has zeros for the whole of scrypt's parameters and for the checksum.

use std::fmt;
use std::io;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use data_encoding::BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::signature::{UNTRUSTED_COMMENT, is_comment, to_text};
use super::{PackageError, Upload};
use plugbay_domain::{KeyId, PublicKey};

const ALGORITHM: &[u8] = b"Ed";
const SCRYPT: &[u8] = b"Sc";
const NO_KDF: &[u8] = &[0, 0];
const BLAKE2B: &[u8] = b"B2";

/// libsodium's `crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE` and its memory limit.
const SENSITIVE: Cost = Cost { operations: 1 << 25, memory: 1 << 30 };

/// The highest cost that is read: a file must not make the program take all memory or run for hours.
const MAX_LOG_N: u8 = 20;
const MAX_PARALLEL: u32 = 4;

/// Bytes of key id, seed, point and checksum: the part that a password protects.
const PROTECTED_BYTES: usize = 8 + 64 + 32;

/// Longest trusted comment that fits a signature file beside its other lines.
const MAX_COMMENT_BYTES: usize = 2048;

/// The secret half of a key pair. Its bytes are wiped when it goes.
pub struct SecretKey {
    public: PublicKey,
    key: SigningKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, [redacted])", self.public.id())
    }
}

impl SecretKey {
    /// Makes a new pair from the operating system's randomness.
    pub fn generate() -> Result<Self, PackageError> {
        let mut id = [0; 8];
        let mut seed = Zeroizing::new([0; 32]);
        random(&mut id)?;
        random(seed.as_mut())?;
        Self::new(KeyId::from_bytes(id), SigningKey::from_bytes(&seed))
    }

    fn new(id: KeyId, key: SigningKey) -> Result<Self, PackageError> {
        Ok(Self { public: PublicKey::new(id, key.verifying_key().to_bytes())?, key })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The text of a `.pub` file.
    pub fn to_public_file_text(&self) -> String {
        format!("{UNTRUSTED_COMMENT}minisign public key {}\n{}\n", self.public.id(), self.public)
    }

    /// Signs an archive: the text of its `.minisig` file.
    pub fn sign(&self, upload: &Upload, trusted_comment: &str) -> Result<String, PackageError> {
        if !is_comment(trusted_comment) || trusted_comment.len() > MAX_COMMENT_BYTES {
            return Err(PackageError::SignatureInvalid {
                rule: format!("a trusted comment is one line of at most {MAX_COMMENT_BYTES} bytes"),
                how: Some("shorten the comment, and leave out line ends and control characters"),
            });
        }
        let signature = self.key.sign(upload.prehash()).to_bytes();
        let mut covered = signature.to_vec();
        covered.extend_from_slice(trusted_comment.as_bytes());
        let global = self.key.sign(&covered).to_bytes();
        Ok(to_text("signature from plugbay secret key", self.public.id(), &signature, trusted_comment, &global))
    }

    /// Tells whether a key file needs a password.
    pub fn is_encrypted(text: &str) -> Result<bool, PackageError> {
        Ok(Parts::parse(text)?.kdf == SCRYPT)
    }

    /// The text of a key file, protected by the password if one is given.
    pub fn to_file_text(&self, password: Option<&SecretString>) -> Result<SecretString, PackageError> {
        self.to_text_at(password, SENSITIVE)
    }

    fn to_text_at(&self, password: Option<&SecretString>, cost: Cost) -> Result<SecretString, PackageError> {
        let keypair = Zeroizing::new(self.key.to_keypair_bytes());
        let mut salt = [0; 32];
        let mut protected = Zeroizing::new([0; PROTECTED_BYTES]);
        let content = self.public.id().to_bytes().into_iter().chain(keypair.iter().copied());
        for (byte, from) in protected.iter_mut().zip(content) {
            *byte = from;
        }
        let (kdf, cost) = match password {
            None => (NO_KDF, Cost { operations: 0, memory: 0 }),
            Some(password) => {
                random(&mut salt)?;
                let checksum = checksum(self.public.id(), &keypair);
                for (byte, from) in protected.iter_mut().skip(8 + 64).zip(checksum) {
                    *byte = from;
                }
                mask(&mut protected, password, &salt, cost)?;
                (SCRYPT, cost)
            }
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(158));
        bytes.extend_from_slice(ALGORITHM);
        bytes.extend_from_slice(kdf);
        bytes.extend_from_slice(BLAKE2B);
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(&cost.operations.to_le_bytes());
        bytes.extend_from_slice(&cost.memory.to_le_bytes());
        bytes.extend_from_slice(protected.as_ref());
        let line = Zeroizing::new(BASE64.encode(&bytes));
        let kind = if password.is_some() { "encrypted" } else { "plain" };
        Ok(SecretString::from(format!("{UNTRUSTED_COMMENT}minisign {kind} secret key\n{}\n", line.as_str())))
    }

    /// Reads a key file.
    pub fn from_file_text(text: &str, password: Option<&SecretString>) -> Result<Self, PackageError> {
        let mut parts = Parts::parse(text)?;
        let encrypted = parts.kdf == SCRYPT;
        if encrypted {
            let password = password.ok_or_else(|| refused("it is protected by a password", "give the password"))?;
            mask(&mut parts.protected, password, &parts.salt, parts.cost)?;
        }
        let (id, rest) = parts.protected.split_first_chunk::<8>().ok_or_else(form)?;
        let (keypair, sum) = rest.split_first_chunk::<64>().ok_or_else(form)?;
        let id = KeyId::from_bytes(*id);
        // minisign leaves zeros for the checksum of a plain key.
        let unchecked = !encrypted && sum.iter().all(|byte| *byte == 0);
        if !unchecked && sum != checksum(id, keypair) {
            let rule = if encrypted { "the password is not the key's" } else { "its checksum is wrong" };
            return Err(refused(rule, "try again with the right password, or with an unchanged copy of the file"));
        }
        let key = SigningKey::from_keypair_bytes(keypair).map_err(|_mismatch| {
            refused("its two halves do not belong together", "use an unchanged copy of the file")
        })?;
        Self::new(id, key)
    }
}

/// The file's content by its fields.
struct Parts {
    kdf: [u8; 2],
    salt: [u8; 32],
    cost: Cost,
    protected: Zeroizing<[u8; PROTECTED_BYTES]>,
}

impl Parts {
    fn parse(text: &str) -> Result<Self, PackageError> {
        let mut lines = text.lines();
        lines.next().filter(|line| line.starts_with(UNTRUSTED_COMMENT)).ok_or_else(form)?;
        let line = lines.next().ok_or_else(form)?;
        if lines.next().is_some() {
            return Err(form());
        }
        let bytes = Zeroizing::new(BASE64.decode(line.as_bytes()).map_err(|_not_base64| form())?);
        if *Zeroizing::new(BASE64.encode(&bytes)) != *line {
            return Err(form());
        }
        let mut rest = bytes.as_slice();
        let algorithm: [u8; 2] = take(&mut rest)?;
        let kdf: [u8; 2] = take(&mut rest)?;
        let checksum: [u8; 2] = take(&mut rest)?;
        let salt = take(&mut rest)?;
        let cost =
            Cost { operations: u64::from_le_bytes(take(&mut rest)?), memory: u64::from_le_bytes(take(&mut rest)?) };
        let protected = Zeroizing::new(take(&mut rest)?);
        if algorithm != ALGORITHM || checksum != BLAKE2B || (kdf != SCRYPT && kdf != NO_KDF) || !rest.is_empty() {
            return Err(form());
        }
        Ok(Self { kdf, salt, cost, protected })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], PackageError> {
    let (first, left) = rest.split_first_chunk::<N>().ok_or_else(form)?;
    *rest = left;
    Ok(*first)
}

/// What a password guess costs, in libsodium's two measures.
#[derive(Clone, Copy)]
struct Cost {
    operations: u64,
    memory: u64,
}

impl Cost {
    /// The parameters libsodium derives from its measures.
    fn to_params(self) -> Result<scrypt::Params, PackageError> {
        let too_high = || refused("its scrypt parameters are too high", "use a key made by minisign or plugbay keygen");
        let operations = self.operations.max(32_768);
        let few = operations < self.memory / 32;
        // r is 8, so one of N costs 32 operations and 1024 bytes.
        let most = if few { operations / 32 } else { self.memory / 1024 };
        let log_n: u8 =
            (1_u8..63).find(|log_n| 1_u64.wrapping_shl(u32::from(*log_n)) > most / 2).ok_or_else(too_high)?;
        let parallel = if few { 1 } else { (operations / 4).checked_shr(u32::from(log_n)).unwrap_or(0) / 8 };
        let parallel = u32::try_from(parallel).ok().filter(|parallel| (1..=MAX_PARALLEL).contains(parallel));
        match parallel {
            Some(parallel) if log_n <= MAX_LOG_N => {
                scrypt::Params::new(log_n, 8, parallel).map_err(|_out_of_range| too_high())
            }
            _ => Err(too_high()),
        }
    }
}

/// Puts the password's mask on, or takes it off.
fn mask(
    protected: &mut [u8; PROTECTED_BYTES],
    password: &SecretString,
    salt: &[u8; 32],
    cost: Cost,
) -> Result<(), PackageError> {
    let mut stream = Zeroizing::new([0; PROTECTED_BYTES]);
    scrypt::scrypt(password.expose_secret().as_bytes(), salt, &cost.to_params()?, stream.as_mut())
        .map_err(|_length| form())?;
    for (byte, with) in protected.iter_mut().zip(stream.iter()) {
        *byte ^= with;
    }
    Ok(())
}

fn checksum(id: KeyId, keypair: &[u8; 64]) -> [u8; 32] {
    let mut hash = Blake2b::<U32>::new();
    hash.update(ALGORITHM);
    hash.update(id.to_bytes());
    hash.update(keypair);
    hash.finalize().into()
}

fn random(bytes: &mut [u8]) -> Result<(), PackageError> {
    getrandom::fill(bytes)
        .map_err(|error| PackageError::io("read random bytes from", "the system")(io::Error::other(error)))
}

fn form() -> PackageError {
    refused("it is not a minisign secret key", "use the .key file that minisign or plugbay keygen wrote")
}

fn refused(rule: &str, how: &'static str) -> PackageError {
    PackageError::SecretKey { rule: rule.to_owned(), how }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a wrong index fails the test, as it should")]
mod tests {
    use super::*;

    /// Cheap enough for a test: N = 1024.
    const CHEAP: Cost = Cost { operations: 32_768, memory: 1 << 20 };

    #[test]
    fn a_password_opens_its_key_and_no_other_does() {
        let key = SecretKey::generate().unwrap();
        let text = key.to_text_at(Some(&"right".into()), CHEAP).unwrap();
        let open = |password: &str| SecretKey::from_file_text(text.expose_secret(), Some(&password.into()));
        assert_eq!(open("right").unwrap().public_key(), key.public_key());
        assert!(open("wrong").unwrap_err().to_string().contains("the password is not the key's"));
        assert!(open("").is_err());
    }

    #[test]
    fn the_cost_of_minisign_is_that_of_libsodium() {
        assert_eq!(SENSITIVE.to_params().unwrap(), scrypt::Params::new(20, 8, 1).unwrap());
        for (operations, memory) in [(u64::MAX, u64::MAX), (1 << 26, 1 << 31), (u64::MAX, 1024), (1 << 40, 1 << 30)] {
            assert!(Cost { operations, memory }.to_params().is_err(), "{operations} {memory}");
        }
    }

    #[test]
    fn damaged_key_files_are_refused() {
        let key = SecretKey::generate().unwrap();
        let text = key.to_file_text(None).unwrap();
        let text = text.expose_secret();
        assert_eq!(SecretKey::from_file_text(text, None).unwrap().public_key(), key.public_key());
        let (comment, line) = text.trim_end().split_once('\n').unwrap();
        let mut bytes = BASE64.decode(line.as_bytes()).unwrap();
        bytes[70] ^= 1; // a bit of the seed
        let damaged = BASE64.encode(&bytes);
        let longer = BASE64.encode(&[bytes.as_slice(), &[0]].concat());
        for other in [
            String::new(),
            line.to_owned(),
            format!("{comment}\n{damaged}\n"),
            format!("{comment}\n{longer}\n"),
            format!("{text}\n{line}"),
        ] {
            assert!(SecretKey::from_file_text(&other, None).is_err(), "{other}");
        }
        assert!(!SecretKey::is_encrypted(text).unwrap());
        assert_eq!(format!("{key:?}"), format!("SecretKey({}, [redacted])", key.public_key().id()));
    }
}
