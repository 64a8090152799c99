//! The first while of a version that has taken over. The version before stands by, frozen, with what it kept; it answers
//! again as soon as the new one proves bad.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout};
use tracing::{info, warn};

use super::backoff::Backoff;
use super::life::{Life, Next};
use super::supervisor::{Supervisor, Waited};
use super::{EngineState, Member, Phase, Reach, Record, Up};
use crate::domain::{Chain, DataId, PluginState, UpdateState};
use crate::service::{Service, ServiceError};
use crate::session::{Condition, Session};

/// Fewer calls tell nothing about how often a version fails.
const LEAST_CALLS: u64 = 5;

/// How long it is waited for the reason why a version ended: its calls wait, too.
const REASON: Duration = Duration::from_millis(50);

/// How often it is looked at how calls end.
const TICK: Duration = Duration::from_millis(100);

/// A session of another version, which answers already.
#[derive(Debug)]
pub(in crate::service) struct Successor {
    /// Its session.
    pub(super) session: Session,
    /// What it may do.
    pub(super) reach: Arc<Reach>,
    /// What the version before may do.
    before: Arc<Reach>,
    /// How long it is watched.
    watched: Duration,
    /// Calls of the versions before.
    calls_before: Calls,
}

/// The place of a successor until the supervisor looks after it.
#[derive(Debug, Default)]
pub(super) struct Succession {
    successor: Mutex<Option<Successor>>,
    announced: Notify,
}

impl Succession {
    /// Announces a successor, who answers once `switch` is done.
    pub(super) fn announce(&self, successor: Successor, switch: impl FnOnce()) {
        *self.place() = Some(successor);
        switch();
        self.announced.notify_one();
    }

    /// Completes when another version has taken over.
    pub(super) async fn announced(&self) {
        self.announced.notified().await;
    }

    /// Whether another version has taken over that the supervisor does not know of yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.place().is_some()
    }

    /// The version that has taken over, once.
    pub(super) fn take(&self) -> Option<Successor> {
        self.place().take()
    }

    fn place(&self) -> MutexGuard<'_, Option<Successor>> {
        self.successor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Successor {
    pub(in crate::service) fn new(session: Session, reach: Arc<Reach>, member: &Member, watched: Duration) -> Self {
        Self { session, reach, before: member.reach(), watched, calls_before: Calls::of(&member.record) }
    }
}

/// A version that has taken over and can still go back.
#[derive(Debug)]
pub(super) struct Watch {
    until: Instant,
    calls_before: Calls,
    pub(super) standby: Option<Standby>,
}

/// The version before.
#[derive(Debug)]
pub(super) struct Standby {
    pub(super) session: Session,
    pub(super) reach: Arc<Reach>,
}

/// How calls ended.
#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    good: u64,
    bad: u64,
}

impl Calls {
    fn of(record: &Record) -> Self {
        Self { good: record.good_calls(), bad: record.bad_calls() }
    }

    /// Why this is too bad, if it is.
    fn judge(self, max_error_rate: f64) -> Option<String> {
        let all = self.good + self.bad;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more")]
        let is_too_bad = all >= LEAST_CALLS && self.bad as f64 > max_error_rate * all as f64;
        is_too_bad.then(|| format!("{} of its first {all} calls failed", self.bad))
    }
}

/// What came of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// Nothing is wrong so far, and the time is over.
    Kept,
    /// Too many calls fail; the text says how many.
    TooBad(String),
}

impl Watch {
    fn begin(lasts: Duration, calls_before: Calls, standby: Option<Standby>) -> Self {
        Self { until: Instant::now() + lasts, calls_before, standby }
    }

    /// Completes when something has to be done.
    pub(super) async fn over(&self, record: &Record, max_error_rate: f64) -> Watched {
        loop {
            let now = Calls::of(record);
            let since = Calls { good: now.good - self.calls_before.good, bad: now.bad - self.calls_before.bad };
            if let Some(text) = since.judge(max_error_rate) {
                return Watched::TooBad(text);
            }
            if Instant::now() >= self.until {
                return Watched::Kept;
            }
            tokio::time::sleep_until(self.until.min(Instant::now() + TICK)).await;
        }
    }
}

