//! An archive's bytes before anything in them is believed: received, hashed, and checked against a signature.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use blake2::Blake2b512;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use tracing::instrument;

use super::archive::BUFFER_BYTES;
use super::error::Limit;
use super::signature::Prehash;
use super::{InspectedArchive, PackageError, Signature};
use plugbay_domain::{ArchiveLimits, Digest, KeyId, SignaturePolicy, Timestamp, TrustedKey};

/// Both hashes of an archive: the one that names it and the one that minisign signs.
#[derive(Default)]
struct Hashes {
    sha256: Sha256,
    blake2b: Blake2b512,
}

impl Hashes {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake2b.update(bytes);
    }

    fn finish(self) -> (Digest, Prehash) {
        (Digest::from_bytes(self.sha256.finalize().into()), self.blake2b.finalize().into())
    }
}

/// Takes an upload piece by piece into `<folder>/archive`, which only the service can read.
pub struct Receiver {
    file: File,
    path: PathBuf,
    size: u64,
    most: u64,
    hashes: Hashes,
}

impl Receiver {
    /// Creates the file; it must not be there yet.
    pub fn create(folder: &Path, limits: &ArchiveLimits) -> Result<Self, PackageError> {
        let path = folder.join("archive");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(PackageError::io("create", &path))?;
        Ok(Self { file, path, size: 0, most: limits.upload_bytes, hashes: Hashes::default() })
    }

    /// Appends bytes. The first byte over the limit refuses the upload, whatever its sender announced.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PackageError> {
        self.size = grown(self.size, bytes, self.most)?;
        self.hashes.update(bytes);
        self.file.write_all(bytes).map_err(PackageError::io("write", &self.path))
    }

    /// Ends the upload.
    pub fn finish(self) -> Result<Upload, PackageError> {
        let (digest, prehash) = self.hashes.finish();
        Ok(Upload { archive: ArchiveFile { file: self.file, path: self.path, size: self.size, digest }, prehash })
    }
}

/// The new size, unless it is above the limit.
fn grown(size: u64, bytes: &[u8], most: u64) -> Result<u64, PackageError> {
    let size = size.saturating_add(bytes.len() as u64);
    if size > most {
        let place = "the archive".to_owned();
        return Err(PackageError::ArchiveTooLarge { place, limit: Limit::UploadBytes, most });
    }
    Ok(size)
}

/// An open archive file. The handle goes from stage to stage, so that all read the bytes that were hashed.
pub(super) struct ArchiveFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// Bytes as uploaded, hashed. Nothing in them has been believed yet.
pub struct Upload {
    archive: ArchiveFile,
    prehash: Prehash,
}

impl Upload {
    /// Hashes a file that is there already: one on the author's machine, or a stored one that is verified again.
    pub fn read(path: &Path, limits: &ArchiveLimits) -> Result<Self, PackageError> {
        // A FIFO would block the open for ever without NONBLOCK; for files the flag means nothing.
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(PackageError::io("open", path))?;
        if !file.metadata().map_err(PackageError::io("look at", path))?.is_file() {
            return Err(PackageError::unsupported(path.display().to_string(), "something other than a regular file"));
        }
        let mut hashes = Hashes::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut size: u64 = 0;
        loop {
            let count = file.read(&mut buffer).map_err(PackageError::io("read", path))?;
            let Some(bytes @ [_, ..]) = buffer.get(..count) else { break };
            size = grown(size, bytes, limits.upload_bytes)?;
            hashes.update(bytes);
        }
        let (digest, prehash) = hashes.finish();
        Ok(Self { archive: ArchiveFile { file, path: path.to_owned(), size, digest }, prehash })
    }

    /// The sha256 of all bytes.
    pub fn digest(&self) -> Digest {
        self.archive.digest
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.archive.size
    }

    /// Where the bytes are.
    pub fn path(&self) -> &Path {
        &self.archive.path
    }

    pub(super) fn prehash(&self) -> &Prehash {
        &self.prehash
    }

