//! What travels over REST, shared by the service and its command line client.

mod audit;
mod keys;
mod plugins;
mod problem;
mod system;
mod tokens;

/// Header of every answer of a service that was started with `--insecure-dev`.
pub const INSECURE_DEV_HEADER: &str = "x-plugbay-insecure-dev";

pub use audit::{AuditEntry, AuditList, AuditVerified};
pub use keys::{KeyList, KeyView, NewKey};
pub use plugins::{
    CommandView, GrantView, HookView, InstallFromUrl, Installed, LimitsView, PendingView, PermissionDiff,
    PermissionItem, PermissionsView, PluginDetail, PluginList, PluginSummary, QuarantineView, SignatureView,
    StatusFilter, Updated, VersionList, VersionView,
};
pub use problem::{FieldProblem, ProblemBody};
pub use system::{Check, Health, PluginHealth, Readiness, System};
pub use tokens::{NewToken, TokenCreated, TokenList, TokenView};
