//! `plugins.execute` needs the edge to the plugin that is called, or `admin_access`; `plugins.list` needs `admin_access`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::need::{Granted, Params, plugin_name};
use super::uplink::{MAX_DEPTH, PluginCall, Uplink, ask};
use super::{Host, HostError};
use plugbay_domain::{Code, Origin};

/// Calls of other plugins that one session waits for. Less than the requests that it may have open: whoever is called
/// may call back, and what this plugin asks to answer that must find room, or both would wait for each other.
pub(super) const MOST_NESTED: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Execute {
    name: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    context: Option<Box<RawValue>>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl Params<'_> for Execute {
    /// The plugin to call.
    fn resource(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl Params<'_> for Nothing {}

pub(super) async fn execute(
    host: &Host,
    execute: Granted<Execute>,
    origin: Origin,
    deadline: Instant,
) -> Result<Box<RawValue>, HostError> {
    let Execute { name, method, context, .. } = execute.params();
    let plugin = plugin_name(&name)?;
    let refused = |code, rule| Err(HostError::Refused { code, rule });
    if origin.depth >= MAX_DEPTH {
        let rule = format!("plugins call each other at most {MAX_DEPTH} deep; `{plugin}` would be called deeper");
        return refused(Code::CallTooDeep, rule);
    }
    let Ok(_place) = host.nested.try_acquire() else {
        return refused(Code::PluginBusy, format!("{MOST_NESTED} calls of other plugins are under way already"));
    };
    let origin = Origin { depth: origin.depth + 1, ..origin };
    let store = host.store.clone();
    let call = PluginCall { plugin, method, context, origin, deadline, store };
    ask(&host.parts.uplink, |answer| Uplink::Execute { call, answer }).await
}

pub(super) async fn list(host: &Host, _nothing: Granted<Nothing>) -> Result<Box<RawValue>, HostError> {
    // Before the line of the service: a plugin that asks for many lists stands there once.
    let reader = host.store.reader().await?;
    ask(&host.parts.uplink, |answer| Uplink::List { reader, answer }).await
}
