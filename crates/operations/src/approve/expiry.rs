//! Grants that end by themselves: with an audit row, within one period of the upkeep, and not without a warning.

use std::collections::BTreeSet;
use std::sync::Arc;

use plugbay_domain::{Chain, PluginId, PluginRef};
use plugbay_fleet::changes;
use plugbay_registry::{Actor, Caller};
use plugbay_store as store;
use plugbay_store::grants::{EndReason, GrantEnd, GrantRecord};
use serde_json::json;
use tracing::{error, info, warn};

use crate::permissions::{NOTICE, end_warning};
use crate::{Service, ServiceError, risks};

/// Ends grants whose time is over, and warns of those that end soon.
pub(crate) async fn look_after_grants(service: &Arc<Service>) -> Result<(), ServiceError> {
    let now = service.now();
    let rows = store::grants::list_open(&mut *service.store.reader().await?, None).await?;
    let over: BTreeSet<PluginId> = rows.iter().filter(|row| !row.holds(now)).map(|row| row.plugin_id).collect();
    for id in over {
        let (shutdown, service) = (&service.shutdown, Arc::clone(service));
        // Stopping a plugin takes its time, and others must not wait for it.
        shutdown.spawn("grants.expire", |_| async move {
            if let Err(error) = expire(&service, id).await {
                error!(error = %Chain(&error), plugin.id = %id, "Expired grants could not be ended");
            }
        });
    }
    let soon = now.plus(NOTICE);
    if rows.iter().any(|row| row.expires_at.is_some_and(|end| end <= soon)) {
        warn_of_ends(service, soon).await?;
    }
    Ok(())
}

async fn expire(service: &Arc<Service>, id: PluginId) -> Result<(), ServiceError> {
    let found = store::plugins::find(&mut *service.store.reader().await?, &PluginRef::Id(id)).await?;
    let Some(name) = found.map(|plugin| plugin.name.clone()) else { return Ok(()) };
    let Some(mut change) = service.registry.change(Actor::Service, (id, &name)).await? else { return Ok(()) };
    let (now, installed) = (service.now(), change.installed().await?);
    let over: Vec<&GrantRecord> = installed.decisions.iter().filter(|row| !row.holds(now)).collect();
    if over.is_empty() {
        return Ok(());
    }
    let forgets = !risks::is_risk_left(service, &installed, &installed.decisions).await?;
    let mut tx = change.begin().await?;
    let end = GrantEnd { at: now, by: "service".to_owned(), reason: EndReason::Expired, note: None };
    for row in &over {
        store::grants::end(&mut tx, row.id, &end).await?;
        if forgets {
            store::grants::forget_accepted(&mut tx, id, row.digest).await?;
        }
    }
    let expired: Vec<_> = over.iter().map(|row| row.unit.request()).collect();
    change.commit(tx, "permissions.expired", json!({"expired": expired})).await?;
    info!(plugin.name = %name, "Grants of `{name}` have expired");
    Ok(changes::apply_grants(&service.fleet, &change).await?)
}

async fn warn_of_ends(service: &Service, soon: plugbay_domain::Timestamp) -> Result<(), ServiceError> {
    let now = service.now();
    let mut tx = service.store.begin().await?;
    let unwarned = store::grants::take_unwarned(&mut tx, soon, now).await?;
    let plugins = store::plugins::list(&mut tx).await?;
    tx.commit().await?;
    for row in unwarned.iter().filter(|row| row.holds(now)) {
        let name = plugins.iter().find(|plugin| plugin.id == row.plugin_id).map(|plugin| plugin.name.to_string());
        warn!(plugin.name = name, "{}", end_warning(name.as_deref().unwrap_or_default(), row));
    }
    Ok(())
}

/// What ends within the next days, of every plugin.
pub async fn grants_that_end_soon(service: &Service, caller: &Caller) -> Result<Vec<String>, ServiceError> {
    let (rows, plugins) = {
        let mut reader = service.store.reader().await?;
        (store::grants::list_open(&mut reader, None).await?, store::plugins::list(&mut reader).await?)
    };
    let now = service.now();
    let soon = now.plus(NOTICE);
    let ends = rows.iter().filter(|row| row.holds(now) && row.expires_at.is_some_and(|end| end <= soon));
    let text = |row: &GrantRecord| {
        let plugin = plugins.iter().find(|plugin| plugin.id == row.plugin_id)?;
        caller.may_see(&plugin.name).then(|| end_warning(plugin.name.as_str(), row))
    };
    Ok(ends.filter_map(text).collect())
}
