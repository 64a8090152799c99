//! What a session has around it.

use std::sync::Arc;

use super::PluginLog;
use crate::host::Host;
use plugbay_domain::Clock;
use plugbay_runtime::shutdown::Shutdown;
use plugbay_sandbox::{Sandbox, VolumeLease};

/// What every start needs.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What runs sandboxes.
    pub engine: Arc<dyn Sandbox>,
    /// The plugin's log.
    pub log: Arc<PluginLog>,
    /// What the plugin may ask of the service.
    pub host: Host,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What spawns.
    pub shutdown: Shutdown,
    /// What it has as `/data`; given back once the sandbox is gone.
    pub data: Option<VolumeLease>,
}
