//! The audit log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One row of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub seq: i64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Id of the token that did it, or `service`.
    pub actor: String,
    /// What was done.
    #[schema(example = "plugin.installed")]
    pub action: String,
    /// To which plugin.
    pub plugin: Option<String>,
    /// Particulars.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// By which request.
    pub request_id: Option<String>,
    /// The row's link in the chain.
    pub hash: String,
}

/// One page of the audit log, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// The rows.
    pub entries: Vec<AuditEntry>,
    /// Pass it as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// The audit log is whole.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditVerified {
    /// Always true; a broken log is a problem.
    pub ok: bool,
    /// How many rows.
    pub entries: i64,
    /// How many of the first rows a restore without their key took over as found: whether they were changed before then,
    /// nobody can tell.
    pub taken_over: Option<i64>,
    /// Note it down: `plugbay audit verify --expect` finds whether rows after or before it were removed.
    #[schema(example = "7:9f…")]
    pub head: String,
}
