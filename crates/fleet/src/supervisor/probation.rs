//! The first while of a version that has taken over. The version before stands by, frozen, with what it kept; it answers
//! again as soon as the new one proves bad.

use std::sync::Arc;

use plugbay_domain::{Chain, DataId, LastUpdate, PluginId, PluginRef, PluginState, UpdateState};
use plugbay_session::{Condition, Session};
use plugbay_store as store;
use tokio::time::{Duration, Instant, timeout};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::outcomes::OutcomeKind;
use crate::record::Record;
use crate::succession::{Calls, Successor};
use crate::supervisor::life::{Life, Next};
use crate::supervisor::{Supervisor, Waited};
use crate::{EngineState, Fleet, FleetError, Member, Phase, Reach, Up, authority, volumes};

/// How long it is waited for the reason why a version ended: its calls wait, too.
const REASON: Duration = Duration::from_millis(50);

/// How often it is looked at how calls end.
const TICK: Duration = Duration::from_millis(100);

/// A version that has taken over and can still go back.
#[derive(Debug)]
pub(crate) struct Watch {
    until: Instant,
    calls_before: Calls,
    pub(crate) standby: Option<Standby>,
}

/// The version before.
#[derive(Debug)]
pub(crate) struct Standby {
    pub(crate) session: Session,
    pub(crate) reach: Arc<Reach>,
}

/// What came of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
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
    pub(crate) async fn over(&self, record: &Record, max_error_rate: f64) -> Watched {
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
pub(crate) async fn over(watch: Option<&Watch>, record: &Record, max_error_rate: f64) -> Watched {
    match watch {
        Some(watch) => watch.over(record, max_error_rate).await,
        None => std::future::pending().await,
    }
}

/// The watch that a process before has begun.
pub(crate) async fn watch_left(fleet: &Fleet, member: &Member) -> Option<Watch> {
    let update = last_update(fleet, member.id).await.ok().flatten()?;
    let now = fleet.now();
    let is_watched = update.state_at(now) == UpdateState::Watched;
    is_watched.then(|| Watch::begin(update.watched_until.since(now), Calls::of(&member.record), None))
}

/// Freezes a session whose place another version has taken.
async fn rest(fleet: &Fleet, session: &Session) -> bool {
    session.set_resting(true);
    let paused = fleet.engine.pause(&session.sandbox().id).await;
    if let Err(error) = &paused {
        warn!(error = %Chain(error), "The version before cannot stand by");
    }
    paused.is_ok()
}

async fn wake(fleet: &Fleet, session: &Session) -> bool {
    let resumed = fleet.engine.resume(&session.sandbox().id).await;
    session.set_resting(false);
    if let Err(error) = &resumed {
        warn!(error = %Chain(error), "The version before cannot go on where it was");
    }
    resumed.is_ok() && session.ended().is_none()
}

impl Supervisor {
    /// Looks after a version that has taken over. The one before stands by as long as it can come back.
    pub(crate) async fn adopt(&mut self, old: Session, successor: Successor) -> Life {
        self.end_watch();
        let life = Life::new(successor.session, &self.member);
        if successor.watched.is_zero() {
            self.retire_when_idle(old);
            return life;
        }
        // Answers under way go on in it, so it cannot be frozen: going back is a start then.
        let stands_by = old.ended().is_none() && !old.has_streams() && rest(&self.fleet, &old).await;
        let standby = stands_by.then(|| Standby { session: old.clone(), reach: successor.before });
        if !stands_by {
            self.retire_when_idle(old);
        }
        self.watch = Some(Watch::begin(successor.watched, successor.calls_before, standby));
        self.backoff = Backoff::default();
        life
    }

    /// The version that serves has proved itself.
    pub(crate) async fn keep(&mut self) {
        info!(plugin.name = %self.member.name, "`{}` keeps its new version", self.member.name);
        self.end_watch();
        let (fleet, member) = (Arc::clone(&self.fleet), Arc::clone(&self.member));
        let noted = self.wait(async move {
            fleet.outcomes.tell(&member, OutcomeKind::Proved).await;
        });
        noted.await;
    }

    /// Ends the watch, and with it whoever stands by.
    pub(crate) fn end_watch(&mut self) {
        let Some(Standby { session, reach }) = self.watch.take().and_then(|watch| watch.standby) else { return };
        reach.drop_secrets();
        self.remember(&session);
        let fleet = Arc::clone(&self.fleet);
        self.fleet.shutdown.spawn("session.standby", |_| async move {
            // It is frozen, and has nothing to clean up: what it kept is the past.
            session.stop(Instant::now()).await;
            fleet.withdraw(session.id());
        });
    }

    /// Goes back because of what became of the session of a watched version.
    pub(crate) async fn went_wrong(&mut self, life: Life, condition: Condition) -> Next {
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
        if matches!(*self.fleet.engine_state.borrow(), EngineState::Away { .. }) {
            // It went with the engine, which says nothing about it.
            self.end_watch();
            self.fleet.withdraw(life.session.id());
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
    pub(crate) async fn go_back(&mut self, failed: Option<Life>, reason: &'static str, text: &str) -> Next {
        let held = self.phase_of_standby();
        self.member.set(held.clone());
        let mut undone: Option<DataId> = None;
        let (fleet, member) = (Arc::clone(&self.fleet), Arc::clone(&self.member));
        // Whoever stops the plugin meanwhile holds what this waits for.
        let text = text.to_owned();
        let waited = self.wait(async {
            let told = fleet.outcomes.tell(&member, |answer| OutcomeKind::Bad { reason, text, answer });
            undone = told.await.flatten();
        });
        let undone = if matches!(waited.await, Waited::Over) { undone } else { None };
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
        let is_fit =
            authority::refresh_grants(&self.fleet, &self.member).await.is_ok_and(|standing| standing.is_complete())
                && !authority::is_open_wrongly(&self.fleet, &self.member, &session);
        let is_back = is_fit && wake(&self.fleet, &session).await;
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
        let fleet = Arc::clone(&self.fleet);
        self.fleet.shutdown.spawn("session.failed", move |_| async move {
            if let Some(session) = session {
                session.stop(Instant::now()).await;
                fleet.withdraw(session.id());
            }
            volumes::remove_data(&fleet, data).await;
        });
    }
}

/// What became of the last update of a plugin.
pub(crate) async fn last_update(fleet: &Fleet, plugin: PluginId) -> Result<Option<LastUpdate>, FleetError> {
    let plugin = store::plugins::find(&mut *fleet.store.reader().await?, &PluginRef::Id(plugin)).await?;
    Ok(plugin.and_then(|plugin| plugin.last_update.clone()))
}
