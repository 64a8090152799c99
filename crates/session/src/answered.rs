//! What became of a call, as its caller is told.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::SessionEnd;
use plugbay_protocol::RemoteError;

/// What a plugin answered.
#[derive(Clone, Debug)]
pub enum CallOutcome {
    /// A result.
    Result(Box<RawValue>),
    /// Its code raised.
    Raised(RemoteError),
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The time was over.
    Timeout,
    /// The session ended first.
    Ended(Arc<SessionEnd>),
    /// The plugin does not read what it is sent.
    NotReading,
    /// The chunks together are larger than a message may be.
    TooMuch {
        /// The limit.
        max_bytes: usize,
    },
    /// The caller does not read what it asked for.
    CallerTooSlow {
        /// Chunks waiting, in bytes.
        max_bytes: usize,
    },
}

/// Whether chunks are wanted one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One answer at the end.
    Whole,
    /// Chunks as they come.
    Stream,
}
