//! What plugbay talks about: names, digests, codes, limits, manifests. No input or output happens here.

mod address_range;
mod allowed_host;
mod chat;
mod code;
mod data_id;
mod digest;
mod glob;
mod forms;
mod grant;
mod host_function;
mod ids;
mod key;
mod limits;
mod manifest;
mod masker;
mod name;
mod network;
mod operation;
mod permission;
mod plugin;
mod plugin_config;
mod problem;
mod rating;
mod redactor;
mod reflected;
mod request_rate;
mod secret_header;
mod strangers;
mod requires;
mod scope;
mod status;
mod text;
mod this_machine;
mod time;
mod verdict;
mod word;
pub mod yaml;

pub use address_range::{AddressRange, AddressRangeError};
pub use allowed_host::{AllowedHost, AllowedHostError};
pub use chat::{Author, Conversation, MAX_MESSAGE_BYTES, Message, Origin, PostedFile, Role};
pub use code::{Code, ErrorKind};
pub use data_id::{DataId, DataIdError};
pub use digest::{Digest, DigestError};
pub use glob::{MAX_MODEL_BYTES, ModelPattern, ModelPatternError, NamePattern, PatternError};
pub use grant::{
    Access, Asked, Decision, Egress, FolderAccess, Grants, Named, NetworkGrant, PermissionUnit, Reach, Risk, Standing,
    UnitError, UnknownRisk, leaks,
};
pub use host_function::{HostFunction, HostNeed};
pub use ids::{
    CallId, ConversationId, ExchangeId, IdError, KeyId, MessageId, PluginId, PluginRef, SessionId, StreamId, TokenId,
};
pub use key::{KeyError, PublicKey, SignaturePolicy, TrustedKey};
pub use limits::{ArchiveLimits, ResourceCeiling, ResourceLimits, ResourceRequest};
pub use manifest::{
    Annotations, ChatHalf, ChatKind, ChatRole, Command, ConfigFindings, ConfigSchema, ContentKind, DEFAULT_HOLD,
    DeclaredCode, Effect, FieldType, Growth, Health, Hook, HookName, MAX_MANIFEST_BYTES, MAX_MEMBER_MS,
    MAX_TOOL_MISTAKES, Manifest, ManifestError, NameTaken, OnFailure, PluginType, Priority, PythonRequirement,
    Requested, Runtime, Secret, SecretPolicies, Sees, Tool, ToolNames, ToolPattern, ToolPatternError, ToolSchema,
    Tools, VendorLock, VendoredPackage, Window, chat_method, fuzz_config, fuzz_manifest, is_for_callers, is_of_chat,
    mcp_name, model_name, operator_name, plugin_schema,
};
pub use masker::Masker;
pub use name::{NameError, PluginName};
pub use network::{NetworkError, NetworkHost, NetworkRule, NetworkScheme, canonical_name};
pub use operation::{ApiPath, HttpMethod, MethodError, Operation, OperationError, PathError};
pub use permission::{Permission, PermissionRequest, UnknownPermission};
pub use plugin::{LastUpdate, Pending, Plugin, PluginRecord, Snapshot, Undone, Update, UpdateFailure, UpdateState};
pub use plugin_config::{FetchSecret, PluginConfig, Secrets};
pub use problem::{Chain, FieldError, Refusal};
pub use rating::{Rated, Rating, RatingPoint};
pub use redactor::Redactor;
pub use reflected::Reflected;
pub use request_rate::{RequestRate, RequestRateError};
pub use requires::{Demand, Gap, Offer, Offers, Unresolved};
pub use scope::{Scope, ScopeError, ScopeSet};
pub use secret_header::{SecretHeader, SecretHeaderError};
pub use status::{Isolation, PendingFor, PluginState, PluginStatus, Quarantine, QuarantineReason, SignatureStatus};
pub use text::{entry, escape, is_invisible, nearest, printable};
pub use this_machine::THIS_MACHINE;
pub use time::{Clock, ManualClock, SystemClock, TimeError, Timestamp};
pub use verdict::{Verdict, VerdictPolicy};
pub use word::Word;
