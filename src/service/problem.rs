//! What went wrong with a plugin that runs, or should: one value with everything a caller may be told.

use std::fmt;
use std::time::Duration;

use super::ServiceError;
use crate::domain::{CallId, Code, PluginName};

/// Why a plugin did not do as asked.
#[derive(Clone, Debug)]
pub struct PluginProblem {
    /// The code.
    pub code: Code,
    /// What happened this time.
    pub detail: String,
    /// What to do, where it can be said more exactly than the code's own text.
    pub how: Option<String>,
    /// The call it happened to.
    pub call: Option<CallId>,
    /// A stable word for why a start failed.
    pub reason: Option<&'static str>,
    /// The exit code of a process that ended.
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last lines that were printed.
    pub log_tail: Vec<String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl PluginProblem {
    /// A problem with nothing but its words.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            how: None,
            call: None,
            reason: None,
            exit_code: None,
            signal: None,
            log_tail: Vec::new(),
            retry_after: None,
        }
    }

    /// It is being stopped.
    pub(super) fn stopping(name: &PluginName) -> Self {
        Self::new(Code::PluginStopping, format!("`{name}` is being stopped"))
    }

    pub(super) fn with_how(self, how: impl Into<String>) -> Self {
        Self { how: Some(how.into()), ..self }
    }

    pub(super) fn of_call(self, call: CallId) -> Self {
        Self { call: Some(call), ..self }
    }

    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl fmt::Display for PluginProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for PluginProblem {}

impl ServiceError {
    /// What is told about a plugin that did not do as asked.
    pub fn into_plugin(self) -> Option<Box<PluginProblem>> {
        match self {
            Self::Plugin(problem) => Some(problem),
            Self::Required { source, .. } => source.into_plugin(),
            _ => None,
        }
    }
}
