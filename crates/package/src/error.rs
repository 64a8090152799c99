//! Why an archive, a signature or an unpacked package was not accepted.

use std::io;
use std::path::{Path, PathBuf};

use plugbay_domain::{Code, FieldError, KeyError, KeyId, PluginName, Refusal, Timestamp, escape};

/// The archive limits, as the configuration names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of the archive.
    UploadBytes,
    /// Bytes of all files together.
    UnpackedBytes,
    /// Bytes of one file.
    FileBytes,
    /// Files and folders together.
    Entries,
    /// Unpacked bytes for one packed byte.
    Ratio,
}

impl Limit {
    /// The setting below `limits`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UploadBytes => "upload_mb",
            Self::UnpackedBytes => "unpacked_mb",
            Self::FileBytes => "file_mb",
            Self::Entries => "entries",
            Self::Ratio => "ratio",
        }
    }

    const fn measure(self) -> &'static str {
        match self {
            Self::UploadBytes => "bytes",
            Self::UnpackedBytes => "bytes unpacked",
            Self::FileBytes => "bytes in one file",
            Self::Entries => "files and folders",
            Self::Ratio => "unpacked bytes for one packed byte",
        }
    }
}

/// Why something in this module was refused. Texts from the archive are escaped and cut where they are stored.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// `..` in a path.
    #[error("entry `{entry}` has a `..` component")]
    PathTraversal {
        /// The entry's path.
        entry: String,
    },
    /// A path that does not start at the archive's root.
    #[error("entry `{entry}` is absolute: it begins with `{found}`")]
    PathAbsolute {
        /// The entry's path.
        entry: String,
        /// How the path begins.
        found: String,
    },
    /// Another rule about paths.
    #[error("entry `{entry}` {rule}")]
    PathInvalid {
        /// The entry's path.
        entry: String,
        /// What was found and what is allowed.
        rule: String,
    },
    /// Two names that some file system takes for one.
    #[error("entry `{entry}` has the same name as `{other}`: {rule}")]
    PathCollision {
        /// The later entry.
        entry: String,
        /// The earlier entry.
        other: String,
        /// In what sense they are the same.
        rule: &'static str,
    },
    /// Not a file and not a folder.
    #[error("entry `{entry}` is a {found}; only files and folders are allowed")]
    EntryKind {
        /// The entry's path.
        entry: String,
        /// What it is.
        found: String,
    },
    /// Mode bits that lend rights.
    #[error("entry `{entry}` has mode {mode:04o}; setuid, setgid and sticky bits are not allowed")]
    EntryMode {
        /// The entry's path.
        entry: String,
        /// The permission bits.
        mode: u32,
    },
    /// The archive is damaged, or no honest program wrote it.
    #[error("{place}: {rule}")]
    ArchiveMalformed {
        /// Entry or part of the archive.
        place: String,
        /// What was found and what was expected.
        rule: String,
    },
    /// Two programs may read the archive in two ways.
    #[error("{place}: {rule}")]
    ArchiveAmbiguous {
        /// Entry or part of the archive.
        place: String,
        /// What disagrees with what.
        rule: String,
    },
    /// A format, method or feature that is not read.
    #[error("{place} uses {found}, which is not accepted")]
    ArchiveUnsupported {
        /// Entry or part of the archive.
        place: String,
        /// The feature.
        found: String,
    },
    /// A limit of the operator.
    #[error("{place} has more than {most} {}", limit.measure())]
    ArchiveTooLarge {
        /// Entry or part of the archive.
        place: String,
        /// Which limit.
        limit: Limit,
        /// Its value.
        most: u64,
    },
    /// No manifest at a place where one is looked for.
    #[error("there is no file plugin.yaml at the archive's root or in its single top folder{}", also(found.as_deref()))]
    ManifestMissing {
        /// A file that was probably meant.
        found: Option<String>,
    },
    /// The manifest cannot be told, or is too long.
    #[error("{rule}")]
    ManifestInvalid {
        /// What was found and what was expected.
        rule: String,
        /// The way out.
        how: &'static str,
    },
    /// `main` names no regular file.
    #[error("the entry point `{main}` is {found}")]
    EntrypointMissing {
        /// The path in the manifest.
        main: String,
        /// What is there instead.
        found: &'static str,
    },
    /// Dependencies, and no `vendor/`.
    #[error("the manifest lists dependencies and the archive has no folder vendor/")]
    DependenciesNotVendored,
    /// Nothing vouches for the archive.
    #[error("the archive comes without a signature")]
    SignatureMissing,
    /// Signed by a key nobody registered.
    #[error("the archive is signed by key {id}, which is not trusted")]
    SignatureUntrusted {
        /// The key the signature names.
        id: KeyId,
    },
    /// The text is not a signature, or not one of these bytes.
    #[error("{rule}")]
    SignatureInvalid {
        /// What was found and what was expected.
        rule: String,
        /// The way out, where there is a better one than fetching again.
        how: Option<&'static str>,
    },
    /// The key is trusted for other plugins.
    #[error("key {id} ({label}) may sign {patterns}, not `{name}`")]
    SignatureScope {
        /// The key.
        id: KeyId,
        /// The operator's name for it.
        label: String,
        /// What it may sign.
        patterns: String,
        /// The plugin.
        name: PluginName,
    },
    /// The key's time has not come or is over.
    #[error("key {id} {} at {bound}", if *too_early { "is not valid before: it starts" } else { "is no longer valid: it ended" })]
    KeyExpired {
        /// The key.
        id: KeyId,
        /// Whether its time is still to come.
        too_early: bool,
        /// The end of its time that was missed.
        bound: Timestamp,
    },
    /// The key was withdrawn.
    #[error("key {id} was revoked at {at}{}", because(reason.as_deref()))]
    KeyRevoked {
        /// The key.
        id: KeyId,
        /// When.
        at: Timestamp,
        /// Why.
        reason: Option<String>,
    },
    /// The text is not a secret key, or the password is not the key's.
    #[error("the secret key cannot be used: {rule}")]
    SecretKey {
        /// What was found and what was expected.
        rule: String,
        /// The way out.
        how: &'static str,
    },
    /// The public half of a key pair.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An unpacked package is not what was installed.
    #[error("`{path}` of the package {found}")]
    PackageTampered {
        /// Path within the package.
        path: String,
        /// What is different.
        found: String,
    },
    /// A file in a folder to be packed.
    #[error("`{path}` cannot be packed: it is a {found}")]
    SourceKind {
        /// Path within the folder.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// Secret keys in files to be packed.
    #[error("{}{}", found.first().map(ToString::to_string).unwrap_or_default(), more(found.len()))]
    SecretInPackage {
        /// One for each file.
        found: Vec<FieldError>,
    },
    /// The machine did not do what it was asked.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

fn also(found: Option<&str>) -> String {
    found.map(|name| format!("; `{name}` does not count")).unwrap_or_default()
}

fn more(count: usize) -> String {
    if count > 1 { format!(", and {} more files hold one", count.saturating_sub(1)) } else { String::new() }
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {}", escape(reason))).unwrap_or_default()
}

impl PackageError {
    pub(super) fn malformed(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::ArchiveMalformed { place: place.into(), rule: rule.into() }
    }

    pub(super) fn ambiguous(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::ArchiveAmbiguous { place: place.into(), rule: rule.into() }
    }

    pub(super) fn unsupported(place: impl Into<String>, found: impl Into<String>) -> Self {
        Self::ArchiveUnsupported { place: place.into(), found: found.into() }
    }

    pub(super) fn tampered(path: impl AsRef<str>, found: impl Into<String>) -> Self {
        Self::PackageTampered { path: escape(path.as_ref()), found: found.into() }
    }

    /// For `map_err` after a file operation.
    pub(super) fn io<E: Into<io::Error>, P: AsRef<Path>>(action: &'static str, path: P) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source: source.into() }
    }
}

impl Refusal for PackageError {
    fn code(&self) -> Code {
        match self {
            Self::PathTraversal { .. } => Code::PathTraversal,
            Self::PathAbsolute { .. } => Code::PathAbsolute,
            Self::PathInvalid { .. } => Code::PathInvalid,
            Self::PathCollision { .. } => Code::PathCollision,
            Self::EntryKind { .. } | Self::SourceKind { .. } => Code::EntryKind,
            Self::EntryMode { .. } => Code::EntryMode,
            Self::ArchiveMalformed { .. } => Code::ArchiveMalformed,
            Self::ArchiveAmbiguous { .. } => Code::ArchiveAmbiguous,
            Self::ArchiveUnsupported { .. } => Code::ArchiveUnsupported,
            Self::ArchiveTooLarge { .. } => Code::ArchiveTooLarge,
            Self::ManifestMissing { .. } => Code::ManifestMissing,
            Self::ManifestInvalid { .. } => Code::ManifestInvalid,
            Self::EntrypointMissing { .. } => Code::EntrypointMissing,
            Self::DependenciesNotVendored => Code::DependenciesNotVendored,
            Self::SignatureMissing => Code::SignatureMissing,
            Self::SignatureUntrusted { .. } => Code::SignatureUntrusted,
            Self::SignatureInvalid { .. } => Code::SignatureInvalid,
            Self::SignatureScope { .. } => Code::SignatureScope,
            Self::KeyExpired { .. } => Code::KeyExpired,
            Self::KeyRevoked { .. } => Code::KeyRevoked,
            Self::SecretKey { .. } => Code::SecretKeyInvalid,
            Self::Key(error) => error.code(),
            Self::PackageTampered { .. } => Code::PackageTampered,
            Self::SecretInPackage { .. } => Code::SecretInPackage,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
                io::ErrorKind::ReadOnlyFilesystem => Code::DatabaseReadOnly,
                _ => Code::Internal,
            },
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::ArchiveTooLarge { limit, .. } => Some(format!(
                "make the package smaller, or ask the operator to raise `limits.{}` in plugbay.yaml",
                limit.as_str()
            )),
            Self::ManifestInvalid { how, .. } | Self::SecretKey { how, .. } => Some((*how).to_owned()),
            Self::SignatureUntrusted { id } => Some(format!(
                "if you trust its author, ask them for the public key with id {id}, then: \
                 plugbay key add FILE.pub --label LABEL --names GLOB"
            )),
            Self::SignatureInvalid { how, .. } => how.map(str::to_owned),
            Self::SignatureScope { id, name, .. } => {
                Some(format!("have `{name}` signed by a key registered for that name, or register key {id} for it"))
            }
            Self::KeyExpired { too_early: true, bound, .. } => Some(format!("install it after {bound}")),
            Self::SourceKind { .. } => {
                Some("replace it by a copy of what it stands for, or list it in .pluginignore".to_owned())
            }
            _ => None,
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::SecretInPackage { found } => found,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_read_only_one_have_their_own_codes() {
        let code =
            |errno: i32| PackageError::io::<io::Error, _>("write", "x")(io::Error::from_raw_os_error(errno)).code();
        assert_eq!(code(28), Code::StorageFull);
        assert_eq!(code(122), Code::StorageFull);
        assert_eq!(code(30), Code::DatabaseReadOnly);
        assert_eq!(code(5), Code::Internal);
    }

    #[test]
    fn an_untrusted_key_is_named_with_the_line_that_registers_it() {
        let how = PackageError::SignatureUntrusted { id: KeyId::from_bytes([1; 8]) }.how().unwrap();
        assert!(how.contains("0101010101010101") && how.contains("plugbay key add"), "{how}");
    }
}
