//! One call into a plugin. The path touches no database, takes no lock that plugins share, and copies the payload once.

mod admission;
mod answer;
mod request;
mod tools;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use admission::Admission;
use plugbay_domain::{CallId, Code, PluginRef, Tool, escape, is_for_callers};
use plugbay_session::{CallError, NewCall, RunningCall, SessionEnd, StreamEvent, Time};
use request::{AskedBy, Deadline};
use tokio::time::Instant;
use waiting::Waiting;

use crate::authority::permissions_problem;
use crate::{Fleet, FleetError, Member, PluginProblem};

pub use crate::calls::answer::PluginAnswer;
pub use crate::calls::request::CallRequest;
pub use crate::calls::waiting::check_room;

/// The method that every plugin has, and nearly all calls are of.
const EXECUTE: &str = "execute";

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
    /// The tool that is called, where what it answers is checked. Parts of a stream are not.
    checked: Option<Arc<Tool>>,
}

impl Executing {
    /// The call.
    pub fn call(&self) -> CallId {
        self.admission.call
    }

    /// The next part of a stream; `None` when the answer is next.
    pub async fn next_event(&mut self) -> Option<StreamEvent> {
        let event = self.running.next_event().await;
        if matches!(event, Some(StreamEvent::Chunk { .. })) {
            self.checked = None;
        }
        event
    }

    /// The answer.
    pub async fn answer(mut self) -> Result<Execution, FleetError> {
        let execution = self.last().await?;
        if let Some(tool) = self.checked.filter(|_| execution.answer.success) {
            tools::check_result(&mut self.admission, &tool, &execution.answer, self.timeout).await?;
        }
        Ok(execution)
    }

    /// The answer of a call that is no tool's. What waits for it may be dropped, and wait again, until it is there.
    pub async fn last(&mut self) -> Result<Execution, FleetError> {
        let answered = self.running.answer().await;
        let (call, took) = (self.admission.call, self.admission.elapsed());
        match answered {
            Ok(outcome) => Ok(Execution { call, took, answer: self.admission.read(outcome) }),
            Err(error) => Err(self.admission.failed(error, self.timeout).of_call(call).into()),
        }
    }

    /// Feeds it with the next part, which is JSON, and gives that its number. Nothing when the plugin has to take in first
    /// what it has: [`Self::room`] completes then.
    pub fn feed(&mut self, part: &str) -> Option<u64> {
        self.running.feed(part)
    }

    /// Completes when the plugin may have taken in some of what it was fed with.
    pub fn room(&self) -> impl Future<Output = ()> + Send + use<> {
        self.running.room()
    }

    /// Nothing more is fed to it.
    pub fn end_feed(&mut self) {
        self.running.end_feed();
    }
}

/// Sends a call to a plugin, as soon as the plugin is ready and has a place for it.
pub async fn call(fleet: &Arc<Fleet>, request: CallRequest<'_>) -> Result<Executing, FleetError> {
    let CallRequest { by, wanted, method, params: (parameter, payload), deadline, origin, trace, delivery, blames } =
        request;
    let reference = PluginRef::parse(wanted);
    let member = reference.as_ref().and_then(|reference| fleet.find(reference));
    let Some(member) = member.filter(|member| by.may_call(&member.name)) else {
        return Err(why_not_running(fleet, by, wanted).await);
    };
    if !is_for_callers(method) && !by.may_call_handler(method) {
        let detail = format!("`{}` is not a method for callers", escape(method));
        return Err(PluginProblem::new(Code::MethodNotOffered, detail).into());
    }
    // Streams have places of their own: they last, and would take those of all others.
    let in_flight = if deadline.is_stream() { None } else { Some(fleet.in_flight.enter(&member)) };
    let in_flight = in_flight.transpose().map_err(|no_place| waiting::no_place(fleet, &member, no_place))?;
    let began = Instant::now();
    let mut waiting = Waiting::new(fleet, by, wanted, &member, began);
    // A plugin that takes no calls at all says why; only then it matters how earlier ones ended.
    waiting.until_up(deadline.longest(began)).await?;
    let mut admission = Admission::new(fleet, &member, (method, began, blames), in_flight)?;
    admission.is_fed = matches!(deadline, Deadline::Fed(_));
    loop {
        let up = waiting.until_up(deadline.longest(began)).await?;
        let timeout = deadline.timeout(&member, began, up.timeout)?;
        tools::check_reach(by, &member, &up, method)?;
        if !up.session.ready().methods.iter().any(|offered| offered == method) {
            let offered = up.session.ready().methods.join(", ");
            let detail = format!("`{}` offers {offered}, not `{}`", member.name, escape(method));
            return Err(PluginProblem::new(Code::MethodNotOffered, detail).into());
        }
        let (time, deadline) = (deadline.time(began, timeout), began + timeout);
        let tool = tools::find(by, &up, method);
        if let Some(tool) = &tool {
            tools::check_arguments(fleet, &member, tool, (parameter, &payload), deadline).await?;
        }
        let place = if matches!(time, Time::Until(_)) {
            waiting.place(&up, deadline).await?
        } else {
            waiting::stream_place(&member, &up)?
        };
        let Some(place) = place else { continue };
        let (id, params) = (admission.call, (parameter, &payload));
        let new = NewCall { id, method, params, time, origin, trace, delivery, place: Some(place) };
        match up.session.begin(new) {
            Ok(running) => {
                admission.send(up.session.id(), fleet.now());
                let checked = tool.filter(|tool| tool.output.is_some());
                return Ok(Executing { running, admission, timeout, checked });
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
pub(crate) async fn why_not_running(fleet: &Fleet, by: AskedBy<'_>, wanted: &str) -> FleetError {
    let plugin = match request::find_plugin_of(fleet, by, wanted).await {
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
        match fleet.registry.installed(plugin.clone()).await.and_then(|installed| installed.standing(fleet.now())) {
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

fn ended_problem(member: &Member, end: &SessionEnd) -> PluginProblem {
    let detail = format!("`{}` ended during the call: {}", member.name, end.text);
    let problem =
        PluginProblem { exit_code: end.exit_code, signal: end.signal, ..PluginProblem::new(end.cause.code(), detail) };
    if end.cause.code() == Code::PluginStopping { problem.retry_after(SOON) } else { problem }
}
