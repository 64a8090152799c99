//! One change of a plugin: nothing else changes it meanwhile, and it is kept together with its audit row.

use serde_json::Value;

use super::{Actor, InstalledPlugin, NameLock, Registry};
use plugbay_domain::{Plugin, PluginId, PluginName, PluginRef};
use plugbay_store::{self as store, StoreError, WriteTransaction};

/// A plugin that is being changed. Every other change of it waits until this is dropped, also for what follows after
/// the commit, such as a start.
#[derive(Debug)]
pub struct PluginChange<'a> {
    /// The plugin as it is to be.
    pub plugin: Plugin,
    /// The plugin as it is stored.
    before: Plugin,
    by: Actor,
    registry: &'a Registry,
    _lock: NameLock,
}

impl Registry {
    /// Waits until no other change of the plugin is under way, then reads it. None if it is not installed any more.
    pub async fn change(
        &self,
        by: impl Into<Actor>,
        (id, name): (PluginId, &PluginName),
    ) -> Result<Option<PluginChange<'_>>, StoreError> {
        let (by, lock) = (by.into(), self.lock(name).await);
        let plugin = store::plugins::find(&mut *self.store.reader().await?, &PluginRef::Id(id)).await?;
        let change = |plugin: Plugin| PluginChange { before: plugin.clone(), plugin, by, registry: self, _lock: lock };
        Ok(plugin.map(change))
    }
}

impl PluginChange<'_> {
    /// What belongs to the plugin.
    pub async fn installed(&self) -> Result<InstalledPlugin, StoreError> {
        self.registry.installed(self.plugin.clone()).await
    }

    /// Begins the transaction of the change.
    pub async fn begin(&self) -> Result<WriteTransaction, StoreError> {
        self.registry.store.begin().await
    }

    /// Keeps the plugin and everything else in the transaction, with the row that reports it.
    pub async fn commit(
        &mut self,
        tx: WriteTransaction,
        action: &'static str,
        detail: Value,
    ) -> Result<(), StoreError> {
        self.commit_by(self.by.clone(), tx, action, detail).await
    }

    /// The same in the name of another one, such as of the service that clears up after a caller.
    pub async fn commit_by(
        &mut self,
        by: Actor,
        mut tx: WriteTransaction,
        action: &'static str,
        detail: Value,
    ) -> Result<(), StoreError> {
        self.save(&mut tx).await?;
        self.registry.commit(tx, by, action, Some(&self.plugin.name), detail).await?;
        self.before = self.plugin.clone();
        Ok(())
    }

    /// The same without a row, for what the service only notes.
    pub async fn commit_unreported(&mut self, mut tx: WriteTransaction) -> Result<(), StoreError> {
        self.save(&mut tx).await?;
        tx.commit().await?;
        self.registry.changed();
        self.before = self.plugin.clone();
        Ok(())
    }

    async fn save(&self, tx: &mut WriteTransaction) -> Result<(), StoreError> {
        if self.plugin == self.before { Ok(()) } else { store::plugins::update(tx, &self.plugin).await }
    }
}
