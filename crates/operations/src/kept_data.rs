//! What plugins leave behind when they are uninstalled. It goes to the next plugin of its name if that has the same
//! signer, and else stays aside until somebody removes it. The rows decide; files follow, at the next start at the latest.

use plugbay_domain::{Chain, KeyId, Plugin, PluginId, PluginName, PluginRef, SignatureStatus};
use plugbay_fleet::volumes;
use plugbay_registry::Caller;
use plugbay_store as store;
use plugbay_store::WriteTransaction;
use plugbay_store::kept::{Fate, Kept};
use plugbay_store::plugins::VersionRecord;
use serde_json::json;
use tracing::{info, warn};

use crate::{Service, ServiceError, blocking};

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
pub(crate) struct Attached {
    /// Whose data it was given.
    pub(crate) from: Option<PluginId>,
    /// Some was left aside.
    pub(crate) others: bool,
}

/// The key of a version that a trusted key has signed.
fn signer_of(version: &VersionRecord) -> Option<KeyId> {
    version.key_id.filter(|_| version.signature_status == SignatureStatus::Valid)
}

/// Writes down what a plugin leaves that is being uninstalled.
pub(crate) async fn leave_data(
    service: &Service,
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
    store::kept::insert(tx, &kept, &plugin.name, fate, service.now()).await?;
    Ok(())
}

/// Gives a new plugin what an earlier one of its name and signer left.
pub(crate) async fn attach_data(
    _service: &Service,
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

/// Removes the files of a plugin whose rows say so, and frees its user once nothing of that user is left.
pub(crate) async fn finish_purge(service: &Service, plugin: PluginId) -> Result<(), ServiceError> {
    let (volumes, copies) = (service.volumes.clone(), volumes::copies_of(&service.fleet, plugin).await?);
    blocking("remove a volume", move || copies.into_iter().try_for_each(|data| Ok(volumes.remove(data)?))).await?;
    let mut tx = service.store.begin().await?;
    store::running::free_user(&mut tx, plugin).await?;
    store::kept::delete(&mut tx, plugin).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends what a process before has begun. What cannot be ended is told, and tried again at the next start.
pub(crate) async fn finish_kept_data(service: &Service) -> Result<(), ServiceError> {
    let (attached, purged) = {
        let mut reader = service.store.reader().await?;
        (store::kept::list_attached(&mut reader).await?, store::kept::list_purged(&mut reader).await?)
    };
    for plugin in attached {
        if let Err(error) = volumes::finish_hand_over(&service.fleet, plugin).await {
            warn!(%plugin, error = %Chain(&error), "Kept data could not be handed over");
        }
    }
    for plugin in purged {
        match finish_purge(service, plugin).await {
            Ok(()) => info!(%plugin, "Removed what an uninstalled plugin had kept"),
            Err(error) => warn!(%plugin, error = %Chain(&error), "Kept data could not be removed"),
        }
    }
    Ok(())
}

/// Removes what plugins left that are not installed any more. False if there is nothing that the caller may know of.
pub(crate) async fn purge_left_data(service: &Service, caller: &Caller, wanted: &str) -> Result<bool, ServiceError> {
    let Some(wanted) = PluginRef::parse(wanted) else { return Ok(false) };
    let name = match &wanted {
        PluginRef::Name(name) => Some(name.clone()),
        PluginRef::Id(id) => store::kept::find_name(&mut *service.store.reader().await?, *id).await?,
    };
    let Some(name) = name.filter(|name| caller.may_see(name)) else { return Ok(false) };
    let _changing = service.registry.lock(&name).await;
    let mut tx = service.store.begin().await?;
    let found = store::kept::list(&mut tx, &wanted).await?;
    if found.is_empty() {
        return Ok(false);
    }
    for kept in &found {
        store::kv::purge(&mut tx, kept.plugin_id).await?;
        store::kept::mark_purged(&mut tx, kept.plugin_id).await?;
    }
    let ids: Vec<_> = found.iter().map(|kept| kept.plugin_id).collect();
    service.registry.commit(tx, caller, "plugin.data_purged", Some(&name), json!({"plugin_ids": ids})).await?;
    for kept in found {
        finish_purge(service, kept.plugin_id).await?;
    }
    Ok(true)
}

/// What somebody should know who installs a plugin whose name has a past.
pub(crate) fn warning(name: &PluginName, attached: Attached) -> Option<String> {
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