    /// Checks the signature over the packed bytes, before any parser sees them.
    #[instrument(name = "package.verify", skip_all, fields(archive.digest = %self.archive.digest))]
    pub fn verify(
        self,
        signature: Option<&Signature>,
        keys: &[TrustedKey],
        policy: SignaturePolicy,
        now: Timestamp,
    ) -> Result<VerifiedArchive, PackageError> {
        let signer = match (signature, policy) {
            (None, SignaturePolicy::Required) => return Err(PackageError::SignatureMissing),
            (None, SignaturePolicy::Off) => Signer::Unsigned,
            (Some(signature), _) => {
                let id = signature.key_id();
                match (keys.iter().find(|trusted| trusted.key.id() == id), policy) {
                    (None, SignaturePolicy::Required) => return Err(PackageError::SignatureUntrusted { id }),
                    (None, SignaturePolicy::Off) => Signer::Untrusted(id),
                    (Some(trusted), _) => {
                        check_validity(trusted, now)?;
                        signature.check(&trusted.key, &self.prehash)?;
                        Signer::Trusted(trusted.clone())
                    }
                }
            }
        };
        Ok(VerifiedArchive { archive: self.archive, signer })
    }
}

/// Refuses a key that is revoked or outside its time.
fn check_validity(trusted: &TrustedKey, now: Timestamp) -> Result<(), PackageError> {
    let id = trusted.key.id();
    if let Some(at) = trusted.revoked_at {
        return Err(PackageError::KeyRevoked { id, at, reason: trusted.reason.clone() });
    }
    if let Some(bound) = trusted.not_before.filter(|bound| now < *bound) {
        return Err(PackageError::KeyExpired { id, too_early: true, bound });
    }
    if let Some(bound) = trusted.not_after.filter(|bound| now >= *bound) {
        return Err(PackageError::KeyExpired { id, too_early: false, bound });
    }
    Ok(())
}

/// Who vouches for an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one per install")]
pub enum Signer {
    /// A registered key, valid now, whose signature fits the bytes.
    Trusted(TrustedKey),
    /// A key nobody registered, so that its signature could not be checked. Only under policy `off`.
    Untrusted(KeyId),
    /// Nobody. Only under policy `off`.
    Unsigned,
}

impl Signer {
    /// The id of the key, if there is one.
    pub fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Trusted(trusted) => Some(trusted.key.id()),
            Self::Untrusted(id) => Some(*id),
            Self::Unsigned => None,
        }
    }
}

/// An archive whose bytes the signature policy lets pass. Only [`Upload::verify`] makes one.
pub struct VerifiedArchive {
    pub(super) archive: ArchiveFile,
    pub(super) signer: Signer,
}

impl VerifiedArchive {
    /// Who vouches for it.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The sha256 of all bytes.
    pub fn digest(&self) -> Digest {
        self.archive.digest
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.archive.size
    }

    /// Where the bytes are.
    pub fn path(&self) -> &Path {
        &self.archive.path
    }

    /// Reads the whole archive against every rule and writes nothing.
    #[instrument(name = "package.inspect", skip_all, fields(archive.digest = %self.archive.digest))]
    pub fn inspect(self, limits: &ArchiveLimits) -> Result<InspectedArchive, PackageError> {
        InspectedArchive::read(self, limits)
    }
}

/// Removes a folder and what is in it; what cannot be removed is left to the clean-up at the next start.
pub(super) fn discard(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "Failed to remove a staging folder");
    }
}

