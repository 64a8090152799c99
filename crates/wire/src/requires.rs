//! Plugins that require other plugins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A plugin that another one requires.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RequirementView {
    /// Its name.
    pub name: String,
    /// The versions that are accepted.
    #[schema(example = "^1.2")]
    pub range: String,
    /// The version that serves; `null` if there is none, or the token is not for the plugin.
    pub installed: Option<String>,
    /// Whether that version is accepted; `null` if the token is not for the plugin.
    pub satisfied: Option<bool>,
}
