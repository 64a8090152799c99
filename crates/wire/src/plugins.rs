//! Plugins, their versions and what they ask for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::grants::GrantView;
use super::limits::Limits;
use super::problem::FieldProblem;
use super::requires::RequirementView;
use super::scans::RiskRating;
use super::updates::LastUpdateView;

/// A permission: its name, or its name with the resources it is narrowed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum PermissionItem {
    /// Not narrowed.
    #[schema(example = "network_access")]
    Whole(String),
    /// Narrowed to named resources.
    Scoped {
        /// The permission.
        #[schema(example = "filesystem_read")]
        permission: String,
        /// What it is narrowed to; all of it when absent or empty.
        #[serde(default)]
        #[schema(example = json!(["docs"]))]
        scope: Vec<String>,
    },
}

/// What a version asks for and what was decided.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PermissionsView {
    /// Without these it cannot be enabled.
    pub required: Vec<PermissionItem>,
    /// These may be denied.
    pub optional: Vec<PermissionItem>,
    /// Granted by an administrator.
    pub granted: Vec<PermissionItem>,
    /// Denied by an administrator.
    pub denied: Vec<PermissionItem>,
    /// Required and not decided.
    pub pending: Vec<PermissionItem>,
}

/// What the signature is worth.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SignatureView {
    /// `valid`, `unsigned` or `untrusted`.
    #[schema(example = "valid")]
    pub status: String,
    /// The key that signed.
    #[schema(example = "A1B2C3D4E5F60718")]
    pub key_id: Option<String>,
    /// The operator's name for that key.
    pub label: Option<String>,
}

/// Asks plugbay to fetch an archive.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstallFromUrl {
    /// Where the archive is.
    #[schema(example = "https://plugins.example.com/my-plugin-1.0.0.tar.gz")]
    pub url: String,
    /// Where its signature is; the archive's address with `.minisig` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_url: Option<String>,
    /// The sha256 the archive must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A plugin was installed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Installed {
    /// Its id.
    #[schema(example = "plugin_01920000000070008000000000000000")]
    pub plugin_id: String,
    /// Its name.
    pub name: String,
    /// The version.
    pub version: String,
    /// `installed`.
    pub status: String,
    /// sha256 of the archive.
    pub digest: String,
    /// What it asks for.
    pub permissions: PermissionsView,
    /// Hosts it asks for.
    pub network: Vec<String>,
    /// Combinations of permissions that need an explicit yes.
    pub risks: Vec<String>,
    /// Who vouches for it.
    pub signature: SignatureView,
    /// What could be better about the package.
    pub warnings: Vec<String>,
}

/// What an update did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Updated {
    /// The plugin.
    pub plugin_id: String,
    /// `updated`, `unchanged`, `pending_approval` or `pending_config`.
    #[schema(example = "updated")]
    pub status: String,
    /// The version that was sent.
    pub version: String,
    /// The version that served before.
    pub previous_version: String,
    /// What the new version asks for beyond the old one, and what it no longer asks for.
    pub permission_diff: PermissionDiff,
    /// The new version comes from another signer.
    pub signer_changed: bool,
    /// Until when the new version is watched: it goes back by itself if it fails before. `null` where it is not.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub watched_until: Option<String>,
    /// What could be better about the package.
    pub warnings: Vec<String>,
}

/// Difference between what two versions ask for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PermissionDiff {
    /// Asked for in addition.
    pub added: Vec<String>,
    /// No longer asked for.
    pub removed: Vec<String>,
}

/// Which plugins to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusFilter {
    /// Every plugin.
    #[default]
    All,
    /// Never enabled.
    Installed,
    /// Enabled.
    Enabled,
    /// Not enabled.
    Disabled,
    /// Held back by the service.
    Quarantined,
}

/// A plugin in a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The version that serves.
    pub version: String,
    /// `installed`, `enabled`, `disabled` or `quarantined`.
    pub status: String,
    /// What is true now; `unloaded` while nothing runs.
    pub state: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What stands between it and the machine; `null` while nothing runs.
    #[serde(default)]
    #[schema(example = "docker")]
    pub isolation: Option<String>,
    /// What its signature is worth.
    pub signature: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// What it says it can do.
    pub capabilities: Vec<String>,
    /// When anything about it changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// What it asks for and what was decided.
    #[serde(default)]
    pub permissions: PermissionsView,
}

