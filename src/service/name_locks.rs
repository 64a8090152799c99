//! One change to a plugin at a time, told apart by name, since an install has no id yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::domain::PluginName;

/// The names that are being changed.
#[derive(Debug, Default)]
pub(super) struct NameLocks(Mutex<HashMap<PluginName, Weak<tokio::sync::Mutex<()>>>>);

impl NameLocks {
    /// Waits until nobody else changes the plugin.
    pub(super) async fn lock(&self, name: &PluginName) -> OwnedMutexGuard<()> {
        self.of(name).lock_owned().await
    }

    /// The same without waiting.
    pub(super) fn try_lock(&self, name: &PluginName) -> Option<OwnedMutexGuard<()>> {
        self.of(name).try_lock_owned().ok()
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
