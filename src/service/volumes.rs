//! What plugins have as `/data`.

use tracing::{info, warn};

use super::fleet::Member;
use super::{PluginProblem, Service, ServiceError};
use crate::domain::{Chain, DataId, PluginId, PluginName, Refusal as _};
use crate::sandbox::{DataMount, DataQuota, SandboxSpec, VolumeError, VolumeLease, VolumeOrder};
use crate::store;

impl PluginProblem {
    fn of_volume(name: &PluginName, error: &VolumeError) -> Self {
        let how = error.how().unwrap_or_else(|| error.code().how().to_owned()).replace("NAME", name.as_str());
        Self::new(error.code(), format!("`{name}` cannot have its /data: {}", Chain(error))).with_how(how)
    }
}

impl Service {
    /// Where a plugin's `/data` is or will be.
    pub(super) async fn data_mount(&self, data: DataId) -> Result<DataMount, ServiceError> {
        let volumes = self.volumes.clone();
        Self::blocking("volume", move || Ok(volumes.mount_of(data))).await
    }

    /// Makes the plugin's `/data` ready for a session.
    pub(super) async fn open_volume(
        &self,
        member: &Member,
        data: DataId,
        spec: &SandboxSpec,
    ) -> Result<VolumeLease, ServiceError> {
        self.finish_hand_over(member.id).await?;
        let order = VolumeOrder { volume: data, uid: spec.uid, data_mb: spec.limits.data_mb };
        let (volumes, requires_hard) = (self.volumes.clone(), self.config.storage.require_hard_quota);
        let name = member.name.clone();
        Self::blocking("open a volume", move || {
            let refuse = |error: &VolumeError| ServiceError::from(PluginProblem::of_volume(&name, error));
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
    pub(super) async fn fork_data(&self, name: &PluginName, from: DataId, to: DataId) -> Result<(), ServiceError> {
        let (volumes, name) = (self.volumes.clone(), name.clone());
        Self::blocking("copy a volume", move || {
            volumes.fork(from, to).map_err(|error| PluginProblem::of_volume(&name, &error).into())
        })
        .await?;
        let mut tx = self.store.begin().await?;
        store::kv::fork(&mut tx, from, to.generation).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Every copy on the disk of what a plugin keeps.
    pub(super) async fn copies_of(&self, plugin: PluginId) -> Result<Vec<DataId>, ServiceError> {
        let volumes = self.volumes.clone();
        Self::blocking("list volumes", move || {
            let action = "list volumes".to_owned();
            volumes.list(plugin).map_err(|source| ServiceError::File { action, source })
        })
        .await
    }

    /// Removes a copy that nobody needs any more. What cannot be removed now goes at the next start.
    pub(super) async fn remove_data(&self, data: DataId) {
        let volumes = self.volumes.clone();
        let removed = async {
            // First: as long as its files are there, its number is given to nobody else.
            let mut tx = self.store.begin().await?;
            store::kv::delete_generation(&mut tx, data).await?;
            tx.commit().await?;
            Self::blocking("remove a volume", move || Ok(volumes.remove(data)?)).await
        };
        if let Err(error) = removed.await {
            warn!(%data, error = %Chain(&error), "A copy of what a plugin keeps could not be removed");
        }
    }

    /// Removes copies that updates left when the process before was killed.
    pub(super) async fn remove_left_copies(&self) -> Result<(), ServiceError> {
        let needed = store::snapshots::list_needed(&mut *self.store.reader().await?).await?;
        let volumes = self.volumes.clone();
        let found = Self::blocking("list volumes", move || {
            let action = "list volumes".to_owned();
            volumes.list_all().map_err(|source| ServiceError::File { action, source })
        })
        .await?;
        // Of plugins that nobody knows anything is left to the operator.
        let is_left = |data: &DataId| !needed.contains(data) && needed.iter().any(|known| known.plugin == data.plugin);
        let mut tx = self.store.begin().await?;
        store::snapshots::delete_unneeded_values(&mut tx).await?;
        tx.commit().await?;
        for data in found.into_iter().filter(is_left) {
            info!(%data, "Removing a copy of what a plugin keeps that an update has left");
            self.remove_data(data).await;
        }
        Ok(())
    }

    /// What limits `/data` here, or why that is less than the operator wants.
    pub async fn check_data_quota(&self) -> Result<String, String> {
        let (volumes, requires_hard) = (self.volumes.clone(), self.config.storage.require_hard_quota);
        let looking = Self::blocking("volume", move || {
            let (quota, why) = volumes.quota();
            let text = match why {
                None => format!("{} quota", quota.as_str()),
                Some(why) => format!("{} quota: {why}", quota.as_str()),
            };
            Ok(if quota == DataQuota::Soft && requires_hard { Err(text) } else { Ok(text) })
        });
        looking.await.unwrap_or_else(|error| Err(Chain(&error).to_string()))
    }
}
