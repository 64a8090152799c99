//! Opens the service: data directory, keys, database, and everything that the use cases share.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use plugbay_config::Config;
use plugbay_data_dir::{DataDir, DataDirError, KeyNeeded};
use plugbay_databases::Databases;
use plugbay_egress::Egress;
use plugbay_fleet::{Fleet, FleetParts, volumes};
use plugbay_registry::{Actor, Registry};
use plugbay_runtime::denials::Denials;
use plugbay_runtime::shutdown::Shutdown;
use plugbay_sandbox::{Place, RuntimeFiles, Volumes};
use plugbay_session::host::Uplink;
use plugbay_store as store;
use plugbay_store::audit::AuditKey;
use plugbay_store::{BackupKey, Missing, SealingKey, Store, audit};
use serde_json::json;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::configuration::bind;
use crate::engines::Engines;
use crate::idempotency::InFlight;
use crate::scan::Scans;
use crate::{Service, ServiceError, Surroundings, TokenBook, blocking, kept_data, tokens};

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
        remove_unreferenced(&store, &data).await?;
        let instance = data.instance()?;
        let volumes = Volumes::new(data.volumes(), &config.server.run_dir, &instance);
        remove_left_overs(&config, &volumes, &instance).await?;
        let runtime_dir = data.runtime();
        let runtime = blocking("runtime files", move || Ok(RuntimeFiles::write_out(&runtime_dir)?)).await?;
        let place = Place { runtime: &runtime, shutdown: shutdown.clone() };
        let (engines, engine) = Engines::open(&instance, &config, place)?;
        let (denials, reports) = Denials::new();
        let (uplink, uplink_requests) = Uplink::channel();
        let egress = Egress::new(config.egress.clone(), resolver, Arc::clone(&denials), shutdown.clone())?;
        let named = &config.resources.databases;
        let databases = Databases::new(named, &config.databases, config.calls.message_bytes, shutdown.clone());
        let (config, data) = (Arc::new(config), Arc::new(data));
        let registry = Arc::new(Registry::new(store.clone(), Arc::clone(&clock), audit_key));
        let sealing_key = Arc::new(sealing_key);
        let fleet = Fleet::new(FleetParts {
            config: Arc::clone(&config),
            clock: Arc::clone(&clock),
            data: Arc::clone(&data),
            registry: Arc::clone(&registry),
            store: store.clone(),
            sealing_key: Arc::clone(&sealing_key),
            engine,
            instance,
            runtime,
            volumes: volumes.clone(),
            egress: Arc::clone(&egress),
            databases: databases.clone(),
            denials: Arc::clone(&denials),
            uplink,
            stand_in,
            shutdown: shutdown.clone(),
        });
        let scans = Scans::open(&config, &data).await?;
        let service = Arc::new(Self {
            egress,
            databases,
            scans,
            denials,
            denial_reports: Mutex::new(Some(reports)),
            uplink_requests: Mutex::new(Some(uplink_requests)),
            engines,
            fleet,
            uploads: Arc::new(Semaphore::new(config.server.max_uploads)),
            backups: Arc::new(Semaphore::new(1)),
            looks: Arc::new(Semaphore::new(crate::LOOKS)),
            started_at: clock.now(),
            config,
            registry,
            clock,
            data,
            store,
            audit_walk: tokio::sync::Mutex::default(),
            audit_found: Mutex::default(),
            sealing_key,
            backup_key,
            tokens,
            idempotency: InFlight::default(),
            volumes,
            is_new: AtomicBool::new(false),
            shutdown,
        });
        begin_chain_and_clear_up(&service, chain_begun).await?;
        Ok(service)
    }
}

/// Removes content that no version refers to.
async fn remove_unreferenced(store: &Store, data: &DataDir) -> Result<(), ServiceError> {
    let referenced: HashSet<_> = store::plugins::list_digests(&mut *store.reader().await?).await?.into_iter().collect();
    data.remove_left_overs(&referenced)?;
    Ok(())
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

/// Records what begins here, and finishes what an earlier process left.
async fn begin_chain_and_clear_up(service: &Service, chain_begun: bool) -> Result<(), ServiceError> {
    let detail = json!({"version": env!("CARGO_PKG_VERSION")});
    if !chain_begun {
        service.registry.record(Actor::Service, "service.initialized", None, detail.clone()).await?;
    }
    if audit::lists_too_little(&mut *service.store.reader().await?).await? {
        service.registry.record(Actor::Service, "system.recorded", None, detail).await?;
    }
    tokens::ensure_first_token(service).await?;
    let mut tx = service.store.begin().await?;
    store::chat::remove_held(&mut tx).await?;
    tx.commit().await?;
    bind::bind_old_secrets(service).await?;
    kept_data::finish_kept_data(service).await?;
    Ok(volumes::remove_left_copies(&service.fleet).await?)
}

/// Removes what a process before has left mounted or lying around.
async fn remove_left_overs(config: &Config, volumes: &Volumes, instance: &str) -> Result<(), ServiceError> {
    // First: what a plugin keeps is not taken for a folder of the service's.
    let left = volumes.clone();
    blocking("left-over volumes", move || {
        let action = "unmount left-over volumes".to_owned();
        left.remove_left_overs().map_err(|source| ServiceError::File { action, source })
    })
    .await?;
    plugbay_session::remove_left_over_dirs(&config.server.run_dir, instance).map_err(|source| {
        let action = format!("clean up `{}`", config.server.run_dir.display());
        ServiceError::File { action, source }
    })
}