macro_rules! debug_without_content {
    ($($type:ident { $($part:ident: $value:expr),* })*) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let this = self;
                f.debug_struct(stringify!($type))$(.field(stringify!($part), &$value(this)))*.finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_content! {
    Receiver { path: |this: &Self| this.path.clone(), size: |this: &Self| this.size }
    Upload { path: |this: &Self| this.archive.path.clone(), digest: |this: &Self| this.archive.digest }
    VerifiedArchive { path: |this: &Self| this.archive.path.clone(), signer: |this: &Self| this.signer.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;
    use plugbay_domain::{Code, PublicKey, Refusal};

    const NOW: &str = "2027-01-01T00:00:00.000Z";

    fn limits() -> ArchiveLimits {
        ArchiveLimits { upload_bytes: 10, ..ArchiveLimits::default() }
    }

    fn upload() -> (tempfile::TempDir, Upload) {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::create(folder.path(), &limits()).unwrap();
        receiver.write(b"some ").unwrap();
        receiver.write(b"bytes").unwrap();
        let upload = receiver.finish().unwrap();
        (folder, upload)
    }

    fn trusted(key: &PublicKey) -> TrustedKey {
        let names = vec!["*".parse().unwrap()];
        let label = "test".to_owned();
        TrustedKey { key: key.clone(), label, names, not_before: None, not_after: None, revoked_at: None, reason: None }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn code(signature: Option<&str>, keys: &[TrustedKey], policy: SignaturePolicy) -> Option<Code> {
        let signature: Option<Signature> = signature.map(|text| text.parse().unwrap());
        let verified = upload().1.verify(signature.as_ref(), keys, policy, NOW.parse().unwrap());
        verified.err().map(|error| error.code())
    }

    #[test]
    fn a_received_upload_is_hashed_private_and_limited() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, upload) = upload();
        assert_eq!(upload.digest().to_hex(), "0d22cdcc10e6d049dbe1af5123d50873fdfc1a4f58306e58cb6241be9472014d");
        assert_eq!(upload.size(), 10);
        assert_eq!(fs::metadata(upload.path()).unwrap().permissions().mode() & 0o7777, 0o600);
        let again = Upload::read(upload.path(), &limits()).unwrap();
        assert_eq!((again.digest(), again.prehash()), (upload.digest(), upload.prehash()));
        let error = Receiver::create(folder.path(), &limits()).unwrap_err();
        assert_eq!(error.code(), Code::Internal, "the file is there already");

        let other = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::create(other.path(), &limits()).unwrap();
        receiver.write(&[0; 10]).unwrap();
        assert_eq!(receiver.write(&[0]).unwrap_err().code(), Code::ArchiveTooLarge);
        fs::write(other.path().join("big"), [0; 11]).unwrap();
        assert_eq!(Upload::read(&other.path().join("big"), &limits()).unwrap_err().code(), Code::ArchiveTooLarge);
        assert_eq!(Upload::read(other.path(), &limits()).unwrap_err().code(), Code::ArchiveUnsupported);
    }

    #[test]
    fn each_reason_to_distrust_has_its_code() {
        use SignaturePolicy::{Off, Required};
        let (_folder, upload) = upload();
        let (key, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let signature = key.sign(&upload, "").unwrap();
        let good = trusted(key.public_key());
        // A registered key with the id that the signature names, and another point.
        let forged = trusted(&PublicKey::new(good.key.id(), *other.public_key().point().as_bytes()).unwrap());
        let revoked = TrustedKey { revoked_at: Some(time(NOW)), ..good.clone() };
        let early = TrustedKey { not_before: Some(time("2027-01-01T00:00:00.001Z")), ..good.clone() };
        let late = TrustedKey { not_after: Some(time(NOW)), ..good.clone() };
        let in_time = TrustedKey {
            not_before: Some(time(NOW)),
            not_after: Some(time("2027-01-01T00:00:00.001Z")),
            ..good.clone()
        };
        let text = Some(signature.as_str());
        let table = [
            (None, vec![good.clone()], Required, Some(Code::SignatureMissing)),
            (text, vec![], Required, Some(Code::SignatureUntrusted)),
            (text, vec![trusted(other.public_key())], Required, Some(Code::SignatureUntrusted)),
            (text, vec![forged.clone()], Required, Some(Code::SignatureInvalid)),
            (text, vec![revoked.clone()], Required, Some(Code::KeyRevoked)),
            (text, vec![early], Required, Some(Code::KeyExpired)),
            (text, vec![late], Required, Some(Code::KeyExpired)),
            (text, vec![in_time], Required, None),
            (text, vec![trusted(other.public_key()), good.clone()], Required, None),
            (None, vec![], Off, None),
            (text, vec![], Off, None),
            (text, vec![forged], Off, Some(Code::SignatureInvalid)),
            (text, vec![revoked], Off, Some(Code::KeyRevoked)),
        ];
        for (line, (signature, keys, policy, expected)) in table.into_iter().enumerate() {
            assert_eq!(code(signature, &keys, policy), expected, "line {line}");
        }
    }

    #[test]
    fn the_signer_says_who_vouches() {
        let (_folder, upload) = upload();
        let key = SecretKey::generate().unwrap();
        let signature: Signature = key.sign(&upload, "").unwrap().parse().unwrap();
        let keys = [trusted(key.public_key())];
        let id = Some(key.public_key().id());
        let verified = upload.verify(Some(&signature), &keys, SignaturePolicy::Required, NOW.parse().unwrap()).unwrap();
        assert_eq!((verified.signer(), verified.signer().key_id()), (&Signer::Trusted(keys[0].clone()), id));
        let verified =
            self::upload().1.verify(Some(&signature), &[], SignaturePolicy::Off, NOW.parse().unwrap()).unwrap();
        assert_eq!(verified.signer().key_id(), id);
        assert!(matches!(verified.signer(), Signer::Untrusted(_)));
    }
}
