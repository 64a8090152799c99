//! What the service and a worker say to each other: one JSON object per line, over the worker's stdin and stdout.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use plugbay_domain::Access;

/// The first line to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// Whether anything may be changed.
    pub(super) writes: bool,
    pub(super) rows: usize,
    pub(super) result_bytes: usize,
    pub(super) memory_bytes: u64,
    pub(super) file_bytes: u64,
    /// How long opening the file may take.
    pub(super) milliseconds: u64,
}

/// Which file a path leads to, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// Every further line to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run this and answer.
    Run { id: u64, milliseconds: u64, work: Work },
    /// Nobody waits for this one any more.
    Cancel { id: u64 },
}

/// What is to be run.
#[derive(Debug, Serialize, Deserialize)]
pub enum Work {
    /// One statement that reads.
    Query(Statement),
    /// One statement that changes rows.
    Execute(Statement),
    /// Several that change rows: all or none.
    Transaction(Vec<Statement>),
}

impl Work {
    /// What it needs to be granted.
    pub fn access(&self) -> Access {
        match self {
            Self::Query(_) => Access::Read,
            Self::Execute(_) | Self::Transaction(_) => Access::Write,
        }
    }
}

/// One statement with what is bound to it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// A list or an object.
    #[serde(default)]
    pub params: Option<Box<RawValue>>,
}

/// A line from a worker. The answer to the first line has id 0.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Done {
        id: u64,
        result: Box<RawValue>,
        /// Whether the database has a write-ahead log: then readers and a writer go on side by side.
        log: bool,
    },
    Failed {
        id: u64,
        trouble: Trouble,
        text: String,
    },
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Trouble {
    /// The parameters have another form.
    Invalid,
    /// A rule, or the database, does not accept it.
    Refused,
    /// It needs more than it may take.
    Limit,
    /// It needs more memory than there is; the worker should not go on.
    Memory,
    /// Its time was over, or nobody waits any more.
    TooLate,
    /// Somebody else holds the lock.
    Locked,
    /// The file cannot be used; the text is for the operator.
    Failed,
}
