//! One running instance of a plugin, from its first byte to its removal.
//!
//! ```text
//! actor     owns life and death: health, stopping, how it ended, removing the sandbox. Takes no part in calls
//! ├─ reader takes what the plugin sends and completes calls directly
//! ├─ writer sends what the socket did not take at once
//! └─ output what the plugin prints, from log.sock to the plugin's log
//! ```
//!
//! A call is a row in a table: the caller inserts it, writes the request itself, and the reader hands it the answer.
//! Whatever breaks the protocol ends the session; nothing is repaired. Tasks end with the session, not with the process:
//! whoever stops the service stops its sessions first.

mod actor;
mod answered;
mod calls;
mod chunks;
mod configure;
mod examine;
mod ended;
mod feed;
pub mod host;
mod instance_dir;
mod launch;
mod life_hooks;
mod outbound;
mod output;
mod pace;
mod pending;
mod plugin_log;
mod quota;
mod reader;
mod requests;
mod running;
mod start_failure;
mod surroundings;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;

pub use answered::{CallError, CallOutcome, Delivery};
pub use chunks::StreamEvent;
pub use ended::{EndCause, SessionEnd};
pub use examine::Unfit;
pub use host::relay::{RelayAnswer, RelayBody, RelayError, RelayRequest};
pub use instance_dir::remove_left_over_dirs;
pub use launch::{LaunchOrder, SessionLimits, launch};
pub use plugin_log::{LogLine, PluginLog};
pub use running::RunningCall;
pub use start_failure::{LaunchError, StartFailure};
pub use surroundings::Surroundings;

use plugbay_domain::{CallId, Origin, SessionId, Timestamp, Tools};
use plugbay_protocol::{CallTime, CancelReason, Invoke, Outgoing, Payload, Ready};
use plugbay_sandbox::{RunningSandbox, SandboxSpec};

/// How a session is.
#[derive(Clone, Debug)]
pub enum Condition {
    /// It answers.
    Running,
    /// It does not react and should be replaced; the text says to what.
    Unresponsive(String),
    /// It takes no calls any more; why is being found out.
    Ending,
    /// It is over.
    Ended(Arc<SessionEnd>),
}

/// What a plugin said about its health.
#[derive(Clone, Debug)]
pub struct HealthReport {
    /// When it answered.
    pub at: Timestamp,
    /// What it answered.
    pub health: Map<String, Value>,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub enum Time {
    /// Until then, when its caller waits no more.
    Until(Instant),
    /// As long as its caller waits for its parts.
    Open,
    /// As long as it takes in what it is fed with; this long may pass without that.
    Feed(Duration),
}

impl Time {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Until(deadline) => Some(deadline),
            Self::Open | Self::Feed(_) => None,
        }
    }

    /// As the plugin is told.
    fn told(self) -> CallTime {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Until(deadline) => {
                CallTime::Deadline(milliseconds(deadline.saturating_duration_since(Instant::now())))
            }
            Self::Open => CallTime::Open,
            Self::Feed(idle) => CallTime::Feed(milliseconds(idle)),
        }
    }
}

/// A call to be made.
#[derive(Debug)]
pub struct NewCall<'a> {
    /// Its id.
    pub id: CallId,
    /// The method.
    pub method: &'a str,
    /// Name and value of its one parameter; all of the parameters when the name is empty.
    pub params: (&'a str, &'a Payload),
    /// How long it may take.
    pub time: Time,
    /// Where it comes from.
    pub origin: Origin,
    /// The caller's traceparent.
    pub trace: Option<&'a str>,
    /// Whether chunks are wanted as they come.
    pub delivery: Delivery,
    /// Its place among the calls that may run at once.
    pub place: Option<OwnedSemaphorePermit>,
}

/// A running instance of a plugin. Cheap to clone; the last clone does not end it, [`Session::stop`] does.
#[derive(Clone, Debug)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: SandboxSpec,
    sandbox: RunningSandbox,
    report: Value,
    ready: Ready,
    tools: Tools,
    host: host::Host,
    started_at: Timestamp,
    outbound: Arc<outbound::Outbound>,
    calls: Arc<calls::Calls>,
    health: Mutex<Option<HealthReport>>,
    /// The revision of the configuration that the plugin has.
    config_revision: AtomicI64,
    /// Frozen by the service: it cannot answer, and nobody expects it to.
    rests: AtomicBool,
    condition: watch::Sender<Condition>,
    /// True once the sandbox is gone.
    removed: watch::Sender<bool>,
    stop: mpsc::Sender<Stop>,
}

/// A wish that the session ends.
#[derive(Clone, Copy, Debug)]
struct Stop {
    until: Instant,
}

