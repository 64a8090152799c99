//! Uninstall: the rows first, the files after. Killed in between, the files are removed at the next start.

use std::sync::Arc;

use serde_json::json;

use super::{Caller, Service, ServiceError};
use crate::store::{self, audit};

impl Service {
    /// Removes a plugin with all its versions. Its floor stays.
    pub async fn uninstall(self: &Arc<Self>, caller: &Caller, wanted: &str) -> Result<(), ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let _changing = self.names.lock(&plugin.name).await;
        let plugin = self.find_plugin(caller, &plugin.id.to_string()).await?;
        let mut tx = self.store.begin().await?;
        let versions = store::plugins::list_versions(&mut tx, Some(plugin.id)).await?;
        store::plugins::delete(&mut tx, plugin.id).await?;
        let detail = json!({"version": plugin.serving});
        let entry = self.entry(&caller.into(), "plugin.uninstalled", Some(&plugin.name), detail);
        audit::append(&mut tx, &self.audit_key, &entry).await?;
        tx.commit().await?;
        for version in versions {
            self.forget_content(version.digest).await?;
        }
        Ok(())
    }
}
