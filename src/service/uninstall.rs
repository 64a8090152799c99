//! Uninstall: the rows first, the files after. Killed in between, the files are removed at the next start.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use serde_json::json;
use tokio::time::Instant;

use super::fleet::STOP_GRACE;
use super::{Caller, Service, ServiceError};
use crate::store::{self, audit};

/// What becomes of a plugin's `/data` and of its small values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptData {
    /// It stays on the disk.
    Keep,
    /// It is removed.
    Purge,
}

impl Service {
    /// Removes a plugin with all its versions. Its floor stays.
    pub async fn uninstall(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        data: KeptData,
    ) -> Result<(), ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let _changing = self.names.lock(&plugin.name).await;
        let plugin = self.find_plugin(caller, &plugin.id.to_string()).await?;
        let member = self.member(plugin.id, &plugin.name);
        member.stop(Instant::now() + STOP_GRACE).await;
        let mut tx = self.store.begin().await?;
        let versions = store::plugins::list_versions(&mut tx, Some(plugin.id)).await?;
        store::plugins::delete(&mut tx, plugin.id).await?;
        if data == KeptData::Purge {
            store::running::free_user(&mut tx, plugin.id).await?;
            store::kv::purge(&mut tx, plugin.id).await?;
        }
        let detail = json!({"version": plugin.serving, "purged": data == KeptData::Purge});
        let entry = self.entry(&caller.into(), "plugin.uninstalled", Some(&plugin.name), detail);
        audit::append(&mut tx, &self.audit_key, &entry).await?;
        tx.commit().await?;
        for version in versions {
            self.forget_content(version.digest).await?;
        }
        self.fleet.forget(plugin.id);
        let volume = self.data.volume(plugin.id);
        Self::blocking("remove what it kept", move || {
            let result = member.log.remove().and_then(|()| match data {
                KeptData::Keep => Ok(()),
                KeptData::Purge => remove_if_there(&volume),
            });
            result.map_err(|source| ServiceError::File { action: "remove what the plugin kept".to_owned(), source })
        })
        .await
    }
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
