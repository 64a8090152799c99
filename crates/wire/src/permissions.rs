//! Permissions: what is asked for, what was decided, and by whom.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grants::GrantView;
use super::plugins::{PendingView, PermissionItem, PermissionsView, SignatureView, Updated};
use super::scans::RiskRatingChange;

/// What an administrator decides.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApproveRequest {
    /// What the plugin may do. A word stands for all that the plugin asks for of it; `scope` names less.
    #[schema(example = json!(["network_access", {"permission": "database_read", "scope": ["chat"]}]))]
    pub grant: Vec<PermissionItem>,
    /// What it may not do.
    #[schema(example = json!(["filesystem_read"]))]
    pub deny: Vec<PermissionItem>,
    /// Risks that are taken.
    #[schema(example = json!(["data-egress"]))]
    pub accept_risks: Vec<String>,
    /// Why, for whoever asks later.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "reviewed")]
    pub note: Option<String>,
    /// When the grants end; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// sha256 of the archive that was looked at: another one is refused with `digest-changed`. When absent, the version
    /// that waits is meant, else the one that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "sha256:…")]
    pub digest: Option<String>,
}

/// What an administrator takes back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The permissions; a word is all that was granted of it.
    #[schema(example = json!(["network_access"]))]
    pub permissions: Vec<PermissionItem>,
    /// Why, for whoever asks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What came of a decision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PermissionsDecided {
    /// The plugin.
    #[schema(example = "plugin_01920000000070008000000000000000")]
    pub plugin_id: String,
    /// What the version asks for and what was decided so far.
    pub permissions: PermissionsView,
    /// How much trust it needs, before and after the decision.
    pub risk_rating: RiskRatingChange,
    /// The decisions that were made, or ended.
    pub records: Vec<DecisionRecord>,
    /// A version that waited for this and serves since.
    pub update: Option<Updated>,
}

/// Everything about the permissions of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PermissionsShown {
    /// The plugin.
    pub plugin_id: String,
    /// Its name.
    pub name: String,
    /// The version that serves.
    pub version: String,
    /// Who vouches for it.
    pub signature: SignatureView,
    /// sha256 of the serving archive.
    pub digest: String,
    /// What it asks for and what was decided.
    pub permissions: PermissionsView,
    /// Combinations of permissions that need an explicit yes.
    pub risks: Vec<String>,
    /// How much trust it needs, and would need if everything were granted that is asked for, also by a version that
    /// waits.
    pub risk_rating: RiskRatingChange,
    /// Risks that were accepted.
    pub accepted_risks: Vec<AcceptedRiskView>,
    /// Every decision that was ever made, latest first.
    pub records: Vec<DecisionRecord>,
    /// Everything that the version asks for, beside the words of its permissions.
    pub request: PermissionRequestView,
    /// A version that waits for a decision.
    pub pending: Option<PendingView>,
}

/// What a version asks for in detail.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PermissionRequestView {
    /// Hosts; none beside `network_access` means every public host.
    #[schema(example = json!(["api.example.com:443"]))]
    pub network: Vec<String>,
    /// Databases to read.
    pub database_read: Vec<String>,
    /// Databases to change.
    pub database_write: Vec<String>,
    /// Folders to read.
    pub filesystem_read: Vec<String>,
    /// Folders to change.
    pub filesystem_write: Vec<String>,
    /// APIs to call.
    pub api_access: Vec<String>,
    /// Plugins to call.
    pub plugins: Vec<String>,
    /// Fields of its configuration that are secret.
    pub secrets: Vec<String>,
}

/// A decision, as it was made and as it ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DecisionRecord {
    /// `granted` or `denied`.
    #[schema(example = "granted")]
    pub decision: String,
    /// What was decided, by whom, when, about which archive.
    #[serde(flatten)]
    pub grant: GrantView,
    /// `revoked`, `expired`, `replaced` or `superseded`; `null` while it holds.
    pub ended: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    pub ended_at: Option<String>,
    /// Id of the token that ended it, or `service`.
    pub ended_by: Option<String>,
    /// What was said about that.
    pub ended_note: Option<String>,
}

/// A risk that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AcceptedRiskView {
    /// The risk.
    #[schema(example = "data-egress")]
    pub risk: String,
    /// Id of the token.
    pub by: String,
    /// Its label at that time.
    pub label: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// sha256 of the archive.
    pub digest: String,
    /// What was said about it.
    pub note: Option<String>,
}
