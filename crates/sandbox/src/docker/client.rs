//! Questions to Docker, each with a deadline, and what its failures mean. A connection is made for each question, so that
//! the service starts without Docker and notices by itself when it is there.

use std::error::Error;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error as DockerError;
use bollard::{API_DEFAULT_VERSION, Docker};

use crate::SandboxError;

/// The name of this engine in messages.
pub(super) const ENGINE: &str = "Docker";

/// Longest time for an answer.
pub(super) const QUICK: Duration = Duration::from_secs(10);

/// Longest time for the start of a container: the kernel and the disk do most of it.
pub(super) const SLOW: Duration = Duration::from_secs(30);

/// Seconds that no answer takes: what bounds questions is [`Client::ask`], which also covers slow bodies.
const FOREVER: u64 = 10 * 365 * 86_400;

/// Where Docker is.
#[derive(Clone, Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Docker said no.
    Status {
        /// As in HTTP.
        status: u16,
        /// The whole error.
        source: DockerError,
    },
    /// Nobody answered.
    Unreachable(Unreachable),
    /// The answer makes no sense.
    Nonsense(DockerError),
}

/// Why nobody answered; each needs something else to be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreachable {
    /// No such file.
    #[error("there is no socket")]
    Missing,
    /// The file is something else.
    #[error("the file is not a socket")]
    NotASocket,
    /// Nobody listens.
    #[error("nobody listens at the socket")]
    Refused,
    /// The service may not.
    #[error("the service may not open the socket")]
    Forbidden,
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error(transparent)]
    Broken(DockerError),
}

impl Unreachable {
    /// The command that helps.
    pub(crate) fn how(&self) -> &'static str {
        match self {
            Self::Missing => {
                "install Docker: apt-get install docker.io; if it is installed: systemctl start docker; if it listens elsewhere, set `sandbox.docker_host`"
            }
            Self::NotASocket => "set `sandbox.docker_host` to Docker's socket, such as unix:///var/run/docker.sock",
            Self::Refused => "systemctl start docker",
            Self::Forbidden => {
                "usermod -aG docker USER with the user that runs plugbay, then start plugbay from a new login; this makes that user as powerful as root"
            }
            Self::Silent(_) => "systemctl restart docker",
            Self::Broken(_) => "systemctl status docker tells whether Docker runs; then systemctl restart docker",
        }
    }
}

impl Client {
    /// `host` is `unix://` and a path.
    pub(super) fn new(host: &str) -> Self {
        Self { socket: PathBuf::from(host.strip_prefix("unix://").unwrap_or(host)) }
    }

    /// A connection for a call that may last, such as waiting. Nothing is sent yet.
    pub(super) fn connect(&self) -> Result<Docker, Trouble> {
        let path = self.socket.to_string_lossy();
        Docker::connect_with_unix(&path, FOREVER, API_DEFAULT_VERSION).map_err(|error| self.trouble(error))
    }

    /// Asks one question.
    pub(super) async fn ask<T, F>(&self, limit: Duration, question: impl FnOnce(Docker) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, DockerError>>,
    {
        let docker = self.connect()?;
        match tokio::time::timeout(limit, question(docker)).await {
            Ok(answer) => answer.map_err(|error| self.trouble(error)),
            Err(_elapsed) => Err(Trouble::Unreachable(Unreachable::Silent(limit))),
        }
    }

    /// What an error of the client means.
    pub(super) fn trouble(&self, error: DockerError) -> Trouble {
        match error {
            DockerError::DockerResponseServerError { status_code, .. } => {
                Trouble::Status { status: status_code, source: error }
            }
            DockerError::SocketNotFoundError(_) => Trouble::Unreachable(self.missing()),
            DockerError::JsonDataError { .. } | DockerError::JsonSerdeError { .. } => Trouble::Nonsense(error),
            _ => match io_kind(&error) {
                Some(io::ErrorKind::NotFound) => Trouble::Unreachable(self.missing()),
                Some(io::ErrorKind::PermissionDenied) => Trouble::Unreachable(Unreachable::Forbidden),
                Some(io::ErrorKind::ConnectionRefused) if is_other_file(&self.socket) => {
                    Trouble::Unreachable(Unreachable::NotASocket)
                }
                Some(io::ErrorKind::ConnectionRefused) => Trouble::Unreachable(Unreachable::Refused),
                _ => Trouble::Unreachable(Unreachable::Broken(error)),
            },
        }
    }

    /// A socket in a folder that cannot be entered looks as if it were not there.
    fn missing(&self) -> Unreachable {
        match self.socket.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Unreachable::Forbidden,
            _ => Unreachable::Missing,
        }
    }

    /// The error of the caller.
    pub(super) fn failed(&self, action: &'static str, trouble: Trouble) -> SandboxError {
        match trouble {
            Trouble::Unreachable(reason) => SandboxError::Unavailable {
                engine: ENGINE,
                address: self.socket.display().to_string(),
                source: Box::new(reason),
            },
            Trouble::Status { source, .. } | Trouble::Nonsense(source) => {
                SandboxError::Failed { engine: ENGINE, action, source: Box::new(source) }
            }
        }
    }
}

fn is_other_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.file_type().is_socket())
}

/// The first error of the system in a chain.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found.kind());
        }
        next = error.source();
    }
    None
}
