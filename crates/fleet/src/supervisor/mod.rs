//! Looks after one plugin that should run: starts it, starts it again when it ends, and gives up when that helps nothing.

mod life;
mod probation;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use plugbay_domain::PluginState;
use plugbay_session::{EndCause, Session, SessionEnd};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{info, info_span, warn};

use crate::authority::permissions_problem;
use crate::backoff::{Backoff, Ending, Verdict};
use crate::fault::Fault;
use crate::launches::Cause;
use crate::member::{Orders, stop_wished};
use crate::outcomes::OutcomeKind;
use crate::supervisor::life::{Life, Next, REPLACED_GRACE};
use crate::supervisor::probation::Watch;
use crate::{EngineState, Fleet, FleetError, Member, Phase, PluginProblem, StartError, authority, engine, start};

/// Shortest time between two tries while the engine is away.
const ENGINE_RETRY: Duration = Duration::from_millis(250);

/// When a start is tried again that failed for what is around the plugin.
const SURROUNDINGS_RETRY: Duration = Duration::from_secs(5);

/// What becomes of a first start that fails.
#[derive(Debug)]
pub enum FirstStart {
    /// Somebody waits for it; unless the engine is away, nothing is tried again.
    Asked(oneshot::Sender<Result<(), FleetError>>),
    /// It ran before: a failure counts as one more end.
    Resumed,
}

/// How a wait ended.
pub(crate) enum Waited {
    Over,
    Stopped,
}

pub(crate) struct Supervisor {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) member: Arc<Member>,
    pub(crate) stop: watch::Receiver<Option<Instant>>,
    pub(crate) backoff: Backoff,
    /// Why its next start begins.
    pub(crate) cause: Cause,
    /// There while a version that has taken over can go back.
    pub(crate) watch: Option<Watch>,
    /// Sessions whose place another one has taken, until they have ended.
    pub(crate) replaced: Vec<Session>,
}

/// Starts looking after a plugin. False when somebody does already, or the process stops.
pub fn supervise(fleet: &Arc<Fleet>, member: &Arc<Member>, first: FirstStart) -> bool {
    let Some(Orders { stop, done }) = member.take_orders() else { return false };
    // After the orders were taken: whoever stops the process either finds them or has said so before.
    if fleet.stopping.load(Ordering::SeqCst) {
        return false;
    }
    let (shutdown, fleet, member) = (&fleet.shutdown, Arc::clone(fleet), Arc::clone(member));
    member.set(Phase::Starting(PluginState::Loading));
    // It outlives the request that it begins with.
    let span = info_span!(parent: None, "plugin", plugin.name = %member.name);
    span.in_scope(|| {
        shutdown.spawn("plugin.supervisor", |_| async move {
            let (backoff, replaced) = (Backoff::default(), Vec::new());
            let cause = Cause::Resumed;
            let mut supervisor = Supervisor { fleet, member, stop, backoff, cause, watch: None, replaced };
            supervisor.run(first).await;
            supervisor.end_replaced().await;
            supervisor.member.drop_secrets();
            supervisor.member.set(Phase::Down);
            drop(done);
        });
    });
    true
}

impl Supervisor {
    async fn run(&mut self, mut first: FirstStart) {
        self.watch = probation::watch_left(&self.fleet, &self.member).await;
        loop {
            if self.stop.borrow().is_some() {
                return;
            }
            self.cause = if matches!(first, FirstStart::Asked(_)) { Cause::Asked } else { Cause::Resumed };
            let life = match self.start().await {
                Ok(life) => life,
                Err(error) => {
                    let fault = error.fault();
                    let error = error.into_service(&self.member);
                    let text = error.to_string();
                    if let FirstStart::Asked(waiting) = std::mem::replace(&mut first, FirstStart::Resumed) {
                        // Whoever asked may have gone.
                        waiting.send(Err(error)).ok();
                        if fault != Fault::EngineAway {
                            return;
                        }
                    }
                    let go_on = match fault {
                        Fault::EngineAway => self.await_engine().await,
                        Fault::Surroundings => self.pause(SURROUNDINGS_RETRY).await,
                        Fault::Plugin if self.watch.is_some() => {
                            !matches!(self.go_back(None, "start-failed", &text).await, Next::Stop)
                        }
                        Fault::Plugin => self.failed_to_start().await,
                    };
                    if !go_on {
                        return;
                    }
                    continue;
                }
            };
            if let FirstStart::Asked(waiting) = std::mem::replace(&mut first, FirstStart::Resumed) {
                waiting.send(Ok(())).ok();
            }
            if !self.live(life).await {
                return;
            }
            self.member.record.restarted();
        }
    }

