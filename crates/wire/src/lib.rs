//! What travels over REST, shared by the service and its command line client.

mod audit;
mod chat;
mod config;
mod exchanges;
mod figures;
mod grants;
mod keys;
mod limits;
mod permissions;
mod plugins;
mod problem;
mod requires;
mod running;
mod scans;
mod system;
mod tokens;
mod tools;
mod updates;

/// Header of every answer of a service that was started with `--insecure-dev`.
pub const INSECURE_DEV_HEADER: &str = "x-plugbay-insecure-dev";

pub use audit::{AuditEntry, AuditList, AuditVerified};
pub use chat::{
    AnswerView, ConversationList, ConversationView, FileView, HookErrorView, MessageList, MessagePosted, MessageView,
    NewConversation, NewFile, NewMessage,
};
pub use config::{ConfigView, PendingConfig, SecretState};
pub use exchanges::{
    AnthropicError, AnthropicErrorBody, ChatMessageAnswer, ChatMessageRequest, ChatPluginMetrics, ChatPluginView,
    ChatPlugins, ExchangeList, ExchangeView, OpenAiError, OpenAiErrorBody, PartCounts, PartView, SkippedView, StepView,
};
pub use figures::{FailureCount, PluginHealthView, PluginMetrics, SandboxPlan, SandboxView, Stats};
pub use grants::GrantView;
pub use keys::{KeyList, KeyView, NewKey};
pub use limits::{Limits, LimitsCeiling, LimitsChange, LimitsView};
pub use permissions::{
    AcceptedRiskView, ApproveRequest, DecisionRecord, PermissionRequestView, PermissionsDecided, PermissionsShown,
    RevokeRequest,
};
pub use plugins::{
    Breaker, CommandView, FailureView, HookView, InstallFromUrl, Installed, PendingView, PermissionDiff,
    PermissionItem, PermissionsView, PluginDetail, PluginList, PluginSummary, QuarantineView, SignatureView,
    StatusFilter, Updated, VersionList, VersionView,
};
pub use problem::{FieldProblem, ProblemBody};
pub use requires::RequirementView;
pub use running::{
    CallList, CallView, ChunkEvent, ExecuteAnswer, ExecuteRequest, LogLine, ProgressEvent, StateEvent, StatusChanged,
};
pub use scans::{AdvisoriesImported, RiskPoint, RiskRating, RiskRatingChange, ScanFinding, ScanShown, VersionScanView};
pub use system::{Check, Health, HealthWord, PluginHealth, Readiness, System};
pub use tokens::{NewToken, TokenCreated, TokenList, TokenView};
pub use tools::{McpAnnotations, McpTool, OpenAiFunction, OpenAiTool, ToolForm, ToolList, ToolView};
pub use updates::{LastUpdateView, RollbackRequest, RolledBack};
