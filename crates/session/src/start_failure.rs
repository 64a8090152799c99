//! Why a plugin did not start, in the words its author needs.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::instance_dir::PeerError;
use super::{EndCause, LogLine, SessionEnd};
use plugbay_domain::{Code, Refusal};
use plugbay_protocol::{RemoteError, Violation};
use plugbay_sandbox::SandboxError;

/// Exceptions that mean that the plugin's code could not be loaded.
const IMPORT_ERRORS: [&str; 4] = ["ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError"];

/// Characters of an error as answer to `initialize`.
const MAX_ERROR_CHARACTERS: usize = 1_000;

/// Why a start failed, for whoever has to mend the plugin.
#[derive(Clone, Debug)]
pub struct StartFailure {
    /// A stable word, such as `import-error`.
    pub reason: &'static str,
    /// One line for people.
    pub text: String,
    /// The exit code, if it ended by itself.
    pub exit_code: Option<i64>,
    /// The last lines it printed, and its traceback.
    pub log_tail: Vec<String>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The engine did not do it.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The plugin did not start.
    #[error("{}", .0.text)]
    Plugin(Box<StartFailure>),
    /// The folder for the sockets cannot be made.
    #[error("failed to prepare the instance directory below `{}`", path.display())]
    InstanceDir {
        /// The run directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Refusal for LaunchError {
    fn code(&self) -> Code {
        match self {
            Self::Sandbox(error) => error.code(),
            Self::Plugin(_) => Code::PluginStartFailed,
            Self::InstanceDir { .. } => Code::Internal,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Sandbox(error) => error.how(),
            Self::Plugin(failure) => match failure.reason {
                "out-of-memory" => Some("raise `resources.memory_mb` in plugin.yaml".to_owned()),
                "start-timeout" => Some("do less before the first call, or raise `limits.start_seconds`".to_owned()),
                _ => None,
            },
            Self::InstanceDir { .. } => Some("set `server.run_dir` to a folder the service may write".to_owned()),
        }
    }
}

impl StartFailure {
    /// With nothing printed.
    pub fn new(reason: &'static str, text: String, exit_code: Option<i64>) -> Self {
        Self { reason, text, exit_code, log_tail: Vec::new() }
    }

    /// `initialize` was answered with an error.
    pub(super) fn of_error(error: &RemoteError, exit_code: Option<i64>) -> Self {
        let kind = error.data.kind.as_deref().unwrap_or_default();
        let reason = if IMPORT_ERRORS.contains(&kind) { "import-error" } else { "initialize-failed" };
        Self::new(reason, error.message.clone(), exit_code)
    }

    /// The same without what must not be read, and no longer than it may be: it goes into the service's log and every
    /// problem, whatever the plugin wrote. In this order: what is cut first may keep half of a secret.
    pub(super) fn told(self, mask: impl FnOnce(&str) -> String) -> Self {
        let text = mask(&self.text).chars().take(MAX_ERROR_CHARACTERS).collect();
        Self { text, ..self }
    }

    /// The plugin ended instead of answering.
    pub(super) fn of_end(end: SessionEnd) -> Self {
        let SessionEnd { cause, text, exit_code, .. } = end;
        let reason = match cause {
            EndCause::OutOfMemory => "out-of-memory",
            _ if exit_code == Some(127) => "not-startable",
            _ => "exited",
        };
        Self::new(reason, format!("it ended before it was ready: {text}"), exit_code)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("{0}")]
    Broken(Violation),
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        Self::Peer(error.into())
    }
}

/// Lines of output that explain a failed start.
const TAIL_LINES: usize = 20;

/// How `initialize` failed.
pub(super) enum Refused {
    Raised(RemoteError),
    Ended,
    TooLate,
    Broken(Violation),
    Lacks(String),
    NotReading,
    /// Its share of the processors cannot be set.
    Unpaced(SandboxError),
}

/// The last lines of a start.
pub(super) fn tail(printed: &mut broadcast::Receiver<Arc<LogLine>>) -> Vec<String> {
    let mut lines = VecDeque::new();
    loop {
        match printed.try_recv() {
            Ok(line) => {
                for text in line.text.lines() {
                    lines.push_back(text.to_owned());
                }
                while lines.len() > TAIL_LINES {
                    lines.pop_front();
                }
            }
            Err(broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return lines.into(),
        }
    }
}
