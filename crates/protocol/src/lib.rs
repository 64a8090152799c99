//! What travels between service and plugin: JSON-RPC 2.0, one JSON object per line, both ways over one stream.
//!
//! ```text
//! shim    → service  hello {nonce, protocol, report}              once, before anything else
//! service → plugin   initialize {protocol, plugin, config, grants, limits}   → {protocol, sdk, methods, commands}
//! service → plugin   invoke {method, params, call, deadline_ms, trace, stream}   → any result, or an error
//! service → plugin   cancel {call, reason}                        no answer; the call itself still answers
//! service → plugin   health {}, configure {config}, shutdown {}   each with an answer
//! plugin  → service  chunk {call, seq, data}, log {level, message, fields}, progress {call, percent, message}
//! plugin  → service  requests: the host functions
//! ```
//!
//! Whatever breaks a rule here ends the session: a line that is too long, is no JSON, is nested too deeply, has
//! duplicate keys or lone surrogates, answers what was not asked, or answers twice. Nothing is guessed or repaired.
//! Payloads pass through as raw JSON in both directions; [`hygiene`] is why a payload can never become a message.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod frame;
mod hello;
pub mod hygiene;
mod lines;
mod message;

pub use frame::{CallTime, CancelReason, Initialize, Invoke, Outgoing, PluginIdentity};
pub use hello::{Hello, read_hello};
pub use hygiene::{HygieneError, Payload};
pub use lines::{LineBuffer, LineTooLong};
pub use message::{Chunk, Incoming, LogNote, Progress, Ready, RemoteError};

/// The version this service speaks.
pub const PROTOCOL: u32 = 1;

/// Levels that a payload may nest.
pub const MAX_DEPTH: usize = 64;

/// JSON-RPC: the parameters have another form.
pub const INVALID_PARAMS: i64 = -32602;

/// JSON-RPC: the service could not do what was asked.
pub const HOST_FAILED: i64 = -32603;

/// A permission is missing; `data` says which, and how it is granted.
pub const PERMISSION_DENIED: i64 = -32001;

/// A rule of the service stands against what was asked; `data.code` says which.
pub const HOST_REFUSED: i64 = -32002;

/// JSON-RPC: the method does not exist.
pub const METHOD_NOT_FOUND: i64 = -32601;

/// A message of the plugin that breaks the protocol. The text says which rule, for log and caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

impl Violation {
    /// A broken rule.
    pub fn new(rule: impl Into<String>) -> Self {
        Self(rule.into())
    }
}
