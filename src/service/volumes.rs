//! What plugins have as `/data`.

use super::fleet::Member;
use super::{PluginProblem, Service, ServiceError};
use crate::domain::{Chain, PluginId, PluginName, Refusal as _};
use crate::sandbox::{DataMount, DataQuota, SandboxSpec, VolumeError, VolumeLease, VolumeOrder};

impl PluginProblem {
    fn of_volume(name: &PluginName, error: &VolumeError) -> Self {
        let how = error.how().unwrap_or_else(|| error.code().how().to_owned()).replace("NAME", name.as_str());
        Self::new(error.code(), format!("`{name}` cannot have its /data: {}", Chain(error))).with_how(how)
    }
}

impl Service {
    /// Where the plugin's `/data` is or will be.
    pub(super) async fn data_mount(&self, plugin: PluginId) -> Result<DataMount, ServiceError> {
        let volumes = self.volumes.clone();
        Self::blocking("volume", move || Ok(volumes.mount_of(plugin))).await
    }

    /// Makes the plugin's `/data` ready for a session.
    pub(super) async fn open_volume(&self, member: &Member, spec: &SandboxSpec) -> Result<VolumeLease, ServiceError> {
        self.finish_hand_over(member.id).await?;
        let order = VolumeOrder { plugin: spec.plugin_id, uid: spec.uid, data_mb: spec.limits.data_mb };
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
