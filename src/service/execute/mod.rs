//! One call into a plugin. The path touches no database, takes no lock that plugins share, and copies the payload once.

mod admitted;
mod answer;
mod making;
mod waiting;

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use admitted::Admitted;
pub use answer::PluginAnswer;
use answer::lift;
pub use making::Event;
pub(super) use making::Making;
use making::{AskedBy, Patience};
use waiting::Waiting;

use super::approval::permissions_problem;
use super::fleet::{CallRecord, InFlightPlace, Member, Outcome, Verdict};
use super::{Caller, PluginProblem, Service, ServiceError};
use crate::domain::{CallId, Code, Origin, PluginRef, SessionId, Timestamp, escape};
use crate::protocol::{HygieneError, Payload, RemoteError};
use crate::session::{CallError, CallOutcome, Delivery, EndCause, NewCall, RunningCall, SessionEnd, StreamEvent};

/// The method that every plugin has, and nearly all calls are of.
const EXECUTE: &str = "execute";

/// Names that are the service's own business.
const LIFECYCLE: [&str; 6] = ["initialize", "cleanup", "health_check", "health", "configure", "shutdown"];

/// What the chat calls, with what somebody wrote there, and no caller.
const HANDLERS: [&str; 3] = ["on_message", "on_file_upload", "on_command"];

/// When a caller should come back where nothing better is known.
const SOON: Duration = Duration::from_secs(1);

/// A call to be made.
#[derive(Debug)]
pub struct ExecuteOrder<'a> {
    /// The method; `execute` when absent.
    pub method: Option<&'a str>,
    /// What it is given.
    pub context: Option<&'a RawValue>,
    /// How long the caller waits; the plugin's limit when absent.
    pub timeout: Option<Duration>,
    /// The caller's traceparent.
    pub trace: Option<&'a str>,
    /// Whether chunks are wanted as they come.
    pub delivery: Delivery,
}

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
    call: CallId,
    running: RunningCall,
    note: Note,
    timeout: Duration,
}

impl Executing {
    /// The call.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The next part of a stream; `None` when the answer is next.
    pub async fn next_event(&mut self) -> Option<StreamEvent> {
        self.running.next_event().await
    }

    /// The answer.
    pub async fn answer(self) -> Result<Execution, ServiceError> {
        let Self { call, running, mut note, timeout } = self;
        let answered = running.answer().await;
        let took = note.began.elapsed();
        match answered {
            Ok(outcome) => Ok(Execution { call, took, answer: note.read(outcome) }),
            Err(error) => Err(note.failed(error, timeout).of_call(call).into()),
        }
    }
}

/// Writes a call down when it is over, however that comes about.
#[derive(Debug)]
struct Note {
    service: Weak<Service>,
    member: Arc<Member>,
    call: CallId,
    method: Cow<'static, str>,
    began: Instant,
    started_at: Timestamp,
    outcome: Outcome,
    session: SessionId,
    admitted: Admitted,
    _in_flight: InFlightPlace,
}

impl Note {
    fn read(&mut self, outcome: CallOutcome) -> PluginAnswer {
        match outcome {
            CallOutcome::Result(raw) => {
                self.admitted.verdict = Verdict::Good;
                let mut answer = lift(raw);
                // What went wrong is shown and kept in many places; results are the plugin's own affair.
                let mask = |text: String| self.member.log.mask(&text);
                (answer.error, answer.message) = (answer.error.map(mask), answer.message.map(mask));
                self.outcome = if answer.success { Outcome::Ok } else { Outcome::Failed };
                answer
            }
            CallOutcome::Raised(RemoteError { message, data, .. }) => {
                self.outcome = Outcome::Raised;
                self.admitted.verdict = Verdict::Bad;
                let message = self.member.log.mask(&message);
                self.fail("raised", &message);
                if let Some(trace) = data.trace.filter(|trace| !trace.is_empty()) {
                    self.member.log.add("log", Some("ERROR".to_owned()), &trace, None);
                }
                PluginAnswer {
                    error: Some(message),
                    error_kind: data.kind.map(|kind| self.member.log.mask(&kind)),
                    ..PluginAnswer::default()
                }
            }
        }
    }

