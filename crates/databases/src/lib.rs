//! The operator's databases. Plugins' SQL runs in workers: child processes that hold one file open each, for one plugin,
//! for reading or for changing rows, and have nothing else. The service itself never opens these files.
//!
//! ```text
//! Databases            finds or makes the keeper of (plugin, database, access)
//! └─ keeper (a task)   takes requests in turn; starts the worker, watches its time, replaces it when it ends
//!    └─ worker         `plugbay db-worker`, a process: opens the file, judges and runs statements
//! ```

mod child;
mod error;
mod file;
mod keeper;
mod message;
mod sharing;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

pub use error::DatabaseError;
pub use message::{Statement, Work};
pub use worker::run as run_worker;

use keeper::{Job, Keeper};
use plugbay_config::{DatabaseConfig, DatabaseLimits};
use plugbay_domain::{Access, PluginId};
use plugbay_runtime::shutdown::Shutdown;
use sharing::Sharing;

/// Requests of one plugin that wait for one database. A session has at most 64 open, and two sessions can overlap.
const QUEUED: usize = 128;

/// The operator's databases. One per process.
#[derive(Clone, Debug)]
pub struct Databases(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: BTreeMap<String, Database>,
    limits: DatabaseLimits,
    keepers: Mutex<HashMap<Key, mpsc::Sender<Job>>>,
    /// A place for each worker.
    places: Arc<Semaphore>,
    /// Asks one idle worker to make room.
    wanted: Notify,
    shutdown: Shutdown,
}

/// One database of the operator's.
#[derive(Clone, Debug)]
struct Database {
    path: PathBuf,
    sharing: Arc<Sharing>,
}

/// What a worker is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    plugin: PluginId,
    name: String,
    access: Access,
}

impl Databases {
    /// No database at all.
    pub fn none(limits: &DatabaseLimits) -> Self {
        Self::new(&BTreeMap::new(), limits, 1 << 20, Shutdown::default())
    }

    /// For these databases; `message_bytes` is what one answer has to fit in. Nothing is opened, and a file that is not
    /// there is only a warning: the operator's programs may still make it.
    pub fn new(
        named: &BTreeMap<String, DatabaseConfig>,
        limits: &DatabaseLimits,
        message_bytes: usize,
        shutdown: Shutdown,
    ) -> Self {
        let database = |url: &str| Database { path: file::path_of(url), sharing: Arc::default() };
        let files: BTreeMap<String, Database> =
            named.iter().map(|(name, config)| (name.clone(), database(&config.url))).collect();
        for (name, Database { path, .. }) in &files {
            if let Err(problem) = file::identify(path) {
                warn!(database.name = %name, "The database `{name}` cannot be used: {problem}");
            }
        }
        let mut limits = limits.clone();
        limits.result_bytes = limits.result_bytes.min(message_bytes.saturating_sub(keeper::ENVELOPE_BYTES));
        let places = Arc::new(Semaphore::new(limits.workers));
        let (keepers, wanted) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { files, limits, keepers, places, wanted, shutdown }))
    }

    /// What an operator should know about each database whose owner has to wait for plugins that read.
    pub fn notices(&self) -> Vec<String> {
        let lack_a_log = self.0.files.iter().filter(|(_, database)| database.sharing.has_log() == Some(false));
        lack_a_log.map(|(name, _)| shares_turns(name)).collect()
    }

    /// Runs this for a plugin that was granted it. Stops it when the caller goes away.
    pub async fn run(
        &self,
        plugin: PluginId,
        name: &str,
        work: Work,
        deadline: Instant,
    ) -> Result<Box<RawValue>, DatabaseError> {
        let Some(database) = self.0.files.get(name) else {
            return Err(DatabaseError::Unknown { name: name.to_owned() });
        };
        let key = Key { plugin, name: name.to_owned(), access: work.access() };
        let (answer, answered) = oneshot::channel();
        self.post(key, database, Job { work, deadline: deadline.min(Instant::now() + self.0.limits.time), answer })?;
        // The keeper ends without an answer only when the service stops.
        answered.await.unwrap_or(Err(DatabaseError::Busy { text: "the service is stopping" }))
    }

    /// Hands a job to the keeper, which is made if there is none.
    fn post(&self, key: Key, database: &Database, job: Job) -> Result<(), DatabaseError> {
        let mut keepers = self.0.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let job = match keepers.get(&key) {
            None => job,
            Some(keeper) => match keeper.try_send(job) {
                Ok(()) => return Ok(()),
                // It stopped with the service, or it died.
                Err(TrySendError::Closed(job)) => job,
                Err(TrySendError::Full(_)) => {
                    let text = "too many requests of this plugin wait for the database; wait for their answers first";
                    return Err(DatabaseError::Busy { text });
                }
            },
        };
        let (jobs, incoming) = mpsc::channel(QUEUED);
        // It was made just above, and has room.
        jobs.try_send(job).ok();
        keepers.insert(key.clone(), jobs);
        drop(keepers);
        let keeper = Keeper::new(Arc::clone(&self.0), key, database.clone(), incoming);
        self.0.shutdown.spawn("databases.keeper", |stop| keeper.run(stop));
        Ok(())
    }
}

fn shares_turns(name: &str) -> String {
    format!(
        "The database `{name}` has no write-ahead log, so a plugin that reads it keeps its owner from writing \
         meanwhile; `PRAGMA journal_mode = WAL` ends that"
    )
}
