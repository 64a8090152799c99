//! What plugins have as `/data`.

use plugbay_domain::{Chain, DataId, PluginId, PluginName, Refusal as _};
use plugbay_sandbox::{DataMount, DataQuota, SandboxSpec, VolumeError, VolumeLease, VolumeOrder};
use plugbay_store as store;
use tracing::{info, warn};

use crate::{Fleet, FleetError, Member, PluginProblem, blocking};

impl PluginProblem {
    fn of_volume(name: &PluginName, error: &VolumeError) -> Self {
        let how = error.how().unwrap_or_else(|| error.code().how().to_owned()).replace("NAME", name.as_str());
        Self::new(error.code(), format!("`{name}` cannot have its /data: {}", Chain(error))).with_how(how)
    }
}

/// Where a plugin's `/data` is or will be.
pub(crate) async fn data_mount(fleet: &Fleet, data: DataId) -> Result<DataMount, FleetError> {
    let volumes = fleet.volumes.clone();
    blocking("volume", move || Ok(volumes.mount_of(data))).await
}

/// Makes the plugin's `/data` ready for a session.
pub(crate) async fn open_volume(
    fleet: &Fleet,
    member: &Member,
    data: DataId,
    spec: &SandboxSpec,
) -> Result<VolumeLease, FleetError> {
    finish_hand_over(fleet, member.id).await?;
    let order = VolumeOrder { volume: data, uid: spec.uid, data_mb: spec.limits.data_mb };
    let (volumes, requires_hard) = (fleet.volumes.clone(), fleet.config.storage.require_hard_quota);
    let name = member.name.clone();
    blocking("open a volume", move || {
        let refuse = |error: &VolumeError| FleetError::from(PluginProblem::of_volume(&name, error));
        if let (DataQuota::Soft, Some(why)) = volumes.quota()
            && requires_hard
        {
            return Err(refuse(&VolumeError::HardQuotaMissing { why: why.to_owned() }));
        }
        volumes.open(order).map_err(|error| refuse(&error))
    })
    .await
}

/// Makes a copy of what a plugin keeps, for a version that is to work on it.
pub async fn fork_data(fleet: &Fleet, name: &PluginName, from: DataId, to: DataId) -> Result<(), FleetError> {
    let (volumes, name) = (fleet.volumes.clone(), name.clone());
    blocking("copy a volume", move || {
        volumes.fork(from, to).map_err(|error| PluginProblem::of_volume(&name, &error).into())
    })
    .await?;
    let mut tx = fleet.store.begin().await?;
    store::kv::fork(&mut tx, from, to.generation).await?;
    tx.commit().await?;
    Ok(())
}

/// Every copy on the disk of what a plugin keeps.
pub async fn copies_of(fleet: &Fleet, plugin: PluginId) -> Result<Vec<DataId>, FleetError> {
    let volumes = fleet.volumes.clone();
    blocking("list volumes", move || {
        let action = "list volumes".to_owned();
        volumes.list(plugin).map_err(|source| FleetError::File { action, source })
    })
    .await
}

/// Removes a copy that nobody needs any more. What cannot be removed now goes at the next start.
pub async fn remove_data(fleet: &Fleet, data: DataId) {
    let volumes = fleet.volumes.clone();
    let removed = async {
        // First: as long as its files are there, its number is given to nobody else.
        let mut tx = fleet.store.begin().await?;
        store::kv::delete_generation(&mut tx, data).await?;
        tx.commit().await?;
        blocking("remove a volume", move || Ok(volumes.remove(data)?)).await
    };
    if let Err(error) = removed.await {
        warn!(%data, error = %Chain(&error), "A copy of what a plugin keeps could not be removed");
    }
}

/// Removes copies that updates left when the process before was killed.
pub async fn remove_left_copies(fleet: &Fleet) -> Result<(), FleetError> {
    let needed = store::snapshots::list_needed(&mut *fleet.store.reader().await?).await?;
    let volumes = fleet.volumes.clone();
    let found = blocking("list volumes", move || {
        let action = "list volumes".to_owned();
        volumes.list_all().map_err(|source| FleetError::File { action, source })
    })
    .await?;
    // Of plugins that nobody knows anything is left to the operator.
    let is_left = |data: &DataId| !needed.contains(data) && needed.iter().any(|known| known.plugin == data.plugin);
    let mut tx = fleet.store.begin().await?;
    store::snapshots::delete_unneeded_values(&mut tx).await?;
    tx.commit().await?;
    for data in found.into_iter().filter(is_left) {
        info!(%data, "Removing a copy of what a plugin keeps that an update has left");
        remove_data(fleet, data).await;
    }
    Ok(())
}

/// What limits `/data` here, or why that is less than the operator wants.
pub async fn check_data_quota(fleet: &Fleet) -> Result<String, String> {
    let (volumes, requires_hard) = (fleet.volumes.clone(), fleet.config.storage.require_hard_quota);
    let looking = blocking("volume", move || {
        let (quota, why) = volumes.quota();
        let text = match why {
            None => format!("{} quota", quota.as_str()),
            Some(why) => format!("{} quota: {why}", quota.as_str()),
        };
        Ok(if quota == DataQuota::Soft && requires_hard { Err(text) } else { Ok(text) })
    });
    looking.await.unwrap_or_else(|error| Err(Chain(&error).to_string()))
}

/// Lets files follow the rows, where a plugin was given what an earlier one left. Nothing to do for almost every plugin.
pub async fn finish_hand_over(fleet: &Fleet, to: PluginId) -> Result<(), FleetError> {
    let Some(kept) = store::kept::find_attached(&mut *fleet.store.reader().await?, to).await? else { return Ok(()) };
    let (volumes, from, to) = (fleet.volumes.clone(), kept.data(), DataId { plugin: to, ..kept.data() });
    blocking("hand over a volume", move || Ok(volumes.hand_over(from, to)?)).await?;
    let mut tx = fleet.store.begin().await?;
    store::kept::delete(&mut tx, kept.plugin_id).await?;
    tx.commit().await?;
    Ok(())
}
