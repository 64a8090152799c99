//! One change to a plugin at a time, told apart by name, since an install has no id yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use plugbay_domain::PluginName;

/// Keeps every other change of one plugin waiting until it is dropped.
#[derive(Debug)]
pub struct NameLock {
    _guard: OwnedMutexGuard<()>,
}

/// The names that are being changed.
#[derive(Debug, Default)]
pub struct NameLocks(Mutex<HashMap<PluginName, Weak<tokio::sync::Mutex<()>>>>);

impl NameLocks {
    /// Waits until no other change of the plugin is under way.
    pub async fn lock(&self, name: &PluginName) -> NameLock {
        NameLock { _guard: self.of(name).lock_owned().await }
    }

    /// The same without waiting.
    pub fn try_lock(&self, name: &PluginName) -> Option<NameLock> {
        Some(NameLock { _guard: self.of(name).try_lock_owned().ok()? })
    }

    fn of(&self, name: &PluginName) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(name.clone(), Arc::downgrade(&lock));
        lock
    }
}
