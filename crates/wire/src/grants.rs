//! A permission as it was granted.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A permission that was granted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GrantView {
    /// The permission.
    #[schema(example = "network_access")]
    pub permission: String,
    /// What it is narrowed to; all of it when empty.
    #[schema(example = json!(["api.example.com:443"]))]
    pub scope: Vec<String>,
    /// Id of the token that decided.
    pub by: String,
    /// Its label at that time.
    pub label: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// sha256 of the archive that was decided about.
    pub digest: String,
    /// What was said about it.
    pub note: Option<String>,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// sha256 of the archive it was decided about first, where an update carried it over.
    pub carried_from: Option<String>,
}
