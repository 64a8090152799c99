//! The plugins of this process: what runs, what should, and who looks after it.
//!
//! ```text
//! reconcile     compares the database's wish with what runs, every ten seconds and when something happened
//! engine watch  knows whether the engine is there; its events only hint
//! supervisor    one per plugin that should run: starts it, starts it again, gives up
//! └─ session    see `crate::session`
//! ```
//!
//! A call finds its plugin in a directory that is swapped as a whole, so that calls of different plugins share no lock.

mod backoff;
mod breaker;
mod engine;
mod fault;
mod in_flight;
mod launches;
mod meters;
mod isolation;
mod life;
mod member;
mod order;
mod reach;
mod reconcile;
mod record;
mod start;
mod supervisor;
mod probation;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, broadcast, watch};

pub use breaker::{BreakerState, BreakerView};
pub use engine::EngineState;
pub use member::StateEvent;
pub use record::{CallRecord, Failure, LastFailure, Metrics};

pub(super) use breaker::{Pass, Verdict};
pub(super) use in_flight::{InFlight, InFlightPlace, NoPlace};
pub(super) use launches::Launches;
pub(super) use member::{Member, Phase, Up};
use probation::Succession;
pub(super) use probation::Successor;
pub(super) use reach::Reach;
pub(super) use reconcile::STOP_GRACE;
pub(super) use record::{Outcome, Record};
pub(super) use start::{StartError, Subject};
pub(super) use supervisor::FirstStart;

use crate::domain::{PluginId, PluginName, PluginRef, SessionId};
use crate::host::Rush;
use crate::metrics::HostMeters;
use crate::sandbox::Sandbox;

/// State changes that a slow listener may be behind before it misses some.
const EVENTS_BEHIND: usize = 1_024;

/// Everything about running plugins.
#[derive(Debug)]
pub(super) struct Fleet {
    /// What runs sandboxes.
    pub(super) engine: Arc<dyn Sandbox>,
    /// The name by which the engine's sandboxes are known as ours.
    pub(super) instance: String,
    /// Shim and SDK.
    pub(super) runtime: std::path::PathBuf,
    /// Whether the engine is there.
    pub(super) engine_state: watch::Sender<EngineState>,
    /// Wakes the reconcile loop.
    pub(super) look: Notify,
    /// Calls of all plugins at one time.
    pub(super) in_flight: Arc<InFlight>,
    /// Whose turn it is to be started.
    pub(super) launches: Launches,
    /// How requests to host functions end.
    pub(super) host_meters: Arc<HostMeters>,
    /// Starts and ends, which requests of plugins make room for.
    pub(super) rush: Rush,
    /// Set once the process stops: nothing is started any more.
    pub(super) stopping: AtomicBool,
    /// Told of every change of state.
    pub(super) events: broadcast::Sender<StateEvent>,
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
    pub(super) fn new(
        engine: Arc<dyn Sandbox>,
        instance: String,
        runtime: std::path::PathBuf,
        in_flight: usize,
        parallel_starts: usize,
    ) -> Self {
        Self {
            engine,
            instance,
            runtime,
            engine_state: watch::channel(EngineState::Unknown).0,
            look: Notify::new(),
            in_flight: Arc::new(InFlight::new(in_flight)),
            launches: Launches::new(parallel_starts),
            host_meters: Arc::default(),
            rush: Rush::default(),
            stopping: AtomicBool::new(false),
            events: broadcast::channel(EVENTS_BEHIND).0,
            directory: ArcSwap::default(),
            changing: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// The plugin, if this process has had anything to do with it.
    pub(super) fn find(&self, wanted: &PluginRef) -> Option<Arc<Member>> {
        let directory = self.directory.load();
        match wanted {
            PluginRef::Id(id) => directory.by_id.get(id),
            PluginRef::Name(name) => directory.by_name.get(name),
        }
        .cloned()
    }

    /// Every plugin of the directory.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.directory.load().by_id.values().cloned().collect()
    }

    /// The plugin's place in the directory, made by `make` if it has none.
    pub(super) fn member(&self, id: PluginId, make: impl FnOnce() -> Member) -> Arc<Member> {
        if let Some(member) = self.find(&PluginRef::Id(id)) {
            return member;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut directory = Directory::clone(&self.directory.load());
        let member = Arc::clone(directory.by_id.entry(id).or_insert_with(|| Arc::new(make())));
        directory.by_name.insert(member.name.clone(), Arc::clone(&member));
        self.directory.store(Arc::new(directory));
        member
    }

    /// Forgets a plugin that is gone.
    pub(super) fn forget(&self, id: PluginId) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut directory = Directory::clone(&self.directory.load());
        if let Some(member) = directory.by_id.remove(&id) {
            directory.by_name.remove(&member.name);
        }
        self.directory.store(Arc::new(directory));
    }

    /// Announces a session, so that its sandbox is not swept while it is being made.
    pub(super) fn announce(&self, session: SessionId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
    }

    /// Ends the announcement: what is left of the session may be swept.
    pub(super) fn withdraw(&self, session: SessionId) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }

    fn is_announced(&self, session: SessionId) -> bool {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).contains(&session)
    }
}
