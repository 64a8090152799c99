//! Opening the service, and what it does now and then by itself.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;
use tracing::{error, info};
use zeroize::Zeroizing;

use super::configuration::Checks;
use super::engines::Engines;
use super::fleet::Fleet;
use super::idempotency::InFlight;
use super::{DataDir, DataDirError, Service, ServiceError, Surroundings, TokenBook};
use crate::config::Config;
use crate::databases::Databases;
use crate::denials::Denials;
use crate::domain::Chain;
use crate::egress::Egress;
use crate::host::Uplink;
use crate::registry::{Actor, Registry};
use crate::sandbox::{Place, RuntimeFiles, Volumes};
use crate::shutdown::Shutdown;
use crate::store::audit::{self, AuditKey};
use crate::store::{self, BackupKey, Missing, SealingKey, Store};
use plugbay_data_dir::KeyNeeded;

/// How often the service looks after itself.
const PERIOD: Duration = Duration::from_secs(10);

/// How often the head of the audit chain goes to the log.
const HEAD_PERIOD: Duration = Duration::from_hours(1);

/// How long an answer to a request with an Idempotency-Key is kept.
const ANSWERS_KEPT: Duration = Duration::from_hours(24);

impl Service {
    /// Opens data directory and database, and makes the first token if there is none.
    pub async fn open(
        config: Config,
        surroundings: Surroundings,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, ServiceError> {
        let Surroundings { clock, resolver, stand_in } = surroundings;
        let data = DataDir::open(&config.server.data_dir)?;
        let was_used = data.master_key_file().exists() || data.admin_token().exists();
        let missing = if was_used { Missing::Refuse } else { Missing::Create };
        let store = Store::open(&data.database(), missing).await?;
        let chain_begun = audit::head(&mut *store.reader().await?).await?.is_some();
        let needed = if chain_begun { KeyNeeded::MustExist } else { KeyNeeded::MayBeNew };
        let master = Zeroizing::new(data.master_key(needed)?);
        let (audit_key, sealing_key) = (AuditKey::derive(&master), SealingKey::derive(&master));
        let backup_key = BackupKey::derive(&master);
        check_sealing_key(&store, &sealing_key, &data).await?;
        let tokens = TokenBook::load(&store).await?;
        let referenced: HashSet<_> =
            store::plugins::list_digests(&mut *store.reader().await?).await?.into_iter().collect();
        data.remove_left_overs(&referenced)?;
        let instance = data.instance()?;
        let volumes = Volumes::new(data.volumes(), &config.server.run_dir, &instance);
        // First: what a plugin keeps is not taken for a folder of the service's.
        let left = volumes.clone();
        Self::blocking("left-over volumes", move || {
            let action = "unmount left-over volumes".to_owned();
            left.remove_left_overs().map_err(|source| ServiceError::File { action, source })
        })
        .await?;
        crate::session::remove_left_over_dirs(&config.server.run_dir, &instance).map_err(|source| {
            let action = format!("clean up `{}`", config.server.run_dir.display());
            ServiceError::File { action, source }
        })?;
        let runtime_dir = data.runtime();
        let runtime = Self::blocking("runtime files", move || Ok(RuntimeFiles::write_out(&runtime_dir)?)).await?;
        let place = Place { runtime: &runtime, shutdown: shutdown.clone() };
        let (engines, engine) = Engines::open(&instance, &config, place)?;
        let (denials, reports) = Denials::new();
        let (uplink, uplink_requests) = Uplink::channel();
        let egress = Egress::new(config.egress.clone(), resolver, Arc::clone(&denials), shutdown.clone())?;
        let named = &config.resources.databases;
        let databases = Databases::new(named, &config.databases, config.calls.message_bytes, shutdown.clone());
        let service = Arc::new(Self {
            egress,
            databases,
            denials,
            denial_reports: Mutex::new(Some(reports)),
            uplink,
            uplink_requests: Mutex::new(Some(uplink_requests)),
            engines,
            fleet: Fleet::new(engine, instance, runtime, config.calls.in_flight, config.sandbox.parallel_starts),
            uploads: Arc::new(Semaphore::new(config.server.max_uploads)),
            backups: Arc::new(Semaphore::new(1)),
            looks: Arc::new(Semaphore::new(super::LOOKS)),
            started_at: clock.now(),
            config,
            registry: Registry::new(store.clone(), Arc::clone(&clock), audit_key),
            clock,
            data,
            store,
            audit_walk: tokio::sync::Mutex::default(),
            audit_found: Mutex::default(),
            sealing_key,
            backup_key,
            tokens,
            idempotency: InFlight::default(),
            checks: Checks::new(),
            volumes,
            stand_in,
            verified: AtomicBool::new(false),
            is_new: AtomicBool::new(false),
            shutdown,
        });
        service.begin_chain_and_clear_up(chain_begun).await?;
        Ok(service)
    }

    /// Records what begins here, and finishes what an earlier process left.
    async fn begin_chain_and_clear_up(&self, chain_begun: bool) -> Result<(), ServiceError> {
        let detail = json!({"version": env!("CARGO_PKG_VERSION")});
        if !chain_begun {
            self.registry.record(Actor::Service, "service.initialized", None, detail.clone()).await?;
        }
        if audit::lists_too_little(&mut *self.store.reader().await?).await? {
            self.registry.record(Actor::Service, "system.recorded", None, detail).await?;
        }
        self.ensure_first_token().await?;
        let mut tx = self.store.begin().await?;
        store::chat::remove_held(&mut tx).await?;
        tx.commit().await?;
        self.bind_old_secrets().await?;
        self.finish_kept_data().await?;
        self.remove_left_copies().await
    }

    /// Starts the tasks that verify what is stored, run what should run, and look after the rest.
    pub fn start_upkeep(self: &Arc<Self>) {
        let service = Arc::clone(self);
        self.shutdown.spawn("engine.watch", |token| service.watch_engine(token));
        let service = Arc::clone(self);
        self.shutdown.spawn("reconcile", |token| service.keep_reconciled(token));
        self.start_denial_reports();
        self.start_uplink();
        let service = Arc::clone(self);
        self.shutdown.spawn("upkeep", |token| async move {
            let mut ticks = tokio::time::interval(PERIOD);
            let mut head_logged_at = None;
            loop {
                tokio::select! {
                    () = token.cancelled() => break,
                    _ = ticks.tick() => {}
                }
                // The first tick comes at once; a verification that failed, say on a locked database, is tried again.
                if !service.is_verified()
                    && let Some(Err(error)) = token.run_until_cancelled(service.verify_everything()).await
                {
                    error!(error = %Chain(&error), "Failed to verify the stored plugins");
                }
                if let Err(error) = service.look_after().await {
                    error!(error = %Chain(&error), "Failed to look after the database");
                }
                let now = service.now();
                if head_logged_at.is_none_or(|at| now.since(at) >= HEAD_PERIOD) {
                    head_logged_at = Some(now);
                    service.log_head().await;
                }
            }
        });
    }

    async fn look_after(self: &Arc<Self>) -> Result<(), ServiceError> {
        self.note_token_uses().await?;
        self.quarantine_what_revoked_keys_signed().await?;
        self.look_after_grants().await?;
        let oldest = self.now().minus(ANSWERS_KEPT);
        let mut tx = self.store.begin().await?;
        store::idempotency::forget(&mut tx, oldest).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Puts the head of the audit chain into the log, where whoever can write the database cannot change it.
    async fn log_head(&self) {
        let head = async { audit::head(&mut *self.store.reader().await?).await }.await;
        match head {
            Ok(Some(head)) => info!(audit.head = %head, "The audit log ends with {head}"),
            Ok(None) => error!("The audit log has no head"),
            Err(error) => error!(error = %Chain(&error), "Failed to read the head of the audit log"),
        }
    }

    /// Ends the service once every task has ended.
    pub async fn close(&self) {
        self.note_token_uses().await.ok();
        self.log_head().await;
        self.store.close().await;
        self.data.release();
    }

    /// Tells whether the database answers.
    pub async fn check_database(&self) -> Result<(), ServiceError> {
        audit::head(&mut *self.store.reader().await?).await?;
        Ok(())
    }
}

/// Refuses a master key that is not the one the secrets were sealed with: with another one every secret would be lost,
/// and new ones would be mixed with those.
async fn check_sealing_key(store: &Store, key: &SealingKey, data: &DataDir) -> Result<(), ServiceError> {
    let mut tx = store.begin().await?;
    if !store::configs::check_key(&mut tx, key).await? {
        return Err(DataDirError::KeyWrong { path: data.master_key_file() }.into());
    }
    tx.commit().await?;
    Ok(())
}