/// Completes when something has to be done about a watch; never without one.
pub(super) async fn over(watch: Option<&Watch>, record: &Record, max_error_rate: f64) -> Watched {
    match watch {
        Some(watch) => watch.over(record, max_error_rate).await,
        None => std::future::pending().await,
    }
}

impl Service {
    /// The watch that a process before has begun.
    pub(super) async fn watch_left(&self, member: &Member) -> Option<Watch> {
        let update = self.last_update(member.id).await.ok().flatten()?;
        let now = self.now();
        let is_watched = update.state_at(now) == UpdateState::Watched;
        is_watched.then(|| Watch::begin(update.watched_until.since(now), Calls::of(&member.record), None))
    }

    /// Freezes a session whose place another version has taken.
    async fn rest(&self, session: &Session) -> bool {
        session.set_resting(true);
        let paused = self.fleet.engine.pause(&session.sandbox().id).await;
        if let Err(error) = &paused {
            warn!(error = %Chain(error), "The version before cannot stand by");
        }
        paused.is_ok()
    }

    async fn wake(&self, session: &Session) -> bool {
        let resumed = self.fleet.engine.resume(&session.sandbox().id).await;
        session.set_resting(false);
        if let Err(error) = &resumed {
            warn!(error = %Chain(error), "The version before cannot go on where it was");
        }
        resumed.is_ok() && session.ended().is_none()
    }
}

impl Supervisor {
    /// Looks after a version that has taken over. The one before stands by as long as it can come back.
    pub(super) async fn adopt(&mut self, old: Session, successor: Successor) -> Life {
        self.end_watch();
        let life = Life::new(successor.session, &self.member);
        if successor.watched.is_zero() {
            self.retire_when_idle(old);
            return life;
        }
        let stands_by = old.ended().is_none() && self.service.rest(&old).await;
        let standby = stands_by.then(|| Standby { session: old.clone(), reach: successor.before });
        if !stands_by {
            self.retire_when_idle(old);
        }
        self.watch = Some(Watch::begin(successor.watched, successor.calls_before, standby));
        self.backoff = Backoff::default();
        life
    }

    /// The version that serves has proved itself.
    pub(super) async fn keep(&mut self) {
        info!(plugin.name = %self.member.name, "`{}` keeps its new version", self.member.name);
        self.end_watch();
        let (service, member) = (Arc::clone(&self.service), Arc::clone(&self.member));
        let noted = self.wait(async move {
            if let Err(error) = service.keep_update(&member).await {
                warn!(plugin.name = %member.name, error = %Chain(&error), "It could not be written down");
            }
        });
        noted.await;
    }

    /// Ends the watch, and with it whoever stands by.
    pub(super) fn end_watch(&mut self) {
        let Some(Standby { session, reach }) = self.watch.take().and_then(|watch| watch.standby) else { return };
        reach.drop_secrets();
        self.remember(&session);
        let service = Arc::clone(&self.service);
        self.service.shutdown.spawn("session.standby", |_| async move {
            // It is frozen, and has nothing to clean up: what it kept is the past.
            session.stop(Instant::now()).await;
            service.fleet.withdraw(session.id());
        });
    }

    /// Goes back because of what became of the session of a watched version.
    pub(super) async fn went_wrong(&mut self, life: Life, condition: Condition) -> Next {
        let mut told = life.session.condition();
        let (reason, text) = match condition {
            Condition::Unresponsive(text) => ("unresponsive", text),
            Condition::Running | Condition::Ending | Condition::Ended(_) => {
                // Whoever asks now must not be sent to it.
                self.member.set(self.phase_of_standby());
                let ended = told.wait_for(|condition| matches!(condition, Condition::Ended(_)));
                let ended = timeout(REASON, ended).await.ok().and_then(Result::ok).map(|found| found.clone());
                match ended {
                    Some(Condition::Ended(end)) => (end.cause.as_str(), end.text.clone()),
                    _ => ("crashed", "it ended".to_owned()),
                }
            }
        };
        self.note_end(reason, &text, None);
        if matches!(*self.service.fleet.engine_state.borrow(), EngineState::Away { .. }) {
            // It went with the engine, which says nothing about it.
            self.end_watch();
            self.service.fleet.withdraw(life.session.id());
            self.member.set(Phase::Starting(PluginState::Loading));
            return Next::Start;
        }
        self.go_back(Some(life), reason, &text).await
    }

