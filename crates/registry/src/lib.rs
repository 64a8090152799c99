//! What is installed, decided and configured.
//!
//! Every change of it is made here: under the lock of its plugin's name, in one transaction with the audit row that
//! reports it. The use cases decide what is changed; this room never starts, stops or asks what runs.

mod audit;
mod caller;
mod change;
mod manifests;
mod names;
mod roster;
mod snapshot;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plugbay_domain::{Clock, PluginName};
use plugbay_store::Store;
use plugbay_store::audit::AuditKey;

pub use audit::Actor;
pub use caller::{Caller, NotAllowed};
pub use change::PluginChange;
use manifests::Manifests;
pub use names::{NameLock, NameLocks};
pub use roster::Roster;
pub use snapshot::{Installed, InstalledPlugin};
pub use target::Target;

/// The registry of one data directory. One per process.
#[derive(Debug)]
pub struct Registry {
    store: Store,
    clock: Arc<dyn Clock>,
    audit_key: AuditKey,
    names: NameLocks,
    /// Counts changes, for those who keep what they have made of the registry.
    revision: AtomicU64,
    manifests: Arc<Manifests>,
}

impl Registry {
    /// The registry that this database holds.
    pub fn new(store: Store, clock: Arc<dyn Clock>, audit_key: AuditKey) -> Self {
        Self {
            store,
            clock,
            audit_key,
            names: NameLocks::default(),
            revision: AtomicU64::new(0),
            manifests: Arc::default(),
        }
    }

    /// What the rows of the audit log are chained with.
    pub fn audit_key(&self) -> &AuditKey {
        &self.audit_key
    }

    /// Counts the changes that were kept. What was made of the registry at one number is true for as long as it stays.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Takes note of a change that was kept.
    fn changed(&self) {
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// Waits until no other change of the plugin is under way.
    pub async fn lock(&self, name: &PluginName) -> NameLock {
        self.names.lock(name).await
    }

    /// The same without waiting.
    pub fn try_lock(&self, name: &PluginName) -> Option<NameLock> {
        self.names.try_lock(name)
    }
}
