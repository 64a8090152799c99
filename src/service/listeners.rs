//! Which plugins hear what is written in the chat.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Service, ServiceError};
use crate::domain::{Manifest, PluginName, PluginStatus};
use crate::registry::Target;
use crate::store;

/// An enabled plugin that declares hooks or commands and holds `chat_access` now.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: PluginName,
    /// What it declares.
    pub manifest: Arc<Manifest>,
}

impl Service {
    /// Every plugin that hears the chat, by name. Read from the database, where a grant ends with its time.
    pub async fn listeners(&self) -> Result<Vec<Listener>, ServiceError> {
        let (plugins, versions, rows) = {
            let mut reader = self.store.reader().await?;
            (
                store::plugins::list(&mut reader).await?,
                store::plugins::list_versions(&mut reader, None).await?,
                store::grants::list_open(&mut reader, None).await?,
            )
        };
        let mut grants: HashMap<_, Vec<_>> = HashMap::new();
        for row in rows {
            grants.entry(row.plugin_id).or_default().push(row);
        }
        let mut found = Vec::new();
        for plugin in plugins.into_iter().filter(|plugin| plugin.status == PluginStatus::Enabled) {
            let serves = |version: &&store::plugins::VersionRecord| {
                version.plugin_id == plugin.id && version.version == plugin.serving
            };
            let Some(version) = versions.iter().find(serves) else { continue };
            let manifest = self.registry.manifest(version)?;
            if manifest.hooks.is_empty() && manifest.commands.is_empty() {
                continue;
            }
            let rows = grants.remove(&plugin.id).unwrap_or_default();
            let target = Target { version, manifest: &manifest, carries: None };
            if target.standing(&rows, self.now()).grants().chat() {
                found.push(Listener { name: plugin.name, manifest });
            }
        }
        found.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        Ok(found)
    }
}
