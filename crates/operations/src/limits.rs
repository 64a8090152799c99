//! The operator's limits of a plugin: they go before its manifest's, and survive updates and restarts.

use std::sync::Arc;

use plugbay_domain::{Manifest, ResourceCeiling, ResourceLimits, ResourceRequest};
use plugbay_fleet::{FirstStart, STOP_GRACE, order, supervisor};
use plugbay_registry::{Caller, PluginChange};
use plugbay_store as store;
use serde_json::json;
use tokio::time::Instant;

use crate::{Service, ServiceError, ceiling, find, plugins};

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

/// The limits of a plugin.
pub async fn show_limits(service: &Service, caller: &Caller, wanted: &str) -> Result<LimitsView, ServiceError> {
    let view = plugins::show_plugin(service, caller, wanted).await?;
    let set = store::running::find_limits(&mut *service.store.reader().await?, view.plugin.id).await?;
    Ok(limits_view(service, &view.manifest, set))
}

/// Sets the operator's limits of a plugin. One that runs is started anew with them.
pub async fn set_limits(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    set: ResourceRequest,
) -> Result<LimitsView, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let mut change = find::change(service, caller, &plugin).await?;
    let manifest = change.installed().await?.manifest()?;
    ceiling::check_ceiling(service, &manifest, set)?;
    let mut tx = change.begin().await?;
    let before = store::running::find_limits(&mut tx, plugin.id).await?;
    if before != set {
        store::running::set_limits(&mut tx, plugin.id, &set).await?;
        let detail = json!({"limits": set, "before": before});
        change.commit(tx, "plugin.limits_set", detail).await?;
        start_anew(service, &change).await;
    }
    Ok(limits_view(service, &manifest, set))
}

/// Ends a plugin that runs and starts it as it is now wanted.
async fn start_anew(service: &Arc<Service>, change: &PluginChange<'_>) {
    let member = service.fleet.member(change.plugin.id, &change.plugin.name);
    // What failed may work with what was changed.
    member.reset_breaker();
    if member.is_supervised() {
        member.stop(Instant::now() + STOP_GRACE).await;
        supervisor::supervise(&service.fleet, &member, FirstStart::Resumed);
    }
}

fn limits_view(service: &Service, manifest: &Manifest, set: ResourceRequest) -> LimitsView {
    let limits = order::limits_of(&service.fleet, manifest, set);
    LimitsView { limits, set, manifest: manifest.resources, ceiling: service.config.sandbox.ceiling }
}
