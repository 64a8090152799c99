//! What plugbay talks about: names, digests, codes, limits, manifests. No input or output happens here.

mod code;
mod digest;
mod glob;
mod ids;
mod key;
mod limits;
mod name;
mod problem;
mod scope;
mod status;
mod text;
mod time;

pub use code::{Code, ErrorKind};
pub use digest::{Digest, DigestError};
pub use glob::{NamePattern, PatternError};
pub use ids::{IdError, KeyId, PluginId, PluginRef, TokenId};
pub use key::{KeyError, PublicKey, SignaturePolicy, TrustedKey};
pub use limits::{ArchiveLimits, ResourceCeiling, ResourceLimits, ResourceRequest};
pub use name::{NameError, PluginName};
pub use problem::{Chain, FieldError, Refusal};
pub use scope::{Scope, ScopeError, ScopeSet};
pub use status::{PluginStatus, Quarantine, QuarantineReason, SignatureStatus};
pub use text::{escape, nearest};
pub use time::{Clock, ManualClock, SystemClock, TimeError, Timestamp};
