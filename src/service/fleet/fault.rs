//! Whose fault it is that a plugin did not start.

use crate::domain::{Chain, Code, Refusal as _};
use crate::metrics::StartOutcome;
use crate::sandbox::SandboxError;
use crate::service::{PluginProblem, ServiceError};
use crate::session::LaunchError;

/// The reason of a start that the engine did not manage.
const ENGINE_REASON: &str = "engine";

/// What a start failed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The engine does not answer.
    EngineAway,
    /// Something else that is not the plugin's, such as an image that is not there. It never leads to a quarantine.
    Surroundings,
    /// The plugin.
    Plugin,
}

impl Fault {
    pub(super) fn of(error: &ServiceError) -> Self {
        match error {
            ServiceError::Plugin(problem) if problem.code == Code::EngineUnavailable => Self::EngineAway,
            ServiceError::Plugin(problem) if problem.code == Code::PluginStartFailed => match problem.reason {
                Some(ENGINE_REASON) => Self::Surroundings,
                _ => Self::Plugin,
            },
            _ => Self::Surroundings,
        }
    }
}

impl From<Fault> for StartOutcome {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::EngineAway => Self::Engine,
            Fault::Surroundings => Self::Surroundings,
            Fault::Plugin => Self::Plugin,
        }
    }
}

impl PluginProblem {
    /// A start that failed.
    pub(in crate::service) fn of_launch(name: &crate::domain::PluginName, error: LaunchError) -> Self {
        let (code, how) = (error.code(), error.how());
        match error {
            LaunchError::Plugin(failure) => {
                let detail = format!("`{name}` did not start: {}", failure.text);
                let log_tail = failure.log_tail;
                let (reason, exit_code) = (Some(failure.reason), failure.exit_code);
                Self { how, reason, exit_code, log_tail, ..Self::new(code, detail) }
            }
            LaunchError::Sandbox(error @ (SandboxError::Failed { .. } | SandboxError::Weaker { .. })) => {
                Self { how, reason: Some(ENGINE_REASON), ..Self::new(code, Chain(&error).to_string()) }
            }
            error => Self { how, ..Self::new(code, Chain(&error).to_string()) },
        }
    }
}
