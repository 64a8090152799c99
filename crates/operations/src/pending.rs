//! Versions that wait: how one comes to serve once nothing is left to wait for.

use std::sync::Arc;

use plugbay_domain::{Code, Manifest, Plugin, Refusal as _};
use plugbay_registry::{Actor, Caller, InstalledPlugin, PluginChange};
use plugbay_store as store;
use serde_json::json;

use crate::decisions::carry;
use crate::update::change::{Arrival, Cause, Change, Inherits};
use crate::update::take_over;
use crate::{Service, ServiceError, UpdateOutcome, UpdateStatus, install};

/// Lets the waiting version serve, for which nothing is left to wait for.
pub(crate) async fn serve_pending(
    service: &Arc<Service>,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
) -> Result<UpdateOutcome, ServiceError> {
    let installed = changing.installed().await?;
    let Some((version, carries)) = installed.pending()? else {
        return Err(ServiceError::TaskDied { name: "approval" });
    };
    let (manifest, older) = (service.registry.manifest(version)?, installed.manifest()?);
    let mut outcome = outcome_of(&installed.plugin, UpdateStatus::Updated, &manifest, &older);
    let change = Change {
        plugin: installed.plugin.clone(),
        arrival: Arrival::Kept(version.clone()),
        manifest,
        inherits: Inherits::Carried(carries),
        dropped: None,
        set_aside: None,
        cause: Cause::Update,
    };
    let done = take_over::take_over(service, caller, changing, change, &outcome).await;
    if matches!(&done, Err(error) if error.code() == Code::UpdateRolledBack) {
        // It does not work, so there is nothing more to wait for.
        drop_pending(service, changing, &installed).await?;
    }
    for version in &installed.versions {
        install::forget_content(service, version.digest).await?;
    }
    outcome.watched_until = done?;
    Ok(outcome)
}

async fn drop_pending(
    service: &Service,
    changing: &mut PluginChange<'_>,
    installed: &InstalledPlugin,
) -> Result<(), ServiceError> {
    let Some((version, _)) = installed.pending()? else { return Ok(()) };
    let (manifest, now) = (installed.manifest()?, service.now());
    changing.plugin.drop_pending();
    let plugin = &changing.plugin;
    let mut tx = changing.begin().await?;
    if version.served_at.is_none() {
        store::plugins::delete_version(&mut tx, plugin.id, &version.version).await?;
    }
    carry(&mut tx, plugin, &installed.target(&manifest), "service", now).await?;
    let detail = json!({"version": version.version});
    Ok(changing.commit_by(Actor::Service, tx, "update.dropped", detail).await?)
}

/// Lets the waiting version wait for a configuration, after everything else about it was decided.
pub(crate) fn await_config(
    service: &Service,
    installed: &InstalledPlugin,
    plugin: &mut Plugin,
) -> Result<Option<UpdateOutcome>, ServiceError> {
    let Some((version, _)) = installed.pending()? else { return Ok(None) };
    let (manifest, older) = (service.registry.manifest(version)?, installed.manifest()?);
    plugin.wait_for_config(service.now());
    Ok(Some(outcome_of(plugin, UpdateStatus::PendingConfig, &manifest, &older)))
}

/// What became of the waiting version `manifest`.
fn outcome_of(plugin: &Plugin, status: UpdateStatus, manifest: &Manifest, older: &Manifest) -> UpdateOutcome {
    UpdateOutcome {
        plugin_id: plugin.id,
        status,
        version: manifest.version.clone(),
        previous: plugin.serving.clone(),
        growth: manifest.growth(older),
        signer_changed: plugin.signer_changed(),
        watched_until: None,
        warnings: manifest.warnings(),
    }
}
