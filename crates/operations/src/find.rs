//! Plugins as callers name them.

use plugbay_domain::{Plugin, escape};
use plugbay_registry::{Caller, PluginChange};

use crate::{Service, ServiceError};

/// Finds a plugin that the caller may see.
pub async fn find_plugin(service: &Service, caller: &Caller, wanted: &str) -> Result<Plugin, ServiceError> {
    let plugin = service.registry.find_for(caller, wanted).await?;
    plugin.ok_or_else(|| ServiceError::PluginUnknown { wanted: escape(wanted) })
}

/// Begins a change of a plugin that was found before.
pub(crate) async fn change<'a>(
    service: &'a Service,
    by: &Caller,
    plugin: &Plugin,
) -> Result<PluginChange<'a>, ServiceError> {
    let change = service.registry.change(by, (plugin.id, &plugin.name)).await?;
    change.ok_or_else(|| ServiceError::PluginUnknown { wanted: plugin.id.to_string() })
}
