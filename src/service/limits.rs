//! The operator's limits of a plugin: they go before its manifest's, and survive updates and restarts.

use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;

use super::fleet::{FirstStart, STOP_GRACE};
use super::{Caller, Service, ServiceError};
use crate::domain::{Manifest, ResourceCeiling, ResourceLimits, ResourceRequest};
use crate::registry::PluginChange;
use crate::store;

/// The limits of a plugin, and where each comes from.
#[derive(Clone, Copy, Debug)]
pub struct LimitsView {
    /// What is in force.
    pub limits: ResourceLimits,
    /// What the operator set.
    pub set: ResourceRequest,
    /// What the manifest asks for.
    pub manifest: ResourceRequest,
    /// The most there can be.
    pub ceiling: ResourceCeiling,
}

impl Service {
    /// The limits of a plugin.
    pub async fn show_limits(&self, caller: &Caller, wanted: &str) -> Result<LimitsView, ServiceError> {
        let view = self.show_plugin(caller, wanted).await?;
        let set = store::running::find_limits(&mut *self.store.reader().await?, view.plugin.id).await?;
        Ok(self.limits_view(&view.manifest, set))
    }

    /// Sets the operator's limits of a plugin. One that runs is started anew with them.
    pub async fn set_limits(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        set: ResourceRequest,
    ) -> Result<LimitsView, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let mut change = self.change(caller, &plugin).await?;
        let manifest = change.installed().await?.manifest()?;
        self.check_ceiling(&manifest, set)?;
        let mut tx = change.begin().await?;
        let before = store::running::find_limits(&mut tx, plugin.id).await?;
        if before != set {
            store::running::set_limits(&mut tx, plugin.id, &set).await?;
            let detail = json!({"limits": set, "before": before});
            change.commit(tx, "plugin.limits_set", detail).await?;
            self.start_anew(&change).await;
        }
        Ok(self.limits_view(&manifest, set))
    }

    /// Ends a plugin that runs and starts it as it is now wanted.
    async fn start_anew(self: &Arc<Self>, change: &PluginChange<'_>) {
        let member = self.member(change.plugin.id, &change.plugin.name);
        // What failed may work with what was changed.
        member.reset_breaker();
        if member.is_supervised() {
            member.stop(Instant::now() + STOP_GRACE).await;
            self.supervise(&member, FirstStart::Resumed);
        }
    }

    fn limits_view(&self, manifest: &Manifest, set: ResourceRequest) -> LimitsView {
        let limits = self.limits_of(manifest, set);
        LimitsView { limits, set, manifest: manifest.resources, ceiling: self.config.sandbox.ceiling }
    }

    /// Refuses limits above the ceiling, which may have been lowered since the install.
    pub(super) fn check_ceiling(&self, manifest: &Manifest, set: ResourceRequest) -> Result<(), ServiceError> {
        let mut fields = self.limits_of(manifest, set).above(&self.config.sandbox.ceiling);
        let least = |field: &str, value: Option<f64>, least: f64| {
            let low = value.filter(|value| *value < least)?;
            let message = format!("{low} is below {least}");
            Some(crate::domain::FieldError::at(format!("/resources/{field}"), message))
        };
        let whole = |value: Option<u64>| value.map(|value| u32::try_from(value).map_or(f64::MAX, f64::from));
        fields.extend(
            [
                least("memory_mb", whole(set.memory_mb), 6.0),
                least("cpus", set.cpus, 0.01),
                least("cpu_shares", whole(set.cpu_shares), 2.0),
                least("pids", whole(set.pids), 1.0),
                least("tmp_mb", whole(set.tmp_mb), 1.0),
                least("data_mb", whole(set.data_mb), 1.0),
                least("timeout_seconds", whole(set.timeout_seconds), 1.0),
                least("max_concurrency", whole(set.max_concurrency), 1.0),
            ]
            .into_iter()
            .flatten(),
        );
        if fields.is_empty() { Ok(()) } else { Err(ServiceError::LimitsExceedCeiling { fields }) }
    }
}
