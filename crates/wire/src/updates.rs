//! Updates, and the ways back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of the last update of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LastUpdateView {
    /// The version that was to serve.
    pub version: String,
    /// The version that served before.
    pub previous_version: String,
    /// When it took over, or failed to.
    #[schema(format = DateTime)]
    pub at: String,
    /// `watched`: it serves, and goes back by itself if it fails; `kept`: it serves; `rolled_back`: the version before serves.
    #[schema(example = "kept")]
    pub status: String,
    /// Until when it is watched.
    #[schema(format = DateTime)]
    pub watched_until: String,
    /// Why it was rolled back, in one word.
    #[schema(example = "crashed")]
    pub reason: Option<String>,
    /// What happened.
    pub text: Option<String>,
    /// When it was rolled back.
    pub ended_at: Option<String>,
    /// What the plugin keeps was put back, too.
    pub data_restored: bool,
    /// How old that was.
    pub data_age_seconds: Option<f64>,
}

/// Goes back to an earlier version.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version; the last that served before when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.0.0")]
    pub version: Option<String>,
    /// Also put back what the plugin kept when that version last served. What was kept since is lost.
    #[serde(default)]
    pub restore_data: bool,
}

/// What a rollback did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// The plugin.
    pub plugin_id: String,
    /// `rolled_back`.
    #[schema(example = "rolled_back")]
    pub status: String,
    /// The version that serves now.
    pub version: String,
    /// The version that served before.
    pub previous_version: String,
    /// What the plugin keeps was put back, too.
    pub data_restored: bool,
}
