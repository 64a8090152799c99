//! The plugins of this process: what runs, what should, and who looks after it.
//!
//! ```text
//! reconcile     compares the database's wish with what runs, every ten seconds and when something happened
//! engine watch  knows whether the engine is there; its events only hint
//! supervisor    one per plugin that should run: starts it, starts it again, gives up
//! └─ session    see `plugbay_session`
//! ```
//!
//! A call finds its plugin in a directory that is swapped as a whole, so that calls of different plugins share no lock.

pub mod authority;
mod backoff;
mod breaker;
pub mod calls;
pub mod changes;
pub mod engine;
mod error;
mod fault;
pub mod guest;
mod in_flight;
pub mod isolation;
mod launches;
mod member;
pub mod meters;
pub mod order;
mod outcomes;
mod problem;
mod reach;
pub mod reconcile;
mod record;
pub mod settings;
pub mod start;
mod succession;
pub mod supervisor;
mod up;
pub mod volumes;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use in_flight::InFlight;
use launches::Launches;
use outcomes::Outcomes;
use plugbay_config::Config;
use plugbay_data_dir::DataDir;
use plugbay_databases::Databases;
use plugbay_domain::{Clock, PluginId, PluginName, PluginRef, SessionId, Timestamp};
use plugbay_egress::{Egress, MostOut};
use plugbay_registry::Registry;
use plugbay_runtime::denials::Denials;
use plugbay_runtime::metrics::HostMeters;
use plugbay_runtime::shutdown::Shutdown;
use plugbay_sandbox::{Sandbox, Volumes};
use plugbay_session::PluginLog;
use plugbay_session::host::{Rush, StandIn, UplinkSender};
use plugbay_store::{SealingKey, Store};
use settings::Checks;
use tokio::sync::{Notify, broadcast, mpsc, watch};

pub use breaker::{BreakerState, BreakerView};
pub use calls::{CallRequest, Executing, Execution, PluginAnswer};
pub use engine::EngineState;
pub use error::FleetError;
pub use member::{Member, Phase, StateEvent};
pub use outcomes::{Outcome, OutcomeKind};
pub use problem::PluginProblem;
pub use reach::Reach;
pub use reconcile::STOP_GRACE;
pub use record::{CallRecord, Failure, LastFailure, Metrics, Record};
pub use succession::Successor;

pub use start::{StartError, Subject};
pub use supervisor::FirstStart;
pub use up::Up;

/// State changes that a slow listener may be behind before it misses some.
const EVENTS_BEHIND: usize = 1_024;

/// What the fleet is built from.
#[derive(Debug)]
pub struct FleetParts {
    /// What the operator has set.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where packages and logs are.
    pub data: Arc<DataDir>,
    /// What is installed and decided.
    pub registry: Arc<Registry>,
    /// Our database.
    pub store: Store,
    /// Opens secrets.
    pub sealing_key: Arc<SealingKey>,
    /// What runs sandboxes.
    pub engine: Arc<dyn Sandbox>,
    /// The name by which the engine's sandboxes are known as ours.
    pub instance: String,
    /// Shim and SDK.
    pub runtime: std::path::PathBuf,
    /// What plugins keep.
    pub volumes: Volumes,
    /// How packets leave.
    pub egress: Arc<Egress>,
    /// The operator's databases.
    pub databases: Databases,
    /// What plugins were refused.
    pub denials: Arc<Denials>,
    /// The way of plugins' requests to the service itself.
    pub uplink: UplinkSender,
    /// What answers plugins in a trial; nothing in a service.
    pub stand_in: Option<Arc<StandIn>>,
    /// What stops the service.
    pub shutdown: Shutdown,
}

/// Everything about running plugins. One per process.
#[derive(Debug)]
pub struct Fleet {
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    data: Arc<DataDir>,
    registry: Arc<Registry>,
    store: Store,
    sealing_key: Arc<SealingKey>,
    engine: Arc<dyn Sandbox>,
    instance: String,
    runtime: std::path::PathBuf,
    volumes: Volumes,
    egress: Arc<Egress>,
    databases: Databases,
    denials: Arc<Denials>,
    uplink: UplinkSender,
    stand_in: Option<Arc<StandIn>>,
    shutdown: Shutdown,
    /// Checks of configurations, which take turns.
    checks: Checks,
    /// Whether the engine is there.
    engine_state: watch::Sender<EngineState>,
    /// Wakes the reconcile loop.
    look: Notify,
    /// Calls of all plugins at one time.
    in_flight: Arc<InFlight>,
    /// Whose turn it is to be started.
    launches: Launches,
    /// How requests to host functions end.
    host_meters: Arc<HostMeters>,
    /// Starts and ends, which requests of plugins make room for.
    rush: Rush,
    /// Set once everything stored was found unchanged: nothing is started before.
    verified: AtomicBool,
    /// Set once the process stops: nothing is started any more.
    stopping: AtomicBool,
    /// Told of every change of state.
    events: broadcast::Sender<StateEvent>,
    /// What supervisors found out, for the one who writes it down.
    outcomes: Outcomes,
    directory: ArcSwap<Directory>,
    /// Held while the directory is changed, never while it is read.
    changing: Mutex<()>,
    /// Sessions that exist or are being made; sandboxes of others are swept.
    sessions: Mutex<HashSet<SessionId>>,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    by_id: HashMap<PluginId, Arc<Member>>,
    by_name: HashMap<PluginName, Arc<Member>>,
}