impl Session {
    /// Its id.
    pub fn id(&self) -> SessionId {
        self.0.spec.session
    }

    /// What it runs in.
    pub fn spec(&self) -> &SandboxSpec {
        &self.0.spec
    }

    /// The engine's side of it.
    pub fn sandbox(&self) -> &RunningSandbox {
        &self.0.sandbox
    }

    /// What the shim saw inside when it started.
    pub fn report(&self) -> &Value {
        &self.0.report
    }

    /// What the plugin offers.
    pub fn ready(&self) -> &Ready {
        &self.0.ready
    }

    /// Tools of its version, of which it offers those that [`Tools::offered`] gives for its methods.
    pub fn tools(&self) -> &Tools {
        &self.0.tools
    }

    /// When it became ready.
    pub fn started_at(&self) -> Timestamp {
        self.0.started_at
    }

    /// What it last said about its health.
    pub fn health(&self) -> Option<HealthReport> {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it is, now and later; what it is now counts as news.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        let mut condition = self.0.condition.subscribe();
        condition.mark_changed();
        condition
    }

    /// Whether its sandbox is gone, too, which is some time after it ended.
    pub fn is_removed(&self) -> bool {
        *self.0.removed.borrow()
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Arc<SessionEnd>> {
        match &*self.0.condition.borrow() {
            Condition::Ended(end) => Some(Arc::clone(end)),
            Condition::Running | Condition::Unresponsive(_) | Condition::Ending => None,
        }
    }

    /// Answers that came after their caller had gone.
    pub fn late_answers(&self) -> u64 {
        self.0.calls.late_answers()
    }

    /// Sends a call to the plugin.
    pub fn begin(&self, call: NewCall<'_>) -> Result<RunningCall, CallError> {
        let NewCall { id, method, params, time, origin, trace, delivery, place } = call;
        let waiting = self.0.calls.insert(id, delivery, place, time, origin)?;
        let stream = delivery == Delivery::Stream;
        let invoke = Invoke { method, params, call: id, time: time.told(), trace, stream };
        let frame = Outgoing::invoke(waiting.id, &invoke);
        if self.0.outbound.post(frame).is_err() {
            self.0.calls.withdraw(waiting.id);
            return Err(self.ended().map_or(CallError::NotReading, CallError::Ended));
        }
        Ok(RunningCall::begin(Arc::clone(&self.0), id, waiting, time.deadline()))
    }

    /// Makes a request that the plugin wants to be made, where the plugin may go itself, and hands on its answer. Dropped,
    /// also before the answer has begun, it closes the connection.
    pub async fn relay(&self, request: RelayRequest) -> Result<RelayAnswer, RelayError> {
        host::relay::relay(&self.0.host, request).await
    }

    /// Tells that the engine has frozen it, or lets it go on: what rests is asked for nothing.
    pub fn set_resting(&self, rests: bool) {
        self.0.rests.store(rests, Ordering::SeqCst);
    }

    /// Completes when the plugin works on no call.
    pub async fn idle(&self) {
        self.0.calls.idle().await;
    }

    /// Whether a caller waits for a call of the plugin that goes on as long as its parts come.
    pub fn has_streams(&self) -> bool {
        self.0.calls.has_streams()
    }

    /// Completes when no caller waits for a call of the plugin that goes on as long as its parts come.
    pub async fn without_streams(&self) {
        self.0.calls.without_streams().await;
    }

    /// Lets running calls end, asks the plugin to clean up, and removes the sandbox: all of it by `until`, whatever the
    /// plugin does. Returns when the sandbox is gone or the engine could not remove it.
    pub async fn stop(&self, until: Instant) {
        // What is frozen can neither end calls nor clean up.
        let until = if self.0.rests.load(Ordering::SeqCst) { Instant::now() } else { until };
        let mut removed = self.0.removed.subscribe();
        // A full channel means that it is being stopped already.
        self.0.stop.try_send(Stop { until }).ok();
        // The engine's own deadline for a removal is shorter; nobody waits for a session that cannot be ended.
        tokio::time::timeout_at(until + REMOVAL_GRACE, removed.wait_for(|removed| *removed)).await.ok();
    }
}

impl Inner {
    fn cancel(&self, call: CallId, reason: CancelReason) {
        // A plugin that does not read is noticed by the actor.
        self.outbound.send(Outgoing::cancel(call, reason)).ok();
    }
}

/// Longest time from the end of a session to the removal of its sandbox.
const REMOVAL_GRACE: Duration = Duration::from_secs(40);

/// Longest time that running calls get when a session is stopped.
const CALLS_GRACE: Duration = Duration::from_secs(10);

/// Longest time for the plugin's own cleaning up.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
