//! Enabling a plugin with what it requires: that first, in order, and nothing of it stays if one of them does not start.

use std::sync::Arc;

use plugbay_domain::{Chain, Code, Offer, Offers, Plugin, PluginName, PluginStatus, Refusal as _};
use plugbay_fleet::STOP_GRACE;
use plugbay_registry::{Caller, NotAllowed, Roster};
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use crate::lifecycle::Step;
use crate::{Service, ServiceError, StatusChange, find, lifecycle, requires};

/// Why a plugin is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Somebody wants it.
    Itself,
    /// Somebody wants one that requires it. That lifts no quarantine.
    Along,
}

/// A plugin that is enabled because another one requires it.
struct Required {
    plugin: Plugin,
    by: PluginName,
}

impl Required {
    fn failed(&self, source: ServiceError) -> ServiceError {
        ServiceError::Required { by: self.by.clone(), name: self.plugin.name.clone(), source: Box::new(source) }
    }
}

/// Enables a plugin after everything it requires.
pub(crate) async fn enable_with_required(
    service: &Arc<Service>,
    caller: &Caller,
    plugin: &Plugin,
) -> Result<StatusChange, ServiceError> {
    let mut done: Vec<(Plugin, PluginStatus)> = Vec::new();
    for required in list_required(service, caller, plugin).await? {
        match lifecycle::try_enable(service, caller, &required.plugin, Asked::Along).await {
            Ok(StatusChange { before: PluginStatus::Enabled, .. }) => {}
            Ok(change) => done.push((change.plugin, change.before)),
            // Its wish is kept, and so are those that follow: everything starts when the engine is there.
            Err(error) if error.code() == Code::EngineUnavailable => {
                let before = required.plugin.status;
                done.push((required.plugin, before));
            }
            Err(error) => {
                undo(service, caller, &plugin.name, done).await;
                return Err(required.failed(error));
            }
        }
    }
    match lifecycle::try_enable(service, caller, plugin, Asked::Itself).await {
        Ok(change) => {
            let also = done.into_iter().map(|(plugin, _)| plugin.name.clone()).collect();
            Ok(StatusChange { also, ..change })
        }
        Err(error) => {
            if error.code() != Code::EngineUnavailable {
                undo(service, caller, &plugin.name, done).await;
            }
            Err(error)
        }
    }
}

/// What has to be enabled before the plugin, in order. Refused before anything is started if one of them cannot be.
async fn list_required(service: &Service, caller: &Caller, plugin: &Plugin) -> Result<Vec<Required>, ServiceError> {
    let installed = service.registry.installed(plugin.clone()).await?;
    if installed.manifest()?.requires.is_empty() {
        return Ok(Vec::new());
    }
    lifecycle::check_ready(service, plugin, Asked::Itself).await?;
    let roster = requires::roster(service).await?;
    let offers = offers_for(&roster, caller, &plugin.name)?;
    let order = offers.resolve(std::slice::from_ref(&plugin.name))?;
    let mut found = Vec::new();
    for name in order.iter().filter(|name| **name != plugin.name && !roster.may_run(name)) {
        let Some(record) = roster.find(name) else { continue };
        let is_by = |by: &&PluginName| offers.find(by).is_some_and(|offer| offer.requires.contains_key(name));
        let by = order.iter().rev().find(is_by).unwrap_or(&plugin.name).clone();
        let required = Required { plugin: record.clone(), by };
        if let Err(error) = lifecycle::check_ready(service, record, Asked::Along).await {
            return Err(required.failed(error));
        }
        found.push(required);
    }
    Ok(found)
}

/// Disables again what was enabled along with a plugin that then was not, unless somebody else needs it by now.
async fn undo(service: &Arc<Service>, caller: &Caller, wanted: &PluginName, done: Vec<(Plugin, PluginStatus)>) {
    for (plugin, before) in done.into_iter().rev() {
        if let Err(error) = undo_one(service, caller, wanted, &plugin, before).await {
            let name = &plugin.name;
            warn!(plugin.name = %name, error = %Chain(&error), "`{name}` stays enabled without `{wanted}`");
        }
    }
}

async fn undo_one(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &PluginName,
    plugin: &Plugin,
    before: PluginStatus,
) -> Result<(), ServiceError> {
    let mut change = find::change(service, caller, plugin).await?;
    if change.plugin.is_enabled() {
        change.plugin.want(before, service.now());
        lifecycle::record_status(service, caller, &mut change, Step::Disabled(json!({"undone_for": wanted}))).await?;
        service.fleet.member(plugin.id, &plugin.name).stop(Instant::now() + STOP_GRACE).await;
    }
    Ok(())
}

/// What `root` requires, be it by way of others, as far as the caller may see it. Of plugins that the token is not for,
/// nothing is told: they are as required and enabled, or the token is not enough.
fn offers_for(roster: &Roster, caller: &Caller, root: &PluginName) -> Result<Offers, ServiceError> {
    let mut offers = Offers::default();
    let mut open = vec![root];
    while let Some(name) = open.pop() {
        let Some(offer) = roster.offers.find(name).filter(|_| offers.find(name).is_none()) else { continue };
        offers.put(name.clone(), offer.clone());
        for (required, range) in &offer.requires {
            if caller.may_see(required) {
                open.push(required);
                continue;
            }
            let found = roster.offers.find(required).filter(|found| range.matches(&found.version));
            let Some(found) = found.filter(|_| roster.may_run(required)) else {
                let source = Box::new(NotAllowed::PluginOutOfReach { name: required.clone() }.into());
                return Err(ServiceError::Required { by: name.clone(), name: required.clone(), source });
            };
            offers.put(required.clone(), Offer { requires: std::collections::BTreeMap::new(), ..found.clone() });
        }
    }
    Ok(offers)
}
