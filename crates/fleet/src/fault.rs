//! Whose fault it is that a plugin did not start.

use plugbay_domain::{Chain, Code, Refusal as _};
use plugbay_runtime::metrics::StartOutcome;
use plugbay_sandbox::SandboxError;
use plugbay_session::LaunchError;

use crate::{PluginProblem, StartError};

/// The reason of a start that the engine did not manage, as callers read it.
const ENGINE_REASON: &str = "engine";

/// What a start failed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The engine does not answer.
    EngineAway,
    /// Something else that is not the plugin's, such as an image that is not there. It never leads to a quarantine.
    Surroundings,
    /// The plugin.
    Plugin,
}

impl StartError {
    /// Whose fault it is.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Refused(error) | Self::Data(error) if error.code() == Code::EngineUnavailable => Fault::EngineAway,
            Self::Refused(_) | Self::Data(_) | Self::Launch(LaunchError::InstanceDir { .. }) => Fault::Surroundings,
            Self::Launch(LaunchError::Plugin(_)) => Fault::Plugin,
            Self::Launch(LaunchError::Sandbox(error)) => match error {
                SandboxError::Unavailable { .. } | SandboxError::NoEngine { .. } => Fault::EngineAway,
                SandboxError::EndedAtOnce(_) => Fault::Plugin,
                _ => Fault::Surroundings,
            },
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
    pub fn of_launch(name: &plugbay_domain::PluginName, error: LaunchError) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FleetError;

    #[test]
    fn only_what_the_plugin_did_is_its_fault() {
        let of_engine = |error| StartError::Launch(LaunchError::Sandbox(error)).fault();
        let away = PluginProblem::new(Code::EngineUnavailable, "the engine does not answer at the moment");
        assert_eq!(StartError::Refused(away.into()).fault(), Fault::EngineAway);
        let weaker = || SandboxError::Weaker { differences: Vec::new() };
        let (docker, process) = (Box::new(weaker()), Box::new(weaker()));
        assert_eq!(of_engine(SandboxError::NoEngine { docker, process }), Fault::EngineAway);
        assert_eq!(of_engine(weaker()), Fault::Surroundings);
        assert_eq!(StartError::Data(FleetError::TaskDied { name: "volume" }).fault(), Fault::Surroundings);
        let path = "/run/plugbay".into();
        let no_folder = LaunchError::InstanceDir { path, source: std::io::ErrorKind::StorageFull.into() };
        assert_eq!(StartError::Launch(no_folder).fault(), Fault::Surroundings);
    }
}
