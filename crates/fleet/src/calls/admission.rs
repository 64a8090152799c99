//! A call that was let in, until it is over.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use plugbay_domain::{CallId, Code, SessionId, Timestamp};
use plugbay_protocol::RemoteError;
use plugbay_session::{CallError, CallOutcome, EndCause};
use tokio::time::Instant;

use crate::breaker::{Pass, Verdict};
use crate::calls::answer::{PluginAnswer, lift};
use crate::calls::{EXECUTE, SOON, ended_problem};
use crate::in_flight::InFlightPlace;
use crate::record::Outcome;
use crate::{CallRecord, Fleet, FleetError, Member, PluginProblem};

/// Owns everything that a call holds beside its row in the session: its place among the calls of all plugins, what the
/// breaker will be told of it, and, once it was sent, the line in the plugin's record. All of it ends when this is dropped,
/// however that comes about.
#[derive(Debug)]
pub(crate) struct Admission {
    fleet: Weak<Fleet>,
    member: Arc<Member>,
    pub(crate) call: CallId,
    method: Cow<'static, str>,
    began: Instant,
    pass: Pass,
    verdict: Verdict,
    /// Whether an exception counts against the plugin.
    blames: bool,
    /// Whether it has as much time as it takes in what it is fed with.
    pub(crate) is_fed: bool,
    sent: Option<Sent>,
    /// Dropped without an answer, it was cancelled.
    outcome: Outcome,
    _in_flight: Option<InFlightPlace>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    session: SessionId,
    at: Timestamp,
}

impl Admission {
    /// Asks the breaker.
    pub(crate) fn new(
        fleet: &Arc<Fleet>,
        member: &Arc<Member>,
        (method, began, blames): (&str, Instant, bool),
        in_flight: Option<InFlightPlace>,
    ) -> Result<Self, FleetError> {
        let pass = member.admit().map_err(|wait| breaker_problem(member, wait))?;
        Ok(Self {
            fleet: Arc::downgrade(fleet),
            member: Arc::clone(member),
            call: CallId::generate(),
            method: if method == EXECUTE { EXECUTE.into() } else { method.to_owned().into() },
            began,
            pass,
            verdict: Verdict::None,
            blames,
            is_fed: false,
            sent: None,
            outcome: Outcome::Cancelled,
            _in_flight: in_flight,
        })
    }

    /// It is on its way to the plugin.
    pub(crate) fn send(&mut self, session: SessionId, at: Timestamp) {
        self.member.running.fetch_add(1, Ordering::Relaxed);
        self.sent = Some(Sent { session, at });
    }

    /// How long it has taken until now, with what it waited for before it was sent.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Reads the answer, and remembers what it says about the plugin.
    pub(crate) fn read(&mut self, outcome: CallOutcome) -> PluginAnswer {
        match outcome {
            CallOutcome::Result(raw) => {
                self.verdict = Verdict::Good;
                let mut answer = lift(raw);
                // What went wrong is shown and kept in many places; results are the plugin's own affair.
                let mask = |text: String| self.member.log.mask(&text);
                (answer.error, answer.message) = (answer.error.map(mask), answer.message.map(mask));
                self.outcome = if answer.success { Outcome::Ok } else { Outcome::Failed };
                answer
            }
            CallOutcome::Raised(RemoteError { message, data, .. }) => {
                self.outcome = Outcome::Raised;
                self.verdict = if self.blames { Verdict::Bad } else { Verdict::Good };
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

    /// What the caller is told of a call that ended without an answer.
    pub(crate) fn failed(&mut self, error: CallError, timeout: Duration) -> PluginProblem {
        self.verdict = match &error {
            CallError::Timeout | CallError::TooMuch { .. } => Verdict::Bad,
            CallError::Ended(end) if end.cause == EndCause::Stopped => Verdict::None,
            CallError::Ended(_) => self.sent.map_or(Verdict::None, |sent| Verdict::Ended(sent.session)),
            CallError::NotReading | CallError::CallerTooSlow { .. } => Verdict::None,
        };
        let (name, method) = (&self.member.name, &self.method);
        let (outcome, problem) = match error {
            CallError::Timeout => {
                let detail = if self.is_fed {
                    format!("`{name}` took nothing in for {} ms in `{method}`", timeout.as_millis())
                } else {
                    format!("`{name}` did not answer `{method}` within {} ms", timeout.as_millis())
                };
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

    /// The plugin and the service, where that is still there.
    pub(crate) fn parts(&self) -> (Arc<Member>, Option<Arc<Fleet>>, Instant) {
        (Arc::clone(&self.member), self.fleet.upgrade(), self.began)
    }

    /// What the plugin answered is not what it says that it answers.
    pub(crate) fn misfit(&mut self, text: &str) {
        self.verdict = Verdict::Bad;
        self.outcome = Outcome::Refused;
        self.fail("result-invalid", text);
    }

    fn fail(&self, kind: &'static str, text: &str) {
        // The service may be gone when the answer comes.
        let now = self.fleet.upgrade().map(|fleet| fleet.now()).or(self.sent.map(|sent| sent.at));
        if let Some(now) = now {
            self.member.record.failure(kind, now, text, None);
        }
    }
}

fn breaker_problem(member: &Member, wait: Duration) -> FleetError {
    let name = &member.name;
    let failures = member.breaker_view().failures;
    let detail = format!("`{name}` failed {failures} times in a row; it is tried again after a while");
    let how = format!(
        "wait as long as Retry-After says; plugbay logs {name} shows why it fails; \
         plugbay enable {name} lets calls through at once"
    );
    PluginProblem::new(Code::BreakerOpen, detail).with_how(how).retry_after(wait).into()
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.member.settle(self.pass, self.verdict);
        let Some(Sent { at, .. }) = self.sent else { return };
        self.member.running.fetch_sub(1, Ordering::Relaxed);
        self.member.record.call(CallRecord {
            call: self.call,
            method: std::mem::take(&mut self.method),
            started_at: at,
            duration: self.began.elapsed(),
            outcome: self.outcome,
        });
    }
}
