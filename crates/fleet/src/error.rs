//! Why what runs did not do as asked.

use std::io;

use plugbay_domain::{Code, FieldError, PluginName, Refusal};
use plugbay_sandbox::VolumeError;
use plugbay_store::StoreError;

use crate::PluginProblem;

/// Why what runs did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The database did not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a plugin keeps could not be moved or removed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A plugin did not do as asked, or cannot.
    #[error(transparent)]
    Plugin(Box<PluginProblem>),
    /// No plugin has this id or name, or the caller may not see it.
    #[error("there is no plugin `{wanted}`")]
    PluginUnknown {
        /// What was asked for, escaped.
        wanted: String,
    },
    /// A plugin cannot run for lack of configuration.
    #[error("`{name}` needs a value for {}", missing.join(", "))]
    ConfigIncomplete {
        /// The plugin.
        name: PluginName,
        /// What is missing.
        missing: Vec<String>,
        /// The same as single mistakes.
        fields: Vec<FieldError>,
    },
    /// A file could not be read or written.
    #[error("failed to {action}")]
    File {
        /// What was tried.
        action: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A task ended without an answer.
    #[error("task `{name}` died")]
    TaskDied {
        /// Its name.
        name: &'static str,
    },
}

impl FleetError {
    /// What is wrong with the plugin, where it is the plugin that is at fault.
    pub fn plugin(&self) -> Option<&PluginProblem> {
        match self {
            Self::Plugin(problem) => Some(problem),
            _ => None,
        }
    }
}

impl From<PluginProblem> for FleetError {
    fn from(problem: PluginProblem) -> Self {
        Self::Plugin(Box::new(problem))
    }
}

impl Refusal for FleetError {
    fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Volume(error) => error.code(),
            Self::Plugin(problem) => problem.code,
            Self::PluginUnknown { .. } => Code::PluginUnknown,
            Self::ConfigIncomplete { .. } => Code::ConfigIncomplete,
            Self::File { source, .. } => Code::of_file(source),
            Self::TaskDied { .. } => Code::Internal,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Volume(error) => error.how(),
            Self::Plugin(problem) => problem.how.clone(),
            Self::ConfigIncomplete { name, missing, .. } => {
                // Without values: one on the command line stands in its history.
                let first = missing.first().map_or("FIELD", String::as_str);
                Some(format!("plugbay config set {name} {first}"))
            }
            _ => None,
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::ConfigIncomplete { fields, .. } => fields,
            Self::Plugin(problem) => &problem.fields,
            _ => &[],
        }
    }
}
