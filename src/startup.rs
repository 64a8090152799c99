//! Builds every part from the configuration, wires them, and stops them in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::api::{self, Bound, ServerError};
use crate::config::Config;
use crate::domain::{Clock, Code, Refusal, SignaturePolicy, SystemClock};
use crate::egress::{Resolver, SystemResolver};
use crate::fleet::reconcile;
use crate::operations::{self, Service, ServiceError, Surroundings, VerifiedAudit, remove_abandoned};
use crate::shutdown::{DrainTimeout, Shutdown};
use crate::store::audit::Head;

pub use crate::operations::{
    HostStandIn, LostSecret, MissingLibraries, NotedRequest, RestoreOrder, Restored, momentary_folder, write_sdk,
};

/// How long everything may take to stop; a second signal does not wait.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of it plugins may take for their calls and for cleaning up.
const PLUGINS_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the service did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The data directory or the database cannot be used.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The address cannot be used.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Something did not stop in time.
    #[error(transparent)]
    Drain(#[from] DrainTimeout),
    /// A task died while the service ran.
    #[error("a task died while the service ran; the log tells which")]
    TaskDied,
    /// The process could not be set up.
    #[error("failed to {action}")]
    Process {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Refusal for StartupError {
    fn code(&self) -> Code {
        match self {
            Self::Service(error) => error.code(),
            Self::Server(error) => error.code(),
            Self::Drain(_) | Self::TaskDied | Self::Process { .. } => Code::Internal,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Service(error) => error.how(),
            Self::Server(error) => error.how(),
            Self::Drain(_) | Self::TaskDied | Self::Process { .. } => None,
        }
    }
}

/// A service with everything it needs, not yet answering.
#[derive(Debug)]
pub struct Running {
    service: Arc<Service>,
    bound: Bound,
    shutdown: Shutdown,
}

impl Running {
    /// Opens everything. Nothing answers until [`Running::run`].
    pub async fn start(config: Config) -> Result<Self, StartupError> {
        Self::start_usual(config, None).await
    }

    /// Opens a service for a trial, in which `stand_in` answers what plugins ask for. The one way to such a service.
    pub async fn start_trial(config: Config, stand_in: Arc<HostStandIn>) -> Result<Self, StartupError> {
        Self::start_usual(config, Some(stand_in)).await
    }

    async fn start_usual(config: Config, stand_in: Option<Arc<HostStandIn>>) -> Result<Self, StartupError> {
        remove_abandoned(&config).await;
        let (clock, resolver) = (Arc::new(SystemClock), Arc::new(SystemResolver::default()));
        Self::open(config, Surroundings { clock, resolver, stand_in }).await
    }

    /// As [`Running::start`], with a clock that tests can move, and names that lead where tests want.
    pub async fn start_with(
        config: Config,
        clock: Arc<dyn Clock>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, StartupError> {
        Self::open(config, Surroundings { clock, resolver, stand_in: None }).await
    }

    async fn open(mut config: Config, surroundings: Surroundings) -> Result<Self, StartupError> {
        // The platform's verifier asks for a process-wide provider; the second service of a test finds it set.
        rustls::crypto::ring::default_provider().install_default().ok();
        let shutdown = Shutdown::default();
        let bound = api::bind(config.server.listen)?;
        config.egress.service = Some(bound.address());
        let service = Service::open(config, surroundings, shutdown.clone()).await?;
        Ok(Self { service, bound, shutdown })
    }

    /// Where it will answer.
    pub fn address(&self) -> SocketAddr {
        self.bound.address()
    }

    /// Asks everything to stop when called.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Answers requests until it is asked to stop, then stops in order.
    pub async fn run(self) -> Result<(), StartupError> {
        let Self { service, bound, shutdown } = self;
        announce(&service, bound.address());
        operations::start_upkeep(&service);
        let serving = async {
            let served = bound.serve(Arc::clone(&service), shutdown.clone()).await;
            shutdown.stop();
            served
        };
        // Beside the requests under way, which may be calls into the plugins.
        let stopping = async {
            shutdown.stopped().await;
            reconcile::stop_plugins(service.fleet(), Instant::now() + PLUGINS_TIMEOUT).await;
        };
        let (served, ()) = tokio::join!(serving, stopping);
        let drained = shutdown.drain(STOP_TIMEOUT).await;
        operations::close(&service).await;
        info!("Stopped");
        served?;
        if drained? { Ok(()) } else { Err(StartupError::TaskDied) }
    }
}

/// A service that was started for the first time.
#[derive(Debug)]
pub struct FirstStart {
    /// The file with the first token.
    pub token: PathBuf,
    /// Where the service answers.
    pub address: SocketAddr,
}

/// Runs a service until the process is asked to stop by SIGTERM or SIGINT. A first start is told before.
pub async fn serve(config: Config, greet: impl FnOnce(&FirstStart)) -> Result<(), StartupError> {
    raise_file_limit();
    let running = Running::start(config).await?;
    if let Some(token) = running.service.first_token() {
        greet(&FirstStart { token, address: running.address() });
    }
    let shutdown = running.shutdown();
    let listen = |kind| signal(kind).map_err(|source| StartupError::Process { action: "listen for signals", source });
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hang_up = listen(SignalKind::hangup())?;
    let run = running.run();
    tokio::pin!(run);
    let mut asked = false;
    loop {
        tokio::select! {
            result = &mut run => return result,
            _ = hang_up.recv() => info!("Ignoring SIGHUP; restart the service to read a changed configuration"),
            () = async { tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} } } => {
                if asked {
                    warn!("Stopping at once");
                    return Ok(());
                }
                asked = true;
                info!("Stopping; requests under way may end");
                shutdown.stop();
            }
        }
    }
}

/// Takes as many open files as the system allows: each connection needs two, and the usual limit of 1024 is less than
/// what `server.max_connections` promises.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).is_err() {
        warn!("The limit of open files stays at {:?}; many connections at once will be refused", limit.current);
    }
}

fn announce(service: &Service, address: SocketAddr) {
    let config = service.config();
    if config.insecure_dev {
        warn!("Started with --insecure-dev: for development only");
    }
    if config.security.signatures == SignaturePolicy::Off {
        warn!("Signatures are off: anybody with a token of scope install decides what is installed");
    }
    info!(listen = %address, data_dir = %config.server.data_dir.display(), "Listening on http://{address}");
}

/// Restores a backup into an empty directory, for a service that is not running.
pub async fn restore(order: &RestoreOrder) -> Result<Restored, ServiceError> {
    operations::restore(order).await
}

/// The OpenAPI document of the service.
pub fn openapi() -> impl serde::Serialize {
    api::document()
}

/// Verifies the audit chain of a data directory whose service is stopped.
pub async fn verify_audit(data_dir: &Path, expected: Option<&str>) -> Result<VerifiedAudit, VerifyError> {
    let expected = expected.map(str::parse::<Head>).transpose()?;
    Ok(operations::verify_offline(data_dir, expected.as_ref()).await?)
}

/// Why an audit chain was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The expected head cannot be read.
    #[error(transparent)]
    Head(#[from] crate::store::audit::HeadError),
    /// The chain is broken, or the data directory cannot be used.
    #[error(transparent)]
    Service(#[from] ServiceError),
}
