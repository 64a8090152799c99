//! Grants that end by themselves: with an audit row, within one period of the upkeep, and not without a warning.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::{error, info, warn};

use crate::domain::{Chain, PluginId, PluginRef};
use crate::registry::Actor;
use crate::service::{Caller, Service, ServiceError};
use crate::store;
use crate::store::grants::{EndReason, GrantEnd, GrantRecord};

/// How long before its end somebody is warned.
pub(in crate::service) const NOTICE: Duration = Duration::from_hours(7 * 24);

impl Service {
    /// Ends grants whose time is over, and warns of those that end soon.
    pub(in crate::service) async fn look_after_grants(self: &Arc<Self>) -> Result<(), ServiceError> {
        let now = self.now();
        let rows = store::grants::list_open(&mut *self.store.reader().await?, None).await?;
        let over: BTreeSet<PluginId> = rows.iter().filter(|row| !row.holds(now)).map(|row| row.plugin_id).collect();
        for id in over {
            let service = Arc::clone(self);
            // Stopping a plugin takes its time, and others must not wait for it.
            self.shutdown.spawn("grants.expire", |_| async move {
                if let Err(error) = service.expire(id).await {
                    error!(error = %Chain(&error), plugin.id = %id, "Expired grants could not be ended");
                }
            });
        }
        let soon = now.plus(NOTICE);
        if rows.iter().any(|row| row.expires_at.is_some_and(|end| end <= soon)) {
            self.warn_of_ends(soon).await?;
        }
        Ok(())
    }

    async fn expire(self: &Arc<Self>, id: PluginId) -> Result<(), ServiceError> {
        let found = store::plugins::find(&mut *self.store.reader().await?, &PluginRef::Id(id)).await?;
        let Some(name) = found.map(|plugin| plugin.name.clone()) else { return Ok(()) };
        let Some(mut change) = self.registry.change(Actor::Service, (id, &name)).await? else { return Ok(()) };
        let (now, installed) = (self.now(), change.installed().await?);
        let over: Vec<&GrantRecord> = installed.decisions.iter().filter(|row| !row.holds(now)).collect();
        if over.is_empty() {
            return Ok(());
        }
        let forgets = !self.is_risk_left(&installed, &installed.decisions).await?;
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
        self.apply_grants(&change).await
    }

    async fn warn_of_ends(&self, soon: crate::domain::Timestamp) -> Result<(), ServiceError> {
        let now = self.now();
        let mut tx = self.store.begin().await?;
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
    pub async fn grants_that_end_soon(&self, caller: &Caller) -> Result<Vec<String>, ServiceError> {
        let (rows, plugins) = {
            let mut reader = self.store.reader().await?;
            (store::grants::list_open(&mut reader, None).await?, store::plugins::list(&mut reader).await?)
        };
        let now = self.now();
        let soon = now.plus(NOTICE);
        let ends = rows.iter().filter(|row| row.holds(now) && row.expires_at.is_some_and(|end| end <= soon));
        let text = |row: &GrantRecord| {
            let plugin = plugins.iter().find(|plugin| plugin.id == row.plugin_id)?;
            caller.may_see(&plugin.name).then(|| end_warning(plugin.name.as_str(), row))
        };
        Ok(ends.filter_map(text).collect())
    }
}

/// One sentence about a grant that ends.
pub(super) fn end_warning(name: &str, row: &GrantRecord) -> String {
    let end = row.expires_at.map(|end| end.to_string()).unwrap_or_default();
    format!("the grant of `{}` to `{name}` ends at {end}", row.unit.request())
}
