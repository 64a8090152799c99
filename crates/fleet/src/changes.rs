//! What follows from a change for a plugin that runs: its grants are swapped, it gets the new configuration by
//! `configure`, or it gets a fresh sandbox that starts with both. Calls that were admitted are answered either way.

use std::sync::Arc;

use plugbay_registry::PluginChange;
use tokio::time::Instant;
use tracing::info;

use crate::settings::{CONFIGURE_TIMEOUT, load_config};
use crate::{FirstStart, Fleet, FleetError, STOP_GRACE, authority, supervisor};

/// Lets a change of decisions take effect.
pub async fn apply_grants(fleet: &Arc<Fleet>, change: &PluginChange<'_>) -> Result<(), FleetError> {
    let plugin = &change.plugin;
    let member = fleet.member(plugin.id, &plugin.name);
    let standing = authority::refresh_grants(fleet, &member).await?;
    let is_wanted = plugin.should_run();
    if !member.is_supervised() {
        if is_wanted && standing.is_complete() && fleet.is_verified() {
            supervisor::supervise(fleet, &member, FirstStart::Resumed);
        }
    } else if !standing.is_complete() {
        member.stop(Instant::now() + STOP_GRACE).await;
    } else {
        member.renew(|session| authority::is_outdated(fleet, &member, session));
    }
    Ok(())
}

/// Brings a change to what runs.
pub async fn apply_config(fleet: &Arc<Fleet>, change: &PluginChange<'_>, is_seen: bool) -> Result<(), FleetError> {
    let plugin = &change.plugin;
    let member = fleet.member(plugin.id, &plugin.name);
    if !member.is_supervised() {
        let is_wanted = plugin.should_run();
        if is_wanted && fleet.is_verified() && authority::refresh_grants(fleet, &member).await?.is_complete() {
            supervisor::supervise(fleet, &member, FirstStart::Resumed);
        }
        return Ok(());
    }
    let installed = change.installed().await?;
    let (revision, config) = load_config(fleet, &member, &member.reach(), installed.serving()).await?;
    if let Some(session) = member.session() {
        if !is_seen || session.configure(&config, CONFIGURE_TIMEOUT).await {
            session.has_config(revision);
            return Ok(());
        }
        info!(plugin.name = %plugin.name, "`{}` is started anew with its new configuration", plugin.name);
    }
    member.renew(|session| authority::is_outdated(fleet, &member, session));
    Ok(())
}
