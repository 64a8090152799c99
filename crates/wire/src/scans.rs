//! What reading the code of a plugin said, and how much trust a plugin needs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What reading the code of a plugin said.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScanShown {
    /// The plugin.
    #[schema(example = "plugin_01920000000070008000000000000000")]
    pub plugin_id: String,
    /// Its name.
    pub name: String,
    /// Of the version that serves.
    #[serde(flatten)]
    pub serving: VersionScanView,
    /// Of the version that waits.
    pub pending: Option<VersionScanView>,
}

/// What reading the code of one version said.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionScanView {
    /// The version.
    #[schema(example = "1.0.0")]
    pub version: String,
    /// sha256 of its archive.
    pub digest: String,
    /// `clean`, `notes`, `suspicious` or `malicious`; `null` if it was not read yet.
    #[schema(example = "clean")]
    pub verdict: Option<String>,
    /// What follows by `security.scan`: `warn`, `confirm` or `refuse`.
    #[schema(example = "warn")]
    pub policy: Option<String>,
    /// When it was read.
    #[schema(format = DateTime)]
    pub scanned_at: Option<String>,
    /// The rules have changed since, or it was never read.
    pub outdated: bool,
    /// Which rules it was read by.
    pub rules: Option<String>,
    /// Files that were looked at.
    pub files: usize,
    /// Whether all of it was read.
    pub complete: bool,
    /// What was found, the worst first.
    pub findings: Vec<ScanFinding>,
    /// Findings that are not told.
    pub left_out: usize,
}

/// Something that was found in code. Texts come from the package: they are to be escaped where they are shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScanFinding {
    /// The rule.
    #[schema(example = "credentials")]
    pub rule: String,
    /// How much it matters: `notes`, `suspicious` or `malicious`.
    #[schema(example = "suspicious")]
    pub severity: String,
    /// The file in the package; empty for the whole package.
    #[schema(example = "main.py")]
    pub path: String,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// What was found.
    #[schema(example = "builtins.open")]
    pub what: String,
    /// Why it matters.
    pub reason: String,
    /// How it is settled.
    pub settle: String,
}

/// How much trust a plugin needs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RiskRating {
    /// From 1, the most, to 6, the least.
    #[schema(example = 5, minimum = 1, maximum = 6)]
    pub value: u8,
    /// What takes how much away from 6.
    pub points: Vec<RiskPoint>,
}

/// One step of a rating.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RiskPoint {
    /// Why.
    #[schema(example = "It connects to named hosts.")]
    pub why: String,
    /// How much it takes away.
    #[schema(example = -1)]
    pub weight: i8,
}

/// How a decision changes a rating.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RiskRatingChange {
    /// As it is.
    pub before: RiskRating,
    /// As it comes to be.
    pub after: RiskRating,
}

/// Advisories were brought in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AdvisoriesImported {
    /// How many are about packages of `PyPI`.
    pub advisories: usize,
    /// sha256 of all of it.
    pub digest: String,
}
