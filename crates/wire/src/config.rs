//! Configuration of plugins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::plugins::Updated;
use super::problem::FieldProblem;

/// The configuration of a plugin. Secrets are `null` in it and never shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// The values that hold: what is set, else what the package brings.
    #[schema(value_type = Object, example = json!({"endpoint": "https://e.example", "api_key": null}))]
    pub config: Map<String, Value>,
    /// Which secrets are set.
    #[schema(example = json!({"api_key": {"set": true}}))]
    pub secrets: BTreeMap<String, SecretState>,
    /// JSON Schema (draft 2020-12) of what may be set; `null` where that is nothing.
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// Required fields without a value.
    #[schema(example = json!([]))]
    pub missing: Vec<String>,
    /// A version that waits for another configuration; absent where none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingConfig>,
    /// A version that waited for this change and serves since; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Updated>,
}

/// Whether a secret is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretState {
    /// It is.
    pub set: bool,
}

/// A version that waits for another configuration.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingConfig {
    /// The version.
    pub version: String,
    /// JSON Schema of what may be set for it.
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
    /// What it does not accept, and what it lacks.
    pub errors: Vec<FieldProblem>,
}
