//! One call into a plugin. The path touches no database, takes no lock that plugins share, and copies the payload once.

mod admission;
mod answer;
mod request;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use admission::Admission;
pub use answer::PluginAnswer;
use request::AskedBy;
pub use request::CallRequest;
use waiting::Waiting;

use super::approval::permissions_problem;
use super::fleet::Member;
use super::{PluginProblem, Service, ServiceError};
use crate::domain::{CallId, Code, PluginRef, escape};
use crate::session::{CallError, NewCall, RunningCall, SessionEnd, StreamEvent};

/// The method that every plugin has, and nearly all calls are of.
const EXECUTE: &str = "execute";

/// Names that are the service's own business.
const LIFECYCLE: [&str; 6] = ["initialize", "cleanup", "health_check", "health", "configure", "shutdown"];

/// What the chat calls, with what somebody wrote there, and no caller.
const HANDLERS: [&str; 3] = ["on_message", "on_file_upload", "on_command"];

/// When a caller should come back where nothing better is known.
const SOON: Duration = Duration::from_secs(1);

/// What a caller is told.
#[derive(Debug)]
pub struct Execution {
    /// The call.
    pub call: CallId,
    /// How long it took.
    pub took: Duration,
    /// What the plugin answered.
    pub answer: PluginAnswer,
}

/// A call on its way.
#[derive(Debug)]
pub struct Executing {
    running: RunningCall,
    admission: Admission,
    timeout: Duration,
}

impl Executing {
    /// The call.
    pub fn call(&self) -> CallId {
        self.admission.call
    }

    /// The next part of a stream; `None` when the answer is next.
    pub async fn next_event(&mut self) -> Option<StreamEvent> {
        self.running.next_event().await
    }

    /// The answer.
    pub async fn answer(self) -> Result<Execution, ServiceError> {
        let Self { running, mut admission, timeout } = self;
        let answered = running.answer().await;
        let (call, took) = (admission.call, admission.elapsed());
        match answered {
            Ok(outcome) => Ok(Execution { call, took, answer: admission.read(outcome) }),
            Err(error) => Err(admission.failed(error, timeout).of_call(call).into()),
        }
    }
}

impl Service {
    /// Sends a call to a plugin, as soon as the plugin is ready and has a place for it.
    pub async fn call(self: &Arc<Self>, request: CallRequest<'_>) -> Result<Executing, ServiceError> {
        let CallRequest { by, wanted, method, params: (parameter, payload), deadline, origin, trace, delivery } =
            request;
        let reference = PluginRef::parse(wanted);
        let member = reference.as_ref().and_then(|reference| self.fleet.find(reference));
        let Some(member) = member.filter(|member| by.may_see(&member.name)) else {
            return Err(self.why_not_running(by, wanted).await);
        };
        let is_callers = matches!(by, AskedBy::Service) || !HANDLERS.contains(&method);
        if method.starts_with('_') || LIFECYCLE.contains(&method) || !is_callers {
            let detail = format!("`{}` is not a method for callers", escape(method));
            return Err(PluginProblem::new(Code::MethodNotOffered, detail).into());
        }
        let in_flight = self.fleet.in_flight.enter(&member).map_err(|no_place| self.no_place(&member, no_place))?;
        let began = Instant::now();
        let mut waiting = Waiting::new(self, by, wanted, &member, began);
        // A plugin that takes no calls at all says why; only then it matters how earlier ones ended.
        waiting.until_up(deadline.longest(began)).await?;
        let mut admission = Admission::new(self, &member, (method, began), in_flight)?;
        loop {
            let up = waiting.until_up(deadline.longest(began)).await?;
            let timeout = deadline.timeout(&member, began, up.timeout)?;
            if !up.session.ready().methods.iter().any(|offered| offered == method) {
                let offered = up.session.ready().methods.join(", ");
                let detail = format!("`{}` offers {offered}, not `{}`", member.name, escape(method));
                return Err(PluginProblem::new(Code::MethodNotOffered, detail).into());
            }
            let deadline = began + timeout;
            let Some(place) = waiting.place(&up, deadline).await? else { continue };
            let (id, params) = (admission.call, (parameter, &payload));
            let new = NewCall { id, method, params, deadline, origin, trace, delivery, place: Some(place) };
            match up.session.begin(new) {
                Ok(running) => {
                    admission.send(up.session.id(), self.now());
                    return Ok(Executing { running, admission, timeout });
                }
                // It never left, so it may go to the session that follows.
                Err(CallError::Ended(_)) if Instant::now() < deadline => tokio::task::yield_now().await,
                Err(error) => {
                    let problem = if let CallError::Ended(end) = error {
                        ended_problem(&member, &end)
                    } else {
                        let detail = format!("`{}` does not read what it is sent", member.name);
                        PluginProblem::new(Code::PluginBusy, detail).retry_after(SOON)
                    };
                    return Err(problem.of_call(admission.call).into());
                }
            }
        }
    }

    /// Why a plugin takes no calls.
    async fn why_not_running(&self, by: AskedBy<'_>, wanted: &str) -> ServiceError {
        let plugin = match self.find_plugin_of(by, wanted).await {
            Ok(plugin) => plugin,
            Err(error) => return error,
        };
        let name = &plugin.name;
        if let Some(quarantine) = &plugin.quarantine {
            let detail = format!("`{name}` is held back since {}: {}", quarantine.since, quarantine.reason);
            return PluginProblem::new(Code::PluginQuarantined, detail)
                .with_how(format!("plugbay logs {name} shows what happened; plugbay enable {name} lifts a crash loop"))
                .into();
        }
        if plugin.is_enabled() {
            match self.registry.installed(plugin.clone()).await.and_then(|installed| installed.standing(self.now())) {
                Ok(standing) => {
                    if let Some(problem) = permissions_problem(name, &standing) {
                        return problem.into();
                    }
                }
                Err(error) => return error.into(),
            }
            let detail = format!("`{name}` has not been started yet");
            return PluginProblem::new(Code::PluginRestarting, detail).retry_after(SOON).into();
        }
        PluginProblem::new(Code::PluginNotEnabled, format!("`{name}` is {}", plugin.status.as_str()))
            .with_how(format!("plugbay enable {name}"))
            .into()
    }
}

fn ended_problem(member: &Member, end: &SessionEnd) -> PluginProblem {
    let detail = format!("`{}` ended during the call: {}", member.name, end.text);
    let problem =
        PluginProblem { exit_code: end.exit_code, signal: end.signal, ..PluginProblem::new(end.cause.code(), detail) };
    if end.cause.code() == Code::PluginStopping { problem.retry_after(SOON) } else { problem }
}
