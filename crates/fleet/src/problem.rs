//! What went wrong with a plugin that runs, or should: one value with everything a caller may be told.

use std::fmt;
use std::time::Duration;

use plugbay_domain::{CallId, Code, FieldError, PluginName};

use crate::FleetError;

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
    /// The single values that are wrong.
    pub fields: Vec<FieldError>,
}

impl PluginProblem {
    /// A problem with nothing but its words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
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
            fields: Vec::new(),
        }
    }

    /// It is being stopped.
    pub fn stopping(name: &PluginName) -> Self {
        Self::new(Code::PluginStopping, format!("`{name}` is being stopped"))
    }

    /// The same with what to do.
    #[must_use]
    pub fn with_how(self, how: impl Into<String>) -> Self {
        Self { how: Some(how.into()), ..self }
    }

    /// The same with the single values that are wrong.
    #[must_use]
    pub(crate) fn with_fields(self, fields: Vec<FieldError>) -> Self {
        Self { fields, ..self }
    }

    /// The same of a call.
    #[must_use]
    pub(crate) fn of_call(self, call: CallId) -> Self {
        Self { call: Some(call), ..self }
    }

    /// The same with when to try again.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl fmt::Display for PluginProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for PluginProblem {}

impl FleetError {
    /// What is told about a plugin that did not do as asked.
    pub fn into_plugin(self) -> Option<Box<PluginProblem>> {
        match self {
            Self::Plugin(problem) => Some(problem),
            _ => None,
        }
    }
}
