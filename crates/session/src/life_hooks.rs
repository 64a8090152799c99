//! `on_startup` and `on_shutdown`: a plugin that declares them hears of both ends of its session, once.

use std::sync::Arc;

use plugbay_domain::{CallId, HookName, Origin};
use plugbay_protocol::Payload;
use serde_json::json;
use tokio::time::Instant;

use super::{CallOutcome, Delivery, Inner, NewCall, PluginLog, Session, Time};

/// Which of the two a plugin has declared.
#[derive(Clone, Copy, Debug)]
pub(super) struct LifeHooks {
    starts: bool,
    ends: bool,
}

impl LifeHooks {
    /// Those among the methods that plugin.yaml promises.
    pub(super) fn of(promised: &[String]) -> Self {
        let has = |hook: HookName| promised.iter().any(|method| method == hook.as_str());
        Self { starts: has(HookName::OnStartup), ends: has(HookName::OnShutdown) }
    }

    pub(super) async fn started(self, inner: &Arc<Inner>, log: &PluginLog, until: Instant) {
        if self.starts {
            tell(inner, log, HookName::OnStartup, until).await;
        }
    }

    pub(super) async fn ends(self, inner: &Arc<Inner>, log: &PluginLog, until: Instant) {
        if self.ends {
            tell(inner, log, HookName::OnShutdown, until).await;
        }
    }
}

/// Calls the hook. What it answers is not used, and what it raises is for its author.
async fn tell(inner: &Arc<Inner>, log: &PluginLog, hook: HookName, until: Instant) {
    let session = Session(Arc::clone(inner));
    let params = Payload::of(&json!({ "hook": hook, "session": session.id() }));
    let new = NewCall {
        id: CallId::generate(),
        method: hook.as_str(),
        params: ("", &params),
        time: Time::Until(until),
        origin: Origin::default(),
        trace: None,
        delivery: Delivery::Whole,
        place: None,
    };
    let answered = match session.begin(new) {
        Ok(mut call) => call.answer().await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(CallOutcome::Result(_)) => {}
        Ok(CallOutcome::Raised(error)) => log.note("ERROR", &format!("`{hook}` raised: {}", error.message)),
        Err(error) => log.note("WARNING", &format!("`{hook}` was not answered: {error:?}")),
    }
}
