//! The use cases: install, update, uninstall, look up, trust, hand out tokens, verify; run plugins and call them.
//!
//! Everything that changes the registry runs as a task of its own, so that a caller who hangs up does not
//! leave half a change behind, and writes its audit row in the transaction of the change.

mod approve;
mod audit;
mod backup;
mod ceiling;
mod commands;
mod configuration;
mod configure;
mod decisions;
mod denials;
mod disk;
mod download;
mod engines;
mod error;
mod find;
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
mod open;
mod outcomes;
mod pending;
mod permissions;
mod plugins;
mod rating;
mod ready;
mod requires;
mod risks;
mod running;
mod scan;
mod signed;
mod tokens;
mod tools;
mod uninstall;
mod update;
mod upkeep;
mod uplink;
mod verification;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use plugbay_config::Config;
use plugbay_data_dir::DataDir;
use plugbay_databases::Databases;
use plugbay_domain::{Clock, Timestamp};
use plugbay_egress::{Egress, Resolver};
use plugbay_fleet::Fleet;
use plugbay_registry::Registry;
use plugbay_runtime::denials::{Denials, Report};
use plugbay_runtime::shutdown::Shutdown;
use plugbay_sandbox::Volumes;
use plugbay_session::host::{StandIn, Uplink};
use plugbay_store::{BackupKey, SealingKey, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

// What lower rooms return and callers pass on, so that who calls names this room alone.
pub use plugbay_analyze::{Hit, Place as HitPlace, Scan};
pub use plugbay_package::Upload;
pub use plugbay_sandbox::{DataQuota, EngineInfo, MissingLibraries, SandboxSpec, Usage};
pub use plugbay_session::host::{NotedRequest, StandIn as HostStandIn};
pub use plugbay_session::{
    Delivery, HealthReport, LogLine, RelayAnswer, RelayBody, RelayError, RelayRequest, StreamEvent,
};
pub use plugbay_store::audit::{Entry as AuditEntry, Filter as AuditFilter};
pub use plugbay_store::grants::{AcceptedRisk, GrantRecord};
pub use plugbay_store::idempotency::IdempotencyKey;
pub use plugbay_store::tokens::TokenRecord;

pub use approve::expiry::grants_that_end_soon;
pub use approve::revoke::revoke_permissions;
pub use approve::{Approval, ApprovalOutcome, approve};
pub use audit::{VerifiedAudit, audit_found, list_audit, record_refused_upload, verify_audit, verify_offline};
pub use backup::begin_backup;
pub use backup::restore::{AuditFound, LostSecret, RestoreOrder, Restored, SealFound, restore};
pub use backup::stream::BackupStream;
pub use configuration::PendingConfig;
pub use configure::{ConfigView, IfMatch, set_config, show_config, unset_config, validate_config};
pub use disk::{free_mb, needed_mb};
pub use download::{Download, download};
pub use engines::{EngineReport, examine_engines};
pub use error::ServiceError;
pub use find::find_plugin;
pub use idempotency::{Begun, Remember, begin_once, remember};
pub use incoming::{Incoming, Staging, UploadWriter, stage, start_upload};
pub use install::{InstallOutcome, install};
pub use kept_data::KeptData;
pub use keys::{NewTrustedKey, add_key, list_keys, revoke_key};
pub use lifecycle::{StatusChange, disable, enable, reset_breaker};
pub use limits::{LimitsView, set_limits, show_limits};
pub use listeners::{Listener, listeners};
pub use moment::{momentary_folder, remove_abandoned, write_sdk};
pub use observe::{
    HealthView, MetricsView, SandboxView, StatsView, database_notices, plan, plugin_calls, plugin_health, plugin_logs,
    plugin_metrics, plugin_sandbox, plugin_stats, plugins_health,
};
pub use permissions::{PendingVersion, PermissionsOf, show_permissions};
pub use plugins::{Listing, PluginView, VersionsView, list_plugins, list_versions, plugins_by_status, show_plugin};
pub use rating::RatingChange;
pub use requires::Requirement;
pub use requires::dependents::Dependents;
pub use running::{RuntimeView, runtime_view};
pub use scan::advisories::{AdvisoryImport, ImportedAdvisories, begin_advisories};
pub use scan::{ScanRecord, ScanView, VersionScan, scan_again, show_scan};
pub use signed::Signed;
pub use tokens::{NewTokenRequest, TokenBook, create_token, list_tokens, revoke_token};
pub use tools::{ToolView, list_tools};
pub use uninstall::uninstall;
pub use update::rollback::{RollbackOutcome, rollback};
pub use update::{Downgrade, UpdateOutcome, UpdateStatus, update};
pub use upkeep::{check_database, close, start_upkeep};

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
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    data: Arc<DataDir>,
    registry: Arc<Registry>,
    store: Store,
    fleet: Arc<Fleet>,
    /// Held while somebody walks through the audit log.
    audit_walk: tokio::sync::Mutex<()>,
    /// What did not fit when it was compared with what is stored.
    audit_found: Mutex<Option<String>>,
    sealing_key: Arc<SealingKey>,
    backup_key: BackupKey,
    tokens: TokenBook,
    idempotency: idempotency::InFlight,
    uploads: Arc<Semaphore>,
    /// One place: for the one backup at a time.
    backups: Arc<Semaphore>,
    /// Places for callers who look at what is on the disk.
    looks: Arc<Semaphore>,
    engines: engines::Engines,
    egress: Arc<Egress>,
    databases: Databases,
    scans: scan::Scans,
    denials: Arc<Denials>,
    /// Taken by the task that writes them down.
    denial_reports: Mutex<Option<mpsc::Receiver<Report>>>,
    /// Taken by the task that answers them.
    uplink_requests: Mutex<Option<mpsc::Receiver<Uplink>>>,
    volumes: Volumes,
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

    /// What is installed, decided and configured.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What runs.
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
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
        blocking(name, move || {
            let _held_to_the_end = place;
            work()
        })
        .await
    }
}

/// Runs work that blocks, such as hashing and unpacking, outside the threads that answer requests.
async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.unwrap_or(Err(ServiceError::TaskDied { name }))
}