impl Fleet {
    /// Nothing runs yet.
    pub fn new(parts: FleetParts) -> Arc<Self> {
        let FleetParts {
            config,
            clock,
            data,
            registry,
            store,
            sealing_key,
            engine,
            instance,
            runtime,
            volumes,
            egress,
            databases,
            denials,
            uplink,
            stand_in,
            shutdown,
        } = parts;
        Arc::new(Self {
            checks: Checks::default(),
            engine_state: watch::channel(EngineState::Unknown).0,
            look: Notify::new(),
            in_flight: Arc::new(InFlight::new(config.calls.in_flight)),
            launches: Launches::new(config.sandbox.parallel_starts),
            host_meters: Arc::default(),
            rush: Rush::default(),
            verified: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            events: broadcast::channel(EVENTS_BEHIND).0,
            outcomes: Outcomes::default(),
            directory: ArcSwap::default(),
            changing: Mutex::default(),
            sessions: Mutex::default(),
            config,
            clock,
            data,
            registry,
            store,
            sealing_key,
            engine,
            instance,
            runtime,
            volumes,
            egress,
            databases,
            denials,
            uplink,
            stand_in,
            shutdown,
        })
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What runs sandboxes.
    pub fn engine(&self) -> &dyn Sandbox {
        &*self.engine
    }

    /// Whether everything stored was verified since the start.
    pub fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }

    /// From now on plugins may be started.
    pub fn set_verified(&self) {
        self.verified.store(true, Ordering::Release);
        self.look_again();
    }

    /// Nothing is started any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Compares what runs with what should, soon.
    pub fn look_again(&self) {
        self.look.notify_one();
    }

    /// Changes of state from now on.
    pub fn state_events(&self) -> broadcast::Receiver<StateEvent> {
        self.events.subscribe()
    }

    /// What supervisors find out, for the one who writes it down. Given once.
    pub fn outcomes(&self) -> Option<mpsc::Receiver<Outcome>> {
        self.outcomes.take()
    }

    /// The plugin of that name or id, if it runs or ran in this process.
    pub fn known_plugin(&self, wanted: &str) -> Option<PluginId> {
        self.find(&PluginRef::parse(wanted)?).map(|member| member.id)
    }

    /// What this process knows of a plugin.
    pub fn member(&self, id: PluginId, name: &PluginName) -> Arc<Member> {
        if let Some(member) = self.find(&PluginRef::Id(id)) {
            return member;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut directory = Directory::clone(&self.directory.load());
        let member = Arc::clone(directory.by_id.entry(id).or_insert_with(|| Arc::new(self.new_member(id, name))));
        directory.by_name.insert(member.name.clone(), Arc::clone(&member));
        self.directory.store(Arc::new(directory));
        member
    }

    fn new_member(&self, id: PluginId, name: &PluginName) -> Member {
        let log = PluginLog::new(self.data.log(id), Arc::clone(&self.clock));
        let (most, breaker) = (MostOut::of(&self.config.egress), self.config.breaker);
        Member::new(id, name.clone(), log, most, breaker, Arc::clone(&self.clock), self.events.clone())
    }

    /// The plugin, if this process has had anything to do with it.
    pub fn find(&self, wanted: &PluginRef) -> Option<Arc<Member>> {
        let directory = self.directory.load();
        match wanted {
            PluginRef::Id(id) => directory.by_id.get(id),
            PluginRef::Name(name) => directory.by_name.get(name),
        }
        .cloned()
    }

    /// Every plugin of the directory.
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.directory.load().by_id.values().cloned().collect()
    }

    /// Forgets a plugin that is gone.
    pub fn forget(&self, id: PluginId) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut directory = Directory::clone(&self.directory.load());
        if let Some(member) = directory.by_id.remove(&id) {
            directory.by_name.remove(&member.name);
        }
        self.directory.store(Arc::new(directory));
    }

    /// Announces a session, so that its sandbox is not swept while it is being made.
    pub fn announce(&self, session: SessionId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
    }

    /// Ends the announcement: what is left of the session may be swept.
    pub fn withdraw(&self, session: SessionId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    fn is_announced(&self, session: SessionId) -> bool {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).contains(&session)
    }
}

/// Runs work that blocks, such as copying a volume, outside the threads that answer requests.
async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, FleetError> + Send + 'static,
) -> Result<T, FleetError> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work)).await.unwrap_or(Err(FleetError::TaskDied { name }))
}
