//! Uninstall: the rows first, the files after. Killed in between, the files are removed at the next start.

use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;

use super::fleet::STOP_GRACE;
use super::{Caller, KeptData, Service, ServiceError};
use crate::store;

impl Service {
    /// Removes a plugin with all its versions. Its floor stays.
    ///
    /// With [`KeptData::Purge`] its own data go too. Where no such plugin is installed, that removes what earlier ones of
    /// the name have left.
    pub async fn uninstall(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        data: KeptData,
    ) -> Result<(), ServiceError> {
        let plugin = match self.find_plugin(caller, wanted).await {
            Err(ServiceError::PluginUnknown { .. })
                if data == KeptData::Purge && self.purge_left_data(caller, wanted).await? =>
            {
                return Ok(());
            }
            found => found?,
        };
        let mut change = self.change(caller, &plugin).await?;
        self.check_unneeded(caller, &plugin.name).await?;
        let member = self.member(plugin.id, &plugin.name);
        member.stop(Instant::now() + STOP_GRACE).await;
        // What it was given and never used is its own now.
        self.finish_hand_over(plugin.id).await?;
        let mut tx = change.begin().await?;
        self.check_unneeded_in(&mut tx, caller, &plugin.name).await?;
        let versions = store::plugins::list_versions(&mut tx, Some(plugin.id)).await?;
        let serving = store::plugins::serving_of(&change.plugin, &versions);
        self.leave_data(&mut tx, &change.plugin, serving, data).await?;
        store::plugins::delete(&mut tx, plugin.id).await?;
        let detail = json!({"version": change.plugin.serving, "purged": data == KeptData::Purge});
        change.commit(tx, "plugin.uninstalled", detail).await?;
        for version in versions {
            self.forget_content(version.digest).await?;
        }
        self.fleet.forget(plugin.id);
        Self::blocking("remove what it printed", move || {
            let removed = member.log.remove();
            removed.map_err(|source| ServiceError::File { action: "remove what the plugin printed".to_owned(), source })
        })
        .await?;
        if data == KeptData::Purge {
            self.finish_purge(plugin.id).await?;
        }
        Ok(())
    }
}
