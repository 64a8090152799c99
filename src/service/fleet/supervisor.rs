//! Looks after one plugin that should run: starts it, starts it again when it ends, and gives up when that helps nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, info_span, warn};

use super::backoff::{Backoff, Ending, Verdict};
use super::fault::Fault;
use super::member::Orders;
use super::{EngineState, Member, Phase, Up};
use crate::domain::{Chain, PluginState, QuarantineReason, Refusal as _};
use crate::service::approval::permissions_problem;
use crate::service::{PluginProblem, Service, ServiceError};
use crate::session::{Condition, EndCause, LaunchError, Session, SessionEnd, Surroundings, launch};

/// Shortest time between two tries while the engine is away.
const ENGINE_RETRY: Duration = Duration::from_millis(250);

/// When a start is tried again that failed for what is around the plugin.
const SURROUNDINGS_RETRY: Duration = Duration::from_secs(5);

/// How long a session that does not react gets once another has taken its place.
const REPLACED_GRACE: Duration = Duration::from_secs(12);

/// What becomes of a first start that fails.
#[derive(Debug)]
pub(in crate::service) enum FirstStart {
    /// Somebody waits for it; unless the engine is away, nothing is tried again.
    Asked(oneshot::Sender<Result<(), ServiceError>>),
    /// It ran before: a failure counts as one more end.
    Resumed,
}

/// How a wait ended.
enum Waited {
    Over,
    Stopped,
}

struct Supervisor {
    service: Arc<Service>,
    member: Arc<Member>,
    stop: watch::Receiver<Option<Instant>>,
    backoff: Backoff,
    /// Sessions whose place another one has taken, until they have ended.
    replaced: Vec<Session>,
}

impl Service {
    /// Starts looking after a plugin. False when somebody does already, or the process stops.
    pub(in crate::service) fn supervise(self: &Arc<Self>, member: &Arc<Member>, first: FirstStart) -> bool {
        let Some(Orders { stop, done }) = member.take_orders() else { return false };
        // After the orders were taken: whoever stops the process either finds them or has said so before.
        if self.fleet.stopping.load(Ordering::SeqCst) {
            return false;
        }
        let (service, member) = (Arc::clone(self), Arc::clone(member));
        member.set(Phase::Starting(PluginState::Loading));
        // It outlives the request that it begins with.
        let span = info_span!(parent: None, "plugin", plugin.name = %member.name);
        span.in_scope(|| {
            self.shutdown.spawn("plugin.supervisor", |_| async move {
                let (backoff, replaced) = (Backoff::default(), Vec::new());
                let mut supervisor = Supervisor { service, member, stop, backoff, replaced };
                supervisor.run(first).await;
                supervisor.end_replaced().await;
                supervisor.member.drop_secrets();
                supervisor.member.set(Phase::Down);
                drop(done);
            });
        });
        true
    }
}

