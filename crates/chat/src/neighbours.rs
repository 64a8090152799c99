//! Hooks that hear when another plugin becomes active or stops.

use std::sync::Arc;

use plugbay_domain::PluginState;
use plugbay_fleet::StateEvent;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::member::Stage;
use crate::observers;
use crate::state::State;

/// Listens as long as the service runs.
pub(crate) fn listen(state: &Arc<State>) {
    let mut events = state.service.fleet().state_events();
    let (shutdown, state) = (state.service.shutdown().clone(), Arc::downgrade(state));
    shutdown.spawn("chat.neighbours", |stop| async move {
        loop {
            let event = match stop.run_until_cancelled(events.recv()).await {
                Some(Ok(event)) => event,
                // More happened at once than is remembered.
                Some(Err(RecvError::Lagged(_))) => continue,
                Some(Err(RecvError::Closed)) | None => return,
            };
            let Some(state) = state.upgrade() else { return };
            tell(&state, &event).await;
        }
    });
}

async fn tell(state: &Arc<State>, event: &StateEvent) {
    // One that is frozen is only asleep.
    let is_active = |state| matches!(state, PluginState::Active | PluginState::Paused);
    let stage = match (is_active(event.from), is_active(event.to)) {
        (false, true) => Stage::PluginLoad,
        (true, false) => Stage::PluginUnload,
        _ => return,
    };
    let roster = match state.rosters.now(&state.service).await {
        Ok(roster) => roster,
        Err(error) => {
            tracing::warn!(%error, "Hooks were not told of a plugin");
            return;
        }
    };
    let told = json!({ "hook": stage, "plugin": event.plugin, "state": event.to, "timestamp": event.at.to_string() });
    for member in roster.plan.at(stage).iter().filter(|member| member.plugin != event.plugin) {
        observers::observe_beside(state, Arc::clone(member), told.clone());
    }
}
