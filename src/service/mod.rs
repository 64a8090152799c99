//! The use cases: install, update, uninstall, look up, trust, hand out tokens, verify; run plugins and call them.
//!
//! Everything that changes the registry runs as a task of its own, so that a caller who hangs up does not
//! leave half a change behind, and writes its audit row in the transaction of the change.

mod approval;
mod audit;
mod backup;
mod commands;
mod configuration;
mod denials;
mod disk;
mod download;
mod engines;
mod error;
mod execute;
mod fleet;
mod idempotency;
mod incoming;
mod install;
mod kept_data;
mod keys;
mod lifecycle;
mod limits;
mod listeners;
mod moment;
mod observe;
mod plugins;
mod problem;
mod requires;
mod tokens;
mod uninstall;
mod update;
mod upkeep;
mod uplink;
mod verification;
mod volumes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::config::Config;
use crate::databases::Databases;
use crate::denials::{Denials, Report};
use crate::domain::{Clock, Timestamp};
use crate::egress::{Egress, Resolver};
use crate::host::{StandIn, Uplink, UplinkSender};
use crate::registry::Registry;
use crate::sandbox::Volumes;
use crate::shutdown::Shutdown;
use crate::store::{BackupKey, SealingKey, Store};

// What lower layers return and callers pass on, so that the API names this layer alone.
pub use crate::host::{NotedRequest, StandIn as HostStandIn};
pub use crate::package::Upload;
pub use crate::registry::{Caller, NotAllowed};
pub use crate::sandbox::{DataQuota, EngineInfo, MissingLibraries, SandboxSpec, Usage};
pub use crate::session::{Delivery, HealthReport, LogLine, StreamEvent};
pub use crate::store::audit::{Entry as AuditEntry, Filter as AuditFilter};
pub use crate::store::grants::{AcceptedRisk, GrantRecord};
pub use crate::store::idempotency::IdempotencyKey;
pub use crate::store::tokens::TokenRecord;
pub use approval::{Approval, ApprovalOutcome, PendingVersion, PermissionsOf, Signed};
pub use audit::{VerifiedAudit, verify_offline};
pub use backup::{AuditFound, BackupStream, LostSecret, RestoreOrder, Restored, SealFound, restore};
pub use configuration::{ConfigView, IfMatch, PendingConfig};
pub use download::Download;
pub use engines::EngineReport;
pub use error::ServiceError;
pub use execute::{CallRequest, Executing, Execution, PluginAnswer};
pub use fleet::{BreakerState, BreakerView, CallRecord, EngineState, Failure, LastFailure, Metrics, StateEvent};
pub use idempotency::{Begun, Remember};
pub use incoming::{Incoming, Staging, UploadWriter};
pub use install::InstallOutcome;
pub use kept_data::KeptData;
pub use keys::NewTrustedKey;
pub use lifecycle::StatusChange;
pub use limits::LimitsView;
pub use listeners::Listener;
pub use moment::{momentary_folder, remove_abandoned, write_sdk};
pub use observe::{HealthView, MetricsView, RuntimeView, SandboxView, StatsView};
pub use plugbay_data_dir::{DataDir, DataDirError};
pub use plugins::{Listing, PluginView, VersionsView};
pub use problem::PluginProblem;
pub use requires::{Dependents, Requirement};
pub use tokens::{NewTokenRequest, TokenBook};
pub use update::{Downgrade, RollbackOutcome, UpdateOutcome, UpdateStatus};

/// What a service takes from around it. Tests and trials put something else in the place of some of it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where names lead.
    pub resolver: Arc<dyn Resolver>,
    /// What answers plugins in a trial.
    pub stand_in: Option<Arc<StandIn>>,
}

/// Callers that look at the disk at one time.
const LOOKS: usize = 64;

/// Everything the use cases share. One per process.
#[derive(Debug)]
pub struct Service {
    config: Config,
    clock: Arc<dyn Clock>,
    data: DataDir,
    registry: Registry,
    store: Store,
    /// Held while somebody walks through the audit log.
    audit_walk: tokio::sync::Mutex<()>,
    /// What did not fit when it was compared with what is stored.
    audit_found: Mutex<Option<String>>,
    sealing_key: SealingKey,
    backup_key: BackupKey,
    tokens: TokenBook,
    idempotency: idempotency::InFlight,
    uploads: Arc<Semaphore>,
    /// One place: for the one backup at a time.
    backups: Arc<Semaphore>,
    /// Places for callers who look at what is on the disk.
    looks: Arc<Semaphore>,
    checks: configuration::Checks,
    engines: engines::Engines,
    fleet: fleet::Fleet,
    egress: Arc<Egress>,
    databases: Databases,
    denials: Arc<Denials>,
    /// Taken by the task that writes them down.
    denial_reports: Mutex<Option<mpsc::Receiver<Report>>>,
    uplink: UplinkSender,
    /// Taken by the task that answers them.
    uplink_requests: Mutex<Option<mpsc::Receiver<Uplink>>>,
    volumes: Volumes,
    /// What answers plugins in a trial; nothing in a service.
    stand_in: Option<Arc<StandIn>>,
    verified: AtomicBool,
    /// The first token was made at this start.
    is_new: AtomicBool,
    shutdown: Shutdown,
    started_at: Timestamp,
}

impl Service {
    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Our database, for what has tables of its own above.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The file with the first token, if it was made at this start.
    pub fn first_token(&self) -> Option<std::path::PathBuf> {
        self.is_new.load(Ordering::Acquire).then(|| self.data.admin_token())
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// When this process was started.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Who may do what.
    pub fn tokens(&self) -> &TokenBook {
        &self.tokens
    }

    /// What stops the service.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// A place to upload to. Refused at once when too many uploads are under way, which bounds the disk they take.
    pub fn admit_upload(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        Arc::clone(&self.uploads).try_acquire_owned().map_err(|_none_left| ServiceError::TooManyUploads)
    }

    /// Runs a change to its end, also when whoever asked for it goes away.
    pub async fn to_the_end<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        change: impl Future<Output = Result<T, ServiceError>> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let (tx, rx) = oneshot::channel();
        self.shutdown.spawn(name, |_| async move {
            // The receiver is gone when the caller hung up; the change is made all the same.
            tx.send(change.await).ok();
        });
        rx.await.unwrap_or(Err(ServiceError::TaskDied { name }))
    }

    /// Looks at the disk for a caller. All of them together have few of the threads, also those who hung up meanwhile.
    async fn look<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let place = Arc::clone(&self.looks).acquire_owned().await;
        let place = place.map_err(|_closed| ServiceError::TaskDied { name })?;
        Self::blocking(name, move || {
            let _held_to_the_end = place;
            work()
        })
        .await
    }

    /// Runs work that blocks, such as hashing and unpacking, outside the threads that answer requests.
    async fn blocking<T: Send + 'static>(
        name: &'static str,
        work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let span = tracing::Span::current();
        tokio::task::spawn_blocking(move || span.in_scope(work)).await.unwrap_or(Err(ServiceError::TaskDied { name }))
    }
}
