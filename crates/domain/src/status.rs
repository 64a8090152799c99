//! What an administrator wants of a plugin, and why the service may hold it back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Timestamp, words};

words! {
    /// What is true of a plugin now, whatever was wished.
    PluginState {
        /// Nothing of it runs.
        Unloaded = "unloaded",
        /// Its sandbox is being made.
        Loading = "loading",
        /// Its sandbox runs and has proved itself.
        Loaded = "loaded",
        /// Its entry point prepares itself.
        Initializing = "initializing",
        /// It answers calls.
        Active = "active",
        /// The engine has frozen it.
        Paused = "paused",
        /// It should run and does not.
        Error = "error",
        /// It is being ended.
        Unloading = "unloading",
    }
}

words! {
    /// What stands between a plugin and the machine; the weaker one comes first.
    Isolation {
        /// Namespaces and limits of the kernel, arranged by bubblewrap around the machine's own programs.
        Process = "process",
        /// A container of Docker.
        Docker = "docker",
    }
}

/// The administrator's wish, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginStatus {
    /// Recorded, never enabled.
    Installed,
    /// Meant to run.
    Enabled,
    /// Meant not to run.
    Disabled,
}

impl PluginStatus {
    /// The status as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl FromStr for PluginStatus {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        [Self::Installed, Self::Enabled, Self::Disabled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

/// A stored word that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(String);

/// What a version waits for that does not serve yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingFor {
    /// An administrator's decision.
    Approval,
    /// A configuration that it accepts; everything else was decided.
    Config,
}

impl PendingFor {
    /// The word as stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Config => "config",
        }
    }
}

impl FromStr for PendingFor {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = [Self::Approval, Self::Config].into_iter().find(|waits| waits.as_str() == text);
        found.ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

/// A plugin held back by the service until the cause is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// What happened.
    pub reason: QuarantineReason,
    /// Since when.
    pub since: Timestamp,
}

/// Why a plugin is quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuarantineReason {
    /// Stored archive or unpacked files are not the ones installed.
    PackageTampered,
    /// The stored signature does not verify under the present policy and keys.
    SignatureUnverified,
    /// The key that signed it was revoked.
    KeyRevoked,
    /// It ended again and again without a good call between.
    CrashLoop,
}

impl QuarantineReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::PackageTampered, Self::SignatureUnverified, Self::KeyRevoked, Self::CrashLoop];

    /// The reason as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PackageTampered => "package-tampered",
            Self::SignatureUnverified => "signature-unverified",
            Self::KeyRevoked => "key-revoked",
            Self::CrashLoop => "crash-loop",
        }
    }
}

impl FromStr for QuarantineReason {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| UnknownWord(text.to_owned()))
    }
}

impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a version's signature was worth when it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureStatus {
    /// Signed by a trusted key.
    Valid,
    /// Not signed.
    Unsigned,
    /// Signed by a key nobody registered.
    Untrusted,
}

impl SignatureStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Valid, Self::Unsigned, Self::Untrusted];

    /// The status as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unsigned => "unsigned",
            Self::Untrusted => "untrusted",
        }
    }
}

impl FromStr for SignatureStatus {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| UnknownWord(text.to_owned()))
    }
}
