//! What is true of a plugin now.

use plugbay_domain::{Isolation, PluginId, PluginName, PluginState, Timestamp};
use plugbay_fleet::{BreakerView, LastFailure};

use crate::Service;

/// What is true of a plugin now.
#[derive(Clone, Debug)]
pub struct RuntimeView {
    /// What it is doing.
    pub state: PluginState,
    /// What it runs in, while it runs.
    pub isolation: Option<Isolation>,
    /// Since when it answers.
    pub up_since: Option<Timestamp>,
    /// How often it was started again in this process.
    pub restarts: u64,
    /// What went wrong last.
    pub last_failure: Option<LastFailure>,
    /// Whether calls are let through.
    pub breaker: BreakerView,
    /// What it offers, while it answers.
    pub methods: Option<Vec<String>>,
}

/// What is true of a plugin now.
pub fn runtime_view(service: &Service, id: PluginId, name: &PluginName) -> RuntimeView {
    let member = service.fleet.member(id, name);
    let session = member.session();
    RuntimeView {
        state: member.state(),
        isolation: session.as_ref().and_then(|_| service.fleet.isolation()),
        up_since: session.as_ref().map(plugbay_session::Session::started_at),
        restarts: member.record.restarts(),
        last_failure: member.record.last_failure(),
        breaker: member.breaker_view(),
        methods: session.map(|session| session.ready().methods.clone()),
    }
}