impl Supervisor {
    async fn run(&mut self, mut first: FirstStart) {
        loop {
            if self.stop.borrow().is_some() {
                return;
            }
            let (session, good_before) = match self.start().await {
                Ok(started) => started,
                Err(error) => {
                    let fault = Fault::of(&error);
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
            if !self.live(session, good_before).await {
                return;
            }
            self.member.record.restarted();
        }
    }

    /// Makes a session and puts it where calls find it.
    async fn start(&mut self) -> Result<(Session, u64), ServiceError> {
        self.member.set(Phase::Starting(PluginState::Loading));
        let session = self.make_session().await?;
        let good_before = self.serve(&session);
        Ok((session, good_before))
    }

    async fn make_session(&self) -> Result<Session, ServiceError> {
        let standing = self.service.refresh_grants(&self.member).await?;
        if let Some(problem) = permissions_problem(&self.member.name, &standing) {
            return Err(problem.into());
        }
        self.service.check_isolation(&self.member).await?;
        let order = self.service.launch_order(&self.member).await?;
        let opened = self.service.open_volume(&self.member, &order.spec).await;
        let data = opened.inspect_err(|error| self.note_no_volume(error))?;
        let fleet = &self.service.fleet;
        let around = Surroundings {
            engine: Arc::clone(&fleet.engine),
            log: Arc::clone(&self.member.log),
            host: self.service.host(&self.member),
            clock: Arc::clone(&self.service.clock),
            shutdown: self.service.shutdown.clone(),
            way_out: self.service.way_out(&self.member),
            data: Some(data),
        };
        let id = order.spec.session;
        fleet.announce(id);
        let member = &self.member;
        let on_state = |state| {
            // A session that replaces another is made while the plugin answers.
            if matches!(member.phase_now(), Phase::Starting(_)) {
                member.set(Phase::Starting(state));
            }
        };
        launch(order, around, &on_state).await.map_err(|error| {
            fleet.withdraw(id);
            self.note_failed_start(&error);
            PluginProblem::of_launch(&self.member.name, error).into()
        })
    }

    fn note_failed_start(&self, error: &LaunchError) {
        warn!(plugin.name = %self.member.name, error = %Chain(error), "`{}` did not start", self.member.name);
        if let LaunchError::Plugin(failure) = error {
            let text = format!("{}: {}", failure.reason, failure.text);
            self.member.record.failure("start-failed", self.service.now(), &text, failure.exit_code);
        }
    }

    fn note_no_volume(&self, error: &ServiceError) {
        warn!(plugin.name = %self.member.name, error = %Chain(error), "`{}` did not start", self.member.name);
        self.member.record.failure(error.code().as_str(), self.service.now(), &error.to_string(), None);
    }

    /// Lets calls find a session. Says how many good calls there were before its first.
    fn serve(&self, session: &Session) -> u64 {
        let good_before = self.member.record.good_calls();
        let limits = session.spec().limits;
        let places = usize::try_from(limits.max_concurrency).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        // That was another sandbox.
        self.member.set_paused(false);
        self.member.set(Phase::Up(Arc::new(Up {
            session: session.clone(),
            places: Arc::new(Semaphore::new(places)),
            timeout: Duration::from_secs(limits.timeout_seconds),
        })));
        good_before
    }

    /// Watches a session until it is over. False when nothing should follow.
    async fn live(&mut self, mut session: Session, mut good_before: u64) -> bool {
        let mut since = Moment::now();
        let mut condition = session.condition();
        loop {
            let news = tokio::select! {
                biased;
                until = stop_wished(&mut self.stop) => {
                    // What is frozen cannot end calls, nor clean up.
                    let until = if self.member.is_paused() { Instant::now() } else { until };
                    self.member.set(Phase::Stopping);
                    session.stop(until).await;
                    self.service.fleet.withdraw(session.id());
                    return false;
                }
                news = next_news(&mut condition) => news,
                () = self.member.renewal.notified() => {
                    if self.service.is_outdated(&self.member, &session) {
                        session = match self.renew(session).await {
                            Ok(fresh) => fresh,
                            Err(go_on) => return go_on,
                        };
                        condition = session.condition();
                        (since, good_before) = (Moment::now(), self.member.record.good_calls());
                    } else if matches!(self.member.phase_now(), Phase::Starting(_)) {
                        // What was taken away was given back before the session could end.
                        self.serve(&session);
                    }
                    continue;
                }
            };
            match news {
                Some(Condition::Unresponsive(text)) => {
                    self.note_end("unresponsive", &text, None);
                    // A fresh one first: the plugin answers all the time.
                    let fresh = match self.make_session().await {
                        Ok(fresh) => fresh,
                        Err(error) => {
                            session.stop(Instant::now() + REPLACED_GRACE).await;
                            self.service.fleet.withdraw(session.id());
                            // What is around it is looked at again by the next start.
                            return Fault::of(&error) != Fault::Plugin || self.failed_to_start().await;
                        }
                    };
                    good_before = self.serve(&fresh);
                    self.retire(std::mem::replace(&mut session, fresh));
                    condition = session.condition();
                    self.member.record.restarted();
                    since = Moment::now();
                }
                // At once: whoever asks now must not be sent to it.
                Some(Condition::Ending) => self.member.set(Phase::Starting(PluginState::Loading)),
                Some(Condition::Ended(end)) => {
                    self.member.set(Phase::Starting(PluginState::Loading));
                    self.service.fleet.withdraw(session.id());
                    let good = self.member.record.good_calls() > good_before;
                    return self.ended(&end, since.elapsed(), good).await;
                }
                Some(Condition::Running) | None => return true,
            }
        }
    }

    /// Replaces a session whose sandbox has something open that the plugin may not have any more, or lacks what it may.
    /// The old one takes no further call and answers those it has. `Err` tells whether something should follow.
    async fn renew(&mut self, old: Session) -> Result<Session, bool> {
        self.member.renew(|_| true);
        self.retire_when_idle(old);
        loop {
            self.member.set(Phase::Starting(PluginState::Loading));
            let fresh = match self.make_session().await {
                Ok(fresh) => fresh,
                // What is around it is looked at again by the next start.
                Err(error) => return Err(Fault::of(&error) != Fault::Plugin || self.failed_to_start().await),
            };
            if !self.service.is_outdated(&self.member, &fresh) {
                self.serve(&fresh);
                return Ok(fresh);
            }
            // Somebody decided once more while it started.
            self.retire(fresh);
        }
    }

    /// Lets a session answer the calls it has, as long as calls may take, and then ends it.
    fn retire_when_idle(&mut self, session: Session) {
        let longest = Duration::from_secs(session.spec().limits.timeout_seconds);
        self.remember(&session);
        let service = Arc::clone(&self.service);
        self.service.shutdown.spawn("session.retire", move |token| async move {
            token.run_until_cancelled(tokio::time::timeout(longest, session.idle())).await;
            session.stop(Instant::now() + REPLACED_GRACE).await;
            service.fleet.withdraw(session.id());
        });
    }

    /// Whoever stops the plugin waits for this session as well: it holds the plugin's volume.
    fn remember(&mut self, replaced: &Session) {
        self.replaced.retain(|other| other.ended().is_none());
        self.replaced.push(replaced.clone());
    }

    /// Nothing of a plugin that stops stays behind.
    async fn end_replaced(&mut self) {
        let until = self.stop.borrow().unwrap_or_else(|| Instant::now() + REPLACED_GRACE);
        let replaced = std::mem::take(&mut self.replaced);
        futures_util::future::join_all(replaced.iter().map(|session| session.stop(until))).await;
    }

    /// Ends a session that was replaced, beside everything else.
    fn retire(&mut self, session: Session) {
        self.remember(&session);
        let service = Arc::clone(&self.service);
        self.service.shutdown.spawn("session.retire", |_| async move {
            session.stop(Instant::now() + REPLACED_GRACE).await;
            service.fleet.withdraw(session.id());
        });
    }

    fn note_end(&self, kind: &'static str, text: &str, exit_code: Option<i64>) {
        warn!(plugin.name = %self.member.name, kind, "`{}` ended: {text}", self.member.name);
        self.member.record.failure(kind, self.service.now(), text, exit_code);
    }

    async fn ended(&mut self, end: &SessionEnd, ran: Duration, had_good_call: bool) -> bool {
        self.note_end(end.cause.as_str(), &end.text, end.exit_code);
        // 143 is the shim's answer to SIGTERM, as `docker stop` and a stopping engine send it.
        let killed = end.cause == EndCause::Crashed && (end.signal == Some(9) || end.exit_code == Some(143));
        let ending = if killed { Ending::Killed } else { Ending::Fault };
        self.follow(ending, ran, had_good_call).await
    }

    async fn failed_to_start(&mut self) -> bool {
        self.follow(Ending::Fault, Duration::ZERO, false).await
    }

    async fn follow(&mut self, ending: Ending, ran: Duration, had_good_call: bool) -> bool {
        match self.backoff.ended(ending, ran, had_good_call, Moment::now()) {
            Verdict::Wait(Duration::ZERO) => true,
            Verdict::Wait(wait) => self.pause(wait).await,
            Verdict::Quarantine => {
                self.member.set(Phase::Waiting(Instant::now()));
                let (service, name) = (Arc::clone(&self.service), self.member.name.clone());
                // Whoever stops the plugin meanwhile holds what this waits for.
                let settled = self.wait(async move {
                    if let Err(error) = service.quarantine(&name, QuarantineReason::CrashLoop).await {
                        warn!(plugin.name = %name, error = %Chain(&error), "A crash loop could not be recorded");
                    }
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
        let mut engine = self.service.fleet.engine_state.subscribe();
        let service = Arc::clone(&self.service);
        let waited = self.wait(async move {
            tokio::time::sleep(ENGINE_RETRY).await;
            service.probe_engine().await;
            // The sender lives in the service.
            engine.wait_for(|state| matches!(state, EngineState::Up(_))).await.ok();
        });
        matches!(waited.await, Waited::Over)
    }

    async fn wait(&mut self, what: impl Future<Output = ()>) -> Waited {
        tokio::select! {
            biased;
            _ = stop_wished(&mut self.stop) => Waited::Stopped,
            () = what => Waited::Over,
        }
    }
}

/// The next condition that asks for something.
async fn next_news(condition: &mut watch::Receiver<Condition>) -> Option<Condition> {
    loop {
        condition.changed().await.ok()?;
        let news = condition.borrow_and_update().clone();
        if !matches!(news, Condition::Running) {
            return Some(news);
        }
    }
}

/// Completes when the plugin is to stop, with the time by which it must have.
async fn stop_wished(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match stop.wait_for(Option::is_some).await.map(|wish| *wish) {
        Ok(Some(until)) => until,
        // The sender lives in the member.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}
