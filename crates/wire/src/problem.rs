//! Errors, as RFC 9457 has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error: `application/problem+json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// Address of the code's documentation.
    #[serde(rename = "type")]
    #[schema(example = "/problems/plugin-unknown")]
    pub kind: String,
    /// What happened, in one line that is the same for every error of this code.
    pub title: String,
    /// HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Id of the request, which is also in the service's log.
    pub instance: String,
    /// Stable code.
    #[schema(example = "plugin-unknown")]
    pub code: String,
    /// What to do about it.
    pub how: String,
    /// The single values that are wrong, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// The call of a plugin that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// Why a plugin did not start, in a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "import-error")]
    pub reason: Option<String>,
    /// The exit code of the plugin's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The signal that ended the plugin's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The last lines the plugin wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<Vec<String>>,
}

/// One wrong value.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// JSON Pointer to the value.
    #[schema(example = "/network/allow/0")]
    pub pointer: String,
    /// Line in the source text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column in the source text, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl From<&plugbay_domain::FieldError> for FieldProblem {
    fn from(error: &plugbay_domain::FieldError) -> Self {
        Self { pointer: error.pointer.clone(), line: error.line, column: error.column, message: error.message.clone() }
    }
}
