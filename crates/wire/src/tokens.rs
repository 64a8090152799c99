//! Tokens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A token to make.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Your name for it.
    #[schema(example = "ci")]
    pub label: String,
    /// What it allows: read, execute, chat, operate, install, approve, trust, audit, admin.
    #[schema(example = json!(["install"]))]
    pub scopes: Vec<String>,
    /// The plugins it is for; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["acme-*"]))]
    pub plugins: Option<Vec<String>>,
    /// The tools it is for, by their names in `GET /api/tools`; every method when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["git.git_status", "fs.*"]))]
    pub tools: Option<Vec<String>>,
    /// Only tools whose annotations say `read_only`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// When it ends; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// Requests per second; 0 for no limit, `server.requests_per_second` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000, example = 50)]
    pub rate: Option<u32>,
}

/// A token without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id.
    #[schema(example = "token_01920000000070008000000000000000")]
    pub id: String,
    /// The operator's name for it.
    pub label: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// The plugins it is for; all when absent.
    pub plugins: Option<Vec<String>>,
    /// The tools it is for; every method when absent.
    pub tools: Option<Vec<String>>,
    /// Only tools whose annotations say `read_only`.
    pub read_only: bool,
    /// Requests per second; 0 for no limit, `server.requests_per_second` when absent.
    pub rate: Option<u32>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ends.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was last used, to the minute.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
}

/// A new token; the only answer that ever holds its secret.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// The secret.
    #[schema(example = "pbt_…")]
    pub token: String,
    /// The rest.
    #[serde(flatten)]
    pub view: TokenView,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("token", &"[redacted]").field("view", &self.view).finish()
    }
}

/// Every token, revoked ones included.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenList {
    /// The tokens, oldest first.
    pub tokens: Vec<TokenView>,
    /// How many.
    pub total: usize,
}
