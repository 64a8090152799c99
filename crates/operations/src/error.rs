//! Why a use case did not do as asked.

use std::io;

use plugbay_backup::BackupError;
use plugbay_data_dir::DataDirError;
use plugbay_domain::{
    Code, Digest, FieldError, KeyError, KeyId, ManifestError, PluginName, Refusal, TokenId, Unresolved,
};
use plugbay_egress::TrustError;
use plugbay_fleet::{FleetError, PluginProblem};
use plugbay_package::PackageError;
use plugbay_registry::NotAllowed;
use plugbay_sandbox::{RuntimeFilesError, VolumeError};
use plugbay_scanner::ScanError;
use plugbay_store::StoreError;
use semver::Version;

use crate::download::DownloadError;

/// Why a use case did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The archive was refused.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The manifest was refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The key was refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database did not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The archive could not be fetched.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// Shim and SDK could not be written out.
    #[error(transparent)]
    Runtime(#[from] RuntimeFilesError),
    /// Certificates that the operator named cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What a plugin keeps could not be moved or removed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A backup cannot be written or read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The code of a package was not read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// One backup is enough.
    #[error("another backup is under way")]
    BackupUnderWay,
    /// Plugins went faster than their archives could be kept.
    #[error("plugins were removed while the backup began")]
    BackupOvertaken,
    /// What runs did not do as asked.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Plugins do not fit each other.
    #[error(transparent)]
    Requires(#[from] Unresolved),
    /// A plugin cannot be enabled that another one requires.
    #[error("`{by}` requires `{name}`, which cannot be enabled")]
    Required {
        /// The plugin that requires it.
        by: PluginName,
        /// The plugin that is required.
        name: PluginName,
        /// Why it cannot.
        #[source]
        source: Box<ServiceError>,
    },
    /// No plugin has this id or name, or the caller may not see it.
    #[error("there is no plugin `{wanted}`")]
    PluginUnknown {
        /// What was asked for, escaped.
        wanted: String,
    },
    /// The name is taken.
    #[error("`{name}` is installed already, as version {version}")]
    PluginExists {
        /// The name.
        name: PluginName,
        /// The version that serves.
        version: Version,
    },
    /// Another archive of the same version came in before.
    #[error("`{name}` {version} is known as {known}, and this archive is {found}")]
    VersionConflict {
        /// The name.
        name: PluginName,
        /// The version.
        version: Version,
        /// sha256 of the archive that came in before.
        known: String,
        /// sha256 of this archive.
        found: String,
    },
    /// A higher version has served.
    #[error("`{name}` {version} is lower than {floor}, which has served before")]
    DowngradeRefused {
        /// The name.
        name: PluginName,
        /// The version that was sent.
        version: Version,
        /// The highest version that ever served.
        floor: Version,
    },
    /// A name that was signed before comes unsigned.
    #[error("`{name}` was signed before and this archive is not")]
    SignatureDropped {
        /// The name.
        name: PluginName,
    },
    /// The archive carries another name than the plugin to update.
    #[error("the archive is of `{found}`, not of `{wanted}`")]
    WrongPlugin {
        /// The plugin to update.
        wanted: PluginName,
        /// The name in the archive.
        found: PluginName,
    },
    /// The archive is not the one that was expected.
    #[error("expected {expected}, found {found}")]
    DigestMismatch {
        /// What the caller said.
        expected: Digest,
        /// What arrived.
        found: Digest,
    },
    /// The manifest asks for too much.
    #[error("`resources` asks for more than the operator's ceiling")]
    LimitsExceedCeiling {
        /// Each value that does.
        fields: Vec<FieldError>,
    },
    /// The manifest needs another plugbay.
    #[error("the plugin needs plugbay {wanted}, this is {}", env!("CARGO_PKG_VERSION"))]
    PlugbayTooOld {
        /// The requirement.
        wanted: String,
    },
    /// A key with this id is registered.
    #[error("key {id} is registered already")]
    KeyExists {
        /// The id.
        id: KeyId,
    },
    /// No key has this id.
    #[error("there is no key `{wanted}`")]
    KeyUnknown {
        /// What was asked for, escaped.
        wanted: String,
    },
    /// No token has this id.
    #[error("there is no token `{wanted}`")]
    TokenUnknown {
        /// What was asked for, escaped.
        wanted: String,
    },
    /// No token was sent.
    #[error("the request has no token")]
    TokenMissing,
    /// The token is unknown, expired or revoked.
    #[error("the token is unknown, expired or revoked")]
    TokenInvalid,
    /// The token is not enough.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The only token that may make tokens must not go.
    #[error("token {id} is the last one with scope admin")]
    LastAdmin {
        /// The token.
        id: TokenId,
    },
    /// Values of the request are wrong.
    #[error("the request has values that are not accepted")]
    FieldInvalid {
        /// Each of them.
        fields: Vec<FieldError>,
    },
    /// A configuration that a plugin's schema refuses.
    #[error("`{name}` {version} does not accept the configuration")]
    ConfigInvalid {
        /// The plugin.
        name: PluginName,
        /// The version.
        version: Version,
        /// Each value that is refused.
        fields: Vec<FieldError>,
    },
    /// A plugin cannot run for lack of configuration.
    #[error("`{name}` needs a value for {}", missing.join(", "))]
    ConfigIncomplete {
        /// The plugin.
        name: PluginName,
        /// What is missing.
        missing: Vec<String>,
        /// The same as single mistakes.
        fields: Vec<FieldError>,
    },
    /// There is no such field, and nothing is set for it.
    #[error("there is no field `{field}`")]
    ConfigFieldUnknown {
        /// What was asked for, escaped.
        field: String,
    },
    /// The configuration was changed meanwhile.
    #[error("the configuration is at \"{revision}\"")]
    EtagMismatch {
        /// What it is at.
        revision: i64,
    },
    /// The chain does not fit.
    #[error("{found}")]
    AuditBroken {
        /// The first thing that does not.
        found: String,
    },
    /// The key was used for something else.
    #[error("the key `{key}` was used for another request")]
    IdempotencyMismatch {
        /// The key, escaped.
        key: String,
    },
    /// The first request under the key still runs.
    #[error("a request with the key `{key}` is still running")]
    IdempotencyBusy {
        /// The key, escaped.
        key: String,
    },
    /// Less space than the operator wants to keep free.
    #[error("{free_mb} MiB are free on the disk of the data directory; installs need {needed_mb} MiB")]
    DiskFull {
        /// What is free.
        free_mb: u64,
        /// What is needed.
        needed_mb: u64,
    },
    /// Uploads under way take all places.
    #[error("as many uploads as allowed are under way")]
    TooManyUploads,
    /// A file could not be read or written.
    #[error("failed to {action}")]
    File {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A task ended without an answer.
    #[error("task `{name}` died")]
    TaskDied {
        /// Its name.
        name: &'static str,
    },
}

impl From<PluginProblem> for ServiceError {
    fn from(problem: PluginProblem) -> Self {
        Self::Fleet(problem.into())
    }
}

impl Refusal for ServiceError {
    fn code(&self) -> Code {
        match self {
            Self::Package(error) => error.code(),
            Self::Manifest(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::DataDir(error) => error.code(),
            Self::Download(error) => error.code(),
            Self::Runtime(error) => error.code(),
            Self::Volume(error) => error.code(),
            Self::Backup(error) => error.code(),
            Self::Fleet(error) => error.code(),
            Self::Requires(unresolved) => unresolved.code(),
            Self::Required { source, .. } => source.code(),
            Self::PluginUnknown { .. } => Code::PluginUnknown,
            Self::PluginExists { .. } => Code::PluginExists,
            Self::VersionConflict { .. } => Code::VersionConflict,
            Self::DowngradeRefused { .. } => Code::DowngradeRefused,
            Self::SignatureDropped { .. } => Code::SignatureMissing,
            Self::DigestMismatch { .. } => Code::DigestMismatch,
            Self::LimitsExceedCeiling { .. } => Code::LimitsExceedCeiling,
            Self::PlugbayTooOld { .. } => Code::RuntimeMismatch,
            Self::KeyExists { .. } => Code::KeyExists,
            Self::KeyUnknown { .. } => Code::KeyUnknown,
            Self::TokenUnknown { .. } => Code::TokenUnknown,
            Self::TokenMissing => Code::TokenMissing,
            Self::TokenInvalid => Code::TokenInvalid,
            Self::NotAllowed(error) => error.code(),
            Self::WrongPlugin { .. } | Self::FieldInvalid { .. } => Code::FieldInvalid,
            Self::ConfigInvalid { .. } | Self::Trust(_) => Code::ConfigInvalid,
            Self::ConfigIncomplete { .. } => Code::ConfigIncomplete,
            Self::ConfigFieldUnknown { .. } => Code::NotFound,
            Self::EtagMismatch { .. } => Code::EtagMismatch,
            Self::LastAdmin { .. } => Code::LastAdmin,
            Self::AuditBroken { .. } => Code::AuditBroken,
            Self::IdempotencyMismatch { .. } => Code::IdempotencyMismatch,
            Self::IdempotencyBusy { .. } => Code::IdempotencyBusy,
            Self::DiskFull { .. } => Code::StorageFull,
            Self::TooManyUploads | Self::BackupUnderWay | Self::BackupOvertaken | Self::Scan(ScanError::Busy) => {
                Code::Unavailable
            }
            Self::File { source, .. } | Self::Scan(ScanError::Start(source)) => Code::of_file(source),
            Self::TaskDied { .. } => Code::Internal,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Package(error) => error.how(),
            Self::Manifest(error) => error.how(),
            Self::DataDir(error) => error.how(),
            Self::Download(error) => error.how(),
            Self::Runtime(error) => error.how(),
            Self::Volume(error) => error.how(),
            Self::Backup(error) => error.how(),
            Self::BackupUnderWay | Self::BackupOvertaken | Self::Scan(ScanError::Busy) => {
                Some("wait as long as Retry-After says".to_owned())
            }
            Self::Fleet(error) => error.how(),
            Self::Requires(unresolved) => unresolved.how(),
            // Words of the code say NAME, by which a caller would understand the plugin that was asked for.
            Self::Required { name, source, .. } => {
                Some(source.how().unwrap_or_else(|| source.code().how().replace("NAME", name.as_str())))
            }
            Self::PluginExists { name, .. } => Some(format!("plugbay update {name} FILE, or install with --or-update")),
            Self::DowngradeRefused { name, floor, .. } => {
                Some(format!("use {floor} or higher, or allow it: plugbay update {name} FILE --allow-downgrade"))
            }
            Self::WrongPlugin { found, .. } => Some(format!("plugbay update {found} FILE")),
            Self::NotAllowed(error) => error.how(),
            Self::ConfigInvalid { name, .. } => Some(format!("plugbay config get {name} shows what can be set")),
            Self::ConfigIncomplete { name, missing, .. } => {
                // Without values: one on the command line stands in its history.
                let first = missing.first().map_or("FIELD", String::as_str);
                Some(format!("plugbay config set {name} {first}"))
            }
            Self::ConfigFieldUnknown { .. } => Some("plugbay config get NAME lists the fields".to_owned()),
            Self::LastAdmin { .. } => {
                Some("make another one first: plugbay token create --label LABEL --scopes admin".to_owned())
            }
            Self::Trust(_) => Some("name a readable file of certificates, or remove `egress.ca_file`".to_owned()),
            Self::TooManyUploads => Some("wait as long as Retry-After says, or raise `server.max_uploads`".to_owned()),
            _ => None,
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::Package(error) => error.fields(),
            Self::Manifest(error) => error.fields(),
            Self::Fleet(error) => error.fields(),
            Self::LimitsExceedCeiling { fields }
            | Self::FieldInvalid { fields }
            | Self::ConfigInvalid { fields, .. }
            | Self::ConfigIncomplete { fields, .. } => fields,
            Self::Required { source, .. } => source.fields(),
            _ => &[],
        }
    }
}

impl ServiceError {
    /// What is told about a plugin that did not do as asked.
    pub fn into_plugin(self) -> Option<Box<PluginProblem>> {
        match self {
            Self::Fleet(error) => error.into_plugin(),
            Self::Required { source, .. } => source.into_plugin(),
            _ => None,
        }
    }
}
