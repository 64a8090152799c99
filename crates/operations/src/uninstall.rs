//! Uninstall: the rows first, the files after. Killed in between, the files are removed at the next start.

use std::sync::Arc;

use plugbay_fleet::{STOP_GRACE, volumes};
use plugbay_registry::Caller;
use plugbay_store as store;
use serde_json::json;
use tokio::time::Instant;

use crate::requires::dependents;
use crate::{KeptData, Service, ServiceError, blocking, find, install, kept_data};

/// Removes a plugin with all its versions. Its floor stays.
///
/// With [`KeptData::Purge`] its own data go too. Where no such plugin is installed, that removes what earlier ones of
/// the name have left.
pub async fn uninstall(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    data: KeptData,
) -> Result<(), ServiceError> {
    let plugin = match find::find_plugin(service, caller, wanted).await {
        Err(ServiceError::PluginUnknown { .. })
            if data == KeptData::Purge && kept_data::purge_left_data(service, caller, wanted).await? =>
        {
            return Ok(());
        }
        found => found?,
    };
    let mut change = find::change(service, caller, &plugin).await?;
    dependents::check_unneeded(service, caller, &plugin.name).await?;
    let member = service.fleet.member(plugin.id, &plugin.name);
    member.stop(Instant::now() + STOP_GRACE).await;
    // What it was given and never used is its own now.
    volumes::finish_hand_over(&service.fleet, plugin.id).await?;
    let mut tx = change.begin().await?;
    dependents::check_unneeded_in(service, &mut tx, caller, &plugin.name).await?;
    let versions = store::plugins::list_versions(&mut tx, Some(plugin.id)).await?;
    let serving = store::plugins::serving_of(&change.plugin, &versions);
    kept_data::leave_data(service, &mut tx, &change.plugin, serving, data).await?;
    store::plugins::delete(&mut tx, plugin.id).await?;
    let detail = json!({"version": change.plugin.serving, "purged": data == KeptData::Purge});
    change.commit(tx, "plugin.uninstalled", detail).await?;
    for version in versions {
        install::forget_content(service, version.digest).await?;
    }
    service.fleet.forget(plugin.id);
    blocking("remove what it printed", move || {
        let removed = member.log.remove();
        removed.map_err(|source| ServiceError::File { action: "remove what the plugin printed".to_owned(), source })
    })
    .await?;
    if data == KeptData::Purge {
        kept_data::finish_purge(service, plugin.id).await?;
    }
    Ok(())
}
