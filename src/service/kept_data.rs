//! What plugins leave behind when they are uninstalled. It goes to the next plugin of its name if that has the same
//! signer, and else stays aside until somebody removes it. The rows decide; files follow, at the next start at the latest.

use serde_json::json;
use tracing::{info, warn};

use super::{Caller, Service, ServiceError};
use crate::domain::{Chain, DataId, KeyId, Plugin, PluginId, PluginName, PluginRef, SignatureStatus};
use crate::store::kept::{Fate, Kept};
use crate::store::plugins::VersionRecord;
use crate::store::{self, WriteTransaction};

/// What becomes of a plugin's `/data` and of its small values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptData {
    /// It stays on the disk.
    Keep,
    /// It is removed.
    Purge,
}

/// What a new plugin found of an earlier one of its name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attached {
    /// Whose data it was given.
    pub(super) from: Option<PluginId>,
    /// Some was left aside.
    pub(super) others: bool,
}

/// The key of a version that a trusted key has signed.
fn signer_of(version: &VersionRecord) -> Option<KeyId> {
    version.key_id.filter(|_| version.signature_status == SignatureStatus::Valid)
}

impl Service {
    /// Writes down what a plugin leaves that is being uninstalled.
    pub(super) async fn leave_data(
        &self,
        tx: &mut WriteTransaction,
        plugin: &Plugin,
        serving: Option<&VersionRecord>,
        data: KeptData,
    ) -> Result<(), ServiceError> {
        if !store::running::has_user(tx, plugin.id).await? {
            // It has never run, and so keeps nothing.
            return Ok(());
        }
        let fate = match data {
            KeptData::Keep => Fate::Kept,
            KeptData::Purge => {
                store::kv::purge(tx, plugin.id).await?;
                Fate::Purged
            }
        };
        let (key_id, generation) = (serving.and_then(signer_of), plugin.generation);
        let kept = Kept { plugin_id: plugin.id, key_id, generation };
        store::kept::insert(tx, &kept, &plugin.name, fate, self.now()).await?;
        Ok(())
    }

    /// Gives a new plugin what an earlier one of its name and signer left.
    pub(super) async fn attach_data(
        &self,
        tx: &mut WriteTransaction,
        plugin: &Plugin,
        version: &VersionRecord,
    ) -> Result<Attached, ServiceError> {
        let found = store::kept::list(tx, &PluginRef::Name(plugin.name.clone())).await?;
        let signer = signer_of(version);
        let same = found.iter().find(|kept| kept.key_id.is_some() && kept.key_id == signer);
        if let Some(kept) = same {
            store::kept::attach(tx, kept, plugin.id).await?;
        }
        let from = same.map(|kept| kept.plugin_id);
        Ok(Attached { from, others: found.len() > usize::from(from.is_some()) })
    }

    /// Lets files follow the rows of [`Service::attach_data`]. Nothing to do for almost every plugin.
    pub(super) async fn finish_hand_over(&self, to: PluginId) -> Result<(), ServiceError> {
        let Some(kept) = store::kept::find_attached(&mut *self.store.reader().await?, to).await? else { return Ok(()) };
        let (volumes, from, to) = (self.volumes.clone(), kept.data(), DataId { plugin: to, ..kept.data() });
        Self::blocking("hand over a volume", move || Ok(volumes.hand_over(from, to)?)).await?;
        let mut tx = self.store.begin().await?;
        store::kept::delete(&mut tx, kept.plugin_id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes the files of a plugin whose rows say so, and frees its user once nothing of that user is left.
    pub(super) async fn finish_purge(&self, plugin: PluginId) -> Result<(), ServiceError> {
        let (volumes, copies) = (self.volumes.clone(), self.copies_of(plugin).await?);
        Self::blocking("remove a volume", move || copies.into_iter().try_for_each(|data| Ok(volumes.remove(data)?)))
            .await?;
        let mut tx = self.store.begin().await?;
        store::running::free_user(&mut tx, plugin).await?;
        store::kept::delete(&mut tx, plugin).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends what a process before has begun. What cannot be ended is told, and tried again at the next start.
    pub(super) async fn finish_kept_data(&self) -> Result<(), ServiceError> {
        let (attached, purged) = {
            let mut reader = self.store.reader().await?;
            (store::kept::list_attached(&mut reader).await?, store::kept::list_purged(&mut reader).await?)
        };
        for plugin in attached {
            if let Err(error) = self.finish_hand_over(plugin).await {
                warn!(%plugin, error = %Chain(&error), "Kept data could not be handed over");
            }
        }
        for plugin in purged {
            match self.finish_purge(plugin).await {
                Ok(()) => info!(%plugin, "Removed what an uninstalled plugin had kept"),
                Err(error) => warn!(%plugin, error = %Chain(&error), "Kept data could not be removed"),
            }
        }
        Ok(())
    }

    /// Removes what plugins left that are not installed any more. False if there is nothing that the caller may know of.
    pub(super) async fn purge_left_data(&self, caller: &Caller, wanted: &str) -> Result<bool, ServiceError> {
        let Some(wanted) = PluginRef::parse(wanted) else { return Ok(false) };
        let name = match &wanted {
            PluginRef::Name(name) => Some(name.clone()),
            PluginRef::Id(id) => store::kept::find_name(&mut *self.store.reader().await?, *id).await?,
        };
        let Some(name) = name.filter(|name| caller.may_see(name)) else { return Ok(false) };
        let _changing = self.registry.lock(&name).await;
        let mut tx = self.store.begin().await?;
        let found = store::kept::list(&mut tx, &wanted).await?;
        if found.is_empty() {
            return Ok(false);
        }
        for kept in &found {
            store::kv::purge(&mut tx, kept.plugin_id).await?;
            store::kept::mark_purged(&mut tx, kept.plugin_id).await?;
        }
        let ids: Vec<_> = found.iter().map(|kept| kept.plugin_id).collect();
        self.registry.commit(tx, caller, "plugin.data_purged", Some(&name), json!({"plugin_ids": ids})).await?;
        for kept in found {
            self.finish_purge(kept.plugin_id).await?;
        }
        Ok(true)
    }
}

/// What somebody should know who installs a plugin whose name has a past.
pub(super) fn warning(name: &PluginName, attached: Attached) -> Option<String> {
    let begins = if attached.from.is_some() {
        "has the data of the last plugin of its name and signer"
    } else {
        "begins without data"
    };
    attached.others.then(|| {
        format!(
            "`{name}` {begins}; what was kept of another signer, or of unsigned packages, stays aside: `plugbay uninstall \
             {name} --purge` removes it when no `{name}` is installed"
        )
    })
}