    /// What calls wait for while the version before comes back.
    fn phase_of_standby(&self) -> Phase {
        let standby = self.watch.as_ref().and_then(|watch| watch.standby.as_ref());
        match standby.filter(|standby| standby.session.ended().is_none()) {
            Some(standby) => Phase::Held(Arc::new(Up::new(&standby.session))),
            None => Phase::Starting(PluginState::Loading),
        }
    }

    /// Lets the version before serve again, with what it kept.
    pub(super) async fn go_back(&mut self, failed: Option<Life>, reason: &'static str, text: &str) -> Next {
        let held = self.phase_of_standby();
        self.member.set(held.clone());
        let mut undone: Result<Option<DataId>, ServiceError> = Ok(None);
        let (service, member) = (Arc::clone(&self.service), Arc::clone(&self.member));
        // Whoever stops the plugin meanwhile holds what this waits for.
        let waited = self.wait(async { undone = service.undo_update(&member, reason, text).await }).await;
        if let Err(error) = &undone {
            warn!(plugin.name = %member.name, error = %Chain(error), "`{}` cannot go back to the version before", member.name);
        }
        let undone = undone.ok().flatten().filter(|_| matches!(waited, Waited::Over));
        let standby = self.watch.as_mut().and_then(|watch| watch.standby.take());
        self.watch = None;
        let Some(data) = undone else {
            if let Some(standby) = standby {
                self.retire_when_idle(standby.session);
            }
            return match failed.filter(|life| life.session.ended().is_none()) {
                Some(life) => Next::Live(self.serve(life.session)),
                None => Next::Start,
            };
        };
        self.retire_failed(failed.map(|life| life.session), data);
        self.member.reset_breaker();
        let Some(Standby { session, reach }) = standby else { return Next::Start };
        let Phase::Held(up) = held else { return Next::Start };
        self.member.set_reach(reach);
        // Before it is awake: it must not use what it may not have any more.
        let is_fit = self.service.refresh_grants(&self.member).await.is_ok_and(|standing| standing.is_complete())
            && !self.service.is_open_wrongly(&self.member, &session);
        let is_back = is_fit && self.service.wake(&session).await;
        if !is_back {
            self.retire_when_idle(session);
            return Next::Start;
        }
        self.member.set_paused(false);
        self.member.set(Phase::Up(up));
        // Something may have been decided or configured while it stood by.
        self.member.renewal.notify_one();
        Next::Live(Life::new(session, &self.member))
    }

    /// Ends a version that was taken back, and removes what it kept.
    fn retire_failed(&mut self, session: Option<Session>, data: DataId) {
        if let Some(session) = &session {
            self.remember(session);
        }
        let service = Arc::clone(&self.service);
        self.service.shutdown.spawn("session.failed", move |_| async move {
            if let Some(session) = session {
                session.stop(Instant::now()).await;
                service.fleet.withdraw(session.id());
            }
            service.remove_data(data).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_calls_tell_nothing_and_the_rate_itself_is_allowed() {
        for (good, bad, is_too_bad) in
            [(0, 4, false), (0, 5, true), (5, 5, false), (5, 6, true), (1_000, 900, false), (0, 0, false)]
        {
            assert_eq!(Calls { good, bad }.judge(0.5).is_some(), is_too_bad, "{good} {bad}");
        }
        assert!(Calls { good: 0, bad: 100 }.judge(1.0).is_none());
        assert!(Calls { good: 100, bad: 1 }.judge(0.0).is_some());
    }
}