/// One page of plugins.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginList {
    /// The plugins, by name.
    pub plugins: Vec<PluginSummary>,
    /// How many match in all.
    pub total: usize,
    /// Pass it as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// Everything known about one plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: PluginSummary,
    /// Its id, as other answers call it.
    pub plugin_id: String,
    /// sha256 of the serving archive.
    pub digest: String,
    /// The author's address.
    pub email: Option<String>,
    /// SPDX expression.
    pub license: Option<String>,
    /// When it is called by itself.
    pub hooks: Vec<HookView>,
    /// Commands it answers.
    pub commands: Vec<CommandView>,
    /// Hosts it asks for.
    pub network: Vec<String>,
    /// What needs an explicit yes: combinations of permissions, and code that looks as an attack would.
    pub risks: Vec<String>,
    /// How much trust it needs under what it is granted.
    pub risk_rating: RiskRating,
    /// How its code looks: `clean`, `notes`, `suspicious` or `malicious`; `null` if it was not read yet.
    #[schema(example = "clean")]
    pub scan: Option<String>,
    /// Who vouches for it.
    pub signed_by: SignatureView,
    /// Versions kept, in the order they came in.
    pub versions: Vec<String>,
    /// A version that waits for a decision.
    pub pending: Option<PendingView>,
    /// Why the service holds it back.
    pub quarantine: Option<QuarantineView>,
    /// Whether calls are let through.
    #[serde(default)]
    pub breaker: Breaker,
    /// What it offers to be called; `null` while nothing runs.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// What went wrong last.
    #[serde(default)]
    pub last_failure: Option<FailureView>,
    /// What became of the last update.
    #[serde(default)]
    pub last_update: Option<LastUpdateView>,
    /// How long it has been running; `null` while nothing runs.
    #[serde(default)]
    pub uptime_seconds: Option<f64>,
    /// How often the service has started it again after a failure.
    #[serde(default)]
    pub restarts: u64,
    /// What it gets when it runs.
    pub limits: Limits,
    /// Permissions granted, with who and when.
    pub grants: Vec<GrantView>,
    /// Required configuration without a value.
    #[serde(default)]
    pub missing_config: Vec<String>,
    /// What somebody should know, such as grants that end soon.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Other plugins that it requires.
    #[serde(default)]
    pub requires: Vec<RequirementView>,
    /// Plugins that require it.
    #[serde(default)]
    pub required_by: Vec<String>,
}

/// A hook the plugin declares.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HookView {
    /// Its name.
    #[schema(example = "on_message")]
    pub name: String,
    /// Its place among the answers.
    #[schema(example = "NORMAL")]
    pub priority: String,
}

/// A command the plugin declares.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CommandView {
    /// The command.
    #[schema(example = "/myplugin")]
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// How it is written.
    pub usage: Option<String>,
}

/// A version that waits for a decision.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingView {
    /// The version.
    pub version: String,
    /// What it waits for: `pending_approval` or `pending_config`.
    pub status: String,
    /// sha256 of its archive, which an approval names.
    #[serde(default)]
    pub digest: String,
    /// Who vouches for it.
    pub signature: SignatureView,
    /// What it asks for beyond the serving version.
    pub permission_diff: PermissionDiff,
    /// It comes from another signer.
    pub signer_changed: bool,
    /// What it asks for, and what was decided about it or is taken over.
    #[serde(default)]
    pub permissions: PermissionsView,
    /// Hosts it asks for.
    #[serde(default)]
    pub network: Vec<String>,
    /// What needs an explicit yes.
    #[serde(default)]
    pub risks: Vec<String>,
    /// What it does not accept of the configuration, and what it lacks.
    #[serde(default)]
    pub config: Vec<FieldProblem>,
}

/// What keeps calls from a plugin that only fails.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Breaker {
    /// `closed` lets calls through, `open` refuses them, `half_open` lets one through to try.
    pub state: String,
    /// Calls that have failed since the last good one.
    pub failures: u32,
    /// Since when calls are refused.
    pub opened_at: Option<String>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: "closed".to_owned(), failures: 0, opened_at: None }
    }
}

/// Why the service holds a plugin back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QuarantineView {
    /// The reason.
    #[schema(example = "key-revoked")]
    pub reason: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: String,
}

/// What went wrong with a plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// The kind, such as `crash`, `out-of-memory`, `protocol` or `start-failed`.
    #[schema(example = "crash")]
    pub kind: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// One line for people.
    pub text: String,
    /// The exit code of its process, if it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
}

/// The versions of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionList {
    /// In the order they came in.
    pub versions: Vec<VersionView>,
    /// The one that serves.
    pub serving: String,
    /// The highest that ever served; lower ones are refused.
    pub floor: String,
    /// One that waits for a decision.
    pub pending: Option<String>,
}

/// One version.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VersionView {
    /// The version.
    pub version: String,
    /// sha256 of its archive.
    pub digest: String,
    /// When it came in.
    #[schema(format = DateTime)]
    pub installed_at: String,
    /// Whether it ever served.
    pub served: bool,
    /// The key that signed it.
    pub signer: Option<String>,
}