    /// Makes a session and puts it where calls find it.
    async fn start(&mut self) -> Result<Life, StartError> {
        self.member.set(Phase::Starting(PluginState::Loading));
        let session = self.make_session().await?;
        Ok(self.serve(session))
    }

    pub(crate) async fn make_session(&self) -> Result<Session, StartError> {
        let turn = self.fleet.launches.turn_unless(self.cause, self.stop.clone()).await;
        let stopping = || StartError::Refused(PluginProblem::stopping(&self.member.name).into());
        turn.ok_or_else(stopping)?.hold(Box::pin(self.begin_session())).await
    }

    async fn begin_session(&self) -> Result<Session, StartError> {
        let member = &self.member;
        let standing = authority::refresh_grants(&self.fleet, member).await.map_err(StartError::Refused)?;
        if let Some(problem) = permissions_problem(&member.name, &standing) {
            return Err(StartError::Refused(problem.into()));
        }
        let subject = start::subject(&self.fleet, member).await.map_err(StartError::Refused)?;
        let on_state = |state| {
            // A session that replaces another is made while the plugin answers.
            if matches!(member.phase_now(), Phase::Starting(_)) {
                member.set(Phase::Starting(state));
            }
        };
        let started = start::start_session(&self.fleet, member, &subject, &on_state).await;
        started.inspect_err(|error| error.note(&self.fleet, member))
    }

    /// Nothing of a plugin that stops stays behind.
    async fn end_replaced(&mut self) {
        let until = self.stop.borrow().unwrap_or_else(|| Instant::now() + REPLACED_GRACE);
        self.end_watch();
        if let Some(successor) = self.member.succession.take() {
            self.replaced.push(successor.session);
        }
        let replaced = std::mem::take(&mut self.replaced);
        futures_util::future::join_all(replaced.iter().map(|session| session.stop(until))).await;
    }

    pub(crate) fn note_end(&self, kind: &'static str, text: &str, exit_code: Option<i64>) {
        warn!(plugin.name = %self.member.name, kind, "`{}` ended: {text}", self.member.name);
        self.member.record.failure(kind, self.fleet.now(), text, exit_code);
    }

    pub(crate) async fn ended(&mut self, end: &SessionEnd, ran: Duration, had_good_call: bool) -> bool {
        self.note_end(end.cause.as_str(), &end.text, end.exit_code);
        // 143 is the shim's answer to SIGTERM, as `docker stop` and a stopping engine send it.
        let killed = end.cause == EndCause::Crashed && (end.signal == Some(9) || end.exit_code == Some(143));
        let ending = if killed { Ending::Killed } else { Ending::Fault };
        self.follow(ending, ran, had_good_call).await
    }

    pub(crate) async fn failed_to_start(&mut self) -> bool {
        self.follow(Ending::Fault, Duration::ZERO, false).await
    }

    async fn follow(&mut self, ending: Ending, ran: Duration, had_good_call: bool) -> bool {
        match self.backoff.ended(ending, ran, had_good_call, Moment::now()) {
            Verdict::Wait(Duration::ZERO) => true,
            Verdict::Wait(wait) => self.pause(wait).await,
            Verdict::Quarantine => {
                // A call that came now would be told of a start that there will not be.
                self.member.set(Phase::GivenUp);
                let (fleet, member) = (Arc::clone(&self.fleet), Arc::clone(&self.member));
                // Whoever stops the plugin meanwhile holds what this waits for.
                let settled = self.wait(async move {
                    fleet.outcomes.tell(&member, OutcomeKind::CrashLoop).await;
                });
                settled.await;
                false
            }
        }
    }

    /// Lets some time pass before the next start. False when the plugin is to stop.
    async fn pause(&mut self, wait: Duration) -> bool {
        info!(plugin.name = %self.member.name, "`{}` is started again in {} s", self.member.name, wait.as_secs());
        let until = Instant::now() + wait;
        self.member.set(Phase::Waiting(until));
        matches!(self.wait(tokio::time::sleep_until(until)).await, Waited::Over)
    }

    /// Waits until the engine may be there again.
    async fn await_engine(&mut self) -> bool {
        self.backoff.forgive();
        self.member.set(Phase::EngineAway);
        let mut engine = self.fleet.engine_state.subscribe();
        let fleet = Arc::clone(&self.fleet);
        let waited = self.wait(async move {
            tokio::time::sleep(ENGINE_RETRY).await;
            engine::probe_engine(&fleet).await;
            // The sender lives in the service.
            engine.wait_for(|state| matches!(state, EngineState::Up(_))).await.ok();
        });
        matches!(waited.await, Waited::Over)
    }

    pub(crate) async fn wait(&mut self, what: impl Future<Output = ()>) -> Waited {
        tokio::select! {
            biased;
            _ = stop_wished(&mut self.stop) => Waited::Stopped,
            () = what => Waited::Over,
        }
    }
}
