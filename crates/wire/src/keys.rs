//! Signing keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key to register.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// A minisign public key.
    #[schema(example = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
    pub public_key: String,
    /// Your name for it.
    #[schema(example = "acme")]
    pub label: String,
    /// Plugins it may sign; `*` stands for any run of characters.
    #[schema(example = json!(["acme-*"]))]
    pub names: Vec<String>,
    /// It signs nothing before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// It signs nothing from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub not_after: Option<String>,
}

/// A registered key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// The number in the key and in what it signs.
    #[schema(example = "A1B2C3D4E5F60718")]
    pub key_id: String,
    /// The operator's name for it.
    pub label: String,
    /// The key.
    pub public_key: String,
    /// Plugins it may sign.
    pub names: Vec<String>,
    /// It signs nothing before this time.
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// It signs nothing from this time on.
    #[schema(format = DateTime)]
    pub not_after: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
    /// Why it was revoked.
    pub reason: Option<String>,
}

/// Every key, revoked ones included.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// The keys, by label.
    pub keys: Vec<KeyView>,
    /// How many.
    pub total: usize,
}
