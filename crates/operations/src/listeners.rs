//! Which plugins hear what is written in the chat.

use std::sync::Arc;

use plugbay_domain::{Manifest, PluginName};

use crate::{Service, ServiceError};

/// An enabled plugin that declares hooks or commands and holds `chat_access` now.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: PluginName,
    /// What it declares.
    pub manifest: Arc<Manifest>,
}

/// Every plugin that hears the chat, by name. Read from the database, where a grant ends with its time.
pub async fn listeners(service: &Service) -> Result<Vec<Listener>, ServiceError> {
    let installed = service.registry.snapshot().await?;
    let mut found = Vec::new();
    for installed in installed.enabled() {
        let manifest = installed.manifest()?;
        if manifest.hooks.is_empty() && manifest.commands.is_empty() {
            continue;
        }
        if installed.standing(service.now())?.grants().chat() {
            found.push(Listener { name: installed.plugin.name.clone(), manifest });
        }
    }
    Ok(found)
}