    fn failed(&mut self, error: CallError, timeout: Duration) -> PluginProblem {
        self.admitted.verdict = match &error {
            CallError::Timeout | CallError::TooMuch { .. } => Verdict::Bad,
            CallError::Ended(end) if end.cause == EndCause::Stopped => Verdict::None,
            CallError::Ended(_) => Verdict::Ended(self.session),
            CallError::NotReading | CallError::CallerTooSlow { .. } => Verdict::None,
        };
        let (name, method) = (&self.member.name, &self.method);
        let (outcome, problem) = match error {
            CallError::Timeout => {
                let detail = format!("`{name}` did not answer `{method}` within {} ms", timeout.as_millis());
                (Outcome::Timeout, PluginProblem::new(Code::PluginTimeout, detail))
            }
            CallError::Ended(end) => (Outcome::Ended, ended_problem(&self.member, &end)),
            CallError::NotReading => {
                let detail = format!("`{name}` does not read what it is sent");
                (Outcome::Refused, PluginProblem::new(Code::PluginBusy, detail).retry_after(SOON))
            }
            CallError::TooMuch { max_bytes } => {
                let detail = format!("the chunks of `{name}` are more than {max_bytes} bytes together");
                let how = "ask for a stream, or let the plugin answer with less".to_owned();
                (Outcome::Refused, PluginProblem::new(Code::PluginProtocol, detail).with_how(how))
            }
            CallError::CallerTooSlow { max_bytes } => {
                let detail = format!("more than {max_bytes} bytes of chunks waited for the caller");
                let how = "read the stream as fast as it comes".to_owned();
                (Outcome::Refused, PluginProblem::new(Code::PluginBusy, detail).with_how(how))
            }
        };
        self.outcome = outcome;
        if outcome == Outcome::Timeout {
            self.fail("timeout", &problem.detail);
        }
        problem
    }

    fn fail(&self, kind: &'static str, text: &str) {
        let now = self.service.upgrade().map_or(self.started_at, |service| service.now());
        self.member.record.failure(kind, now, text, None);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.member.running.fetch_sub(1, Ordering::Relaxed);
        self.member.record.call(CallRecord {
            call: self.call,
            method: std::mem::take(&mut self.method),
            started_at: self.started_at,
            duration: self.began.elapsed(),
            outcome: self.outcome,
        });
    }
}

impl Service {
    /// Sends a call to a plugin, as soon as the plugin is ready and has a place for it.
    pub async fn execute(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        order: ExecuteOrder<'_>,
    ) -> Result<Executing, ServiceError> {
        let context = match order.context {
            Some(raw) => Payload::new(raw).map_err(|error| Self::payload_problem("`context`", &error))?,
            None => Payload::of(&serde_json::json!({})),
        };
        let by = AskedBy::Caller(caller);
        self.make(Making {
            by,
            wanted,
            method: order.method.unwrap_or(EXECUTE),
            params: ("context", &context),
            patience: Patience::Exactly(order.timeout),
            trace: order.trace,
            delivery: order.delivery,
            origin: Origin::default(),
        })
        .await
    }

    /// The same, whoever asked for it.
    pub(super) async fn make(self: &Arc<Self>, making: Making<'_>) -> Result<Executing, ServiceError> {
        let Making { by, wanted, method, params, patience, trace, delivery, origin } = making;
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
        let (began, call) = (Instant::now(), CallId::generate());
        let mut waiting = Waiting::new(self, by, wanted, &member, began);
        // A plugin that takes no calls at all says why; only then it matters how earlier ones ended.
        waiting.until_up(patience.longest(began)).await?;
        let admitted = Admitted::new(&member)?;
        loop {
            let up = waiting.until_up(patience.longest(began)).await?;
            let timeout = patience.timeout(&member, began, up.timeout)?;
            if !up.session.ready().methods.iter().any(|offered| offered == method) {
                let offered = up.session.ready().methods.join(", ");
                let detail = format!("`{}` offers {offered}, not `{}`", member.name, escape(method));
                return Err(PluginProblem::new(Code::MethodNotOffered, detail).into());
            }
            let deadline = began + timeout;
            let Some(place) = waiting.place(&up, deadline).await? else { continue };
            let new = NewCall { id: call, method, params, deadline, origin, trace, delivery, place: Some(place) };
            match up.session.begin(new) {
                Ok(running) => {
                    member.running.fetch_add(1, Ordering::Relaxed);
                    let note = Note {
                        service: Arc::downgrade(self),
                        member: Arc::clone(&member),
                        call,
                        method: if method == EXECUTE { EXECUTE.into() } else { method.to_owned().into() },
                        began,
                        started_at: self.now(),
                        // Dropped without an answer, it was cancelled.
                        outcome: Outcome::Cancelled,
                        session: up.session.id(),
                        admitted,
                        _in_flight: in_flight,
                    };
                    return Ok(Executing { call, running, note, timeout });
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
                    return Err(problem.of_call(call).into());
                }
            }
        }
    }

    pub(super) fn payload_problem(what: &str, error: &HygieneError) -> ServiceError {
        PluginProblem::new(Code::PayloadInvalid, format!("{what}: {error}")).into()
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
