//! Watches a plugin that answers until it is over, and keeps it answering: what does not react is replaced, and so is
//! what has something open that the plugin may not have any more.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use plugbay_domain::PluginState;
use plugbay_session::{Condition, Session};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::fault::Fault;
use crate::launches::Cause;
use crate::member::stop_wished;
use crate::supervisor::Supervisor;
use crate::supervisor::probation::{Watched, over};
use crate::{Member, Phase, Up, authority};

/// How long a session that does not react gets once another has taken its place.
pub(crate) const REPLACED_GRACE: Duration = Duration::from_secs(12);

/// A session that answers calls.
pub(crate) struct Life {
    pub(crate) session: Session,
    condition: watch::Receiver<Condition>,
    since: Moment,
    /// Good calls before its first.
    good_before: u64,
}

/// What a supervisor does next.
pub(crate) enum Next {
    /// Watches this session.
    Live(Life),
    /// Starts the plugin again.
    Start,
    /// Nothing more.
    Stop,
}

impl Next {
    /// Starts the plugin again, or does nothing more.
    pub(crate) fn start_if(goes_on: bool) -> Self {
        if goes_on { Self::Start } else { Self::Stop }
    }
}

/// What happened while a session answered.
enum News {
    Stop(Instant),
    Succeeded,
    Condition(Option<Condition>),
    Watched(Watched),
    Renewal,
}

impl Life {
    pub(crate) fn new(session: Session, member: &Member) -> Self {
        let condition = session.condition();
        Self { session, condition, since: Moment::now(), good_before: member.record.good_calls() }
    }

    /// The next condition that asks for something.
    async fn next_condition(&mut self) -> Option<Condition> {
        loop {
            self.condition.changed().await.ok()?;
            let news = self.condition.borrow_and_update().clone();
            if !matches!(news, Condition::Running) {
                return Some(news);
            }
        }
    }
}

impl Supervisor {
    /// Lets calls find a session.
    pub(crate) fn serve(&self, session: Session) -> Life {
        let life = Life::new(session, &self.member);
        // That was another sandbox.
        self.member.set_paused(false);
        self.member.set(Phase::Up(Arc::new(Up::new(&life.session))));
        life
    }

    /// Watches sessions, one after the other. False when nothing should follow.
    pub(crate) async fn live(&mut self, mut life: Life) -> bool {
        loop {
            life = match self.next(life).await {
                Next::Live(life) => life,
                Next::Start => return true,
                Next::Stop => return false,
            };
        }
    }

    async fn next(&mut self, mut life: Life) -> Next {
        let max_error_rate = self.fleet.config.update.max_error_rate;
        let news = tokio::select! {
            biased;
            () = self.member.succession.announced() => News::Succeeded,
            until = stop_wished(&mut self.stop) => News::Stop(until),
            news = life.next_condition() => News::Condition(news),
            watched = over(self.watch.as_ref(), &self.member.record, max_error_rate) => News::Watched(watched),
            () = self.member.renewal.notified() => News::Renewal,
        };
        match news {
            News::Succeeded => match self.member.succession.take() {
                Some(successor) => Next::Live(self.adopt(life.session, successor).await),
                None => Next::Live(life),
            },
            News::Stop(until) => {
                // What is frozen cannot end calls, nor clean up.
                let until = if self.member.is_paused() { Instant::now() } else { until };
                self.member.set(Phase::Stopping);
                life.session.stop(until).await;
                self.fleet.withdraw(life.session.id());
                Next::Stop
            }
            News::Watched(Watched::Kept) => {
                self.keep().await;
                Next::Live(life)
            }
            News::Watched(Watched::TooBad(text)) => self.go_back(Some(life), "error-rate", &text).await,
            // Another version is just taking over, which decides what other news are worth.
            News::Condition(_) | News::Renewal if !self.is_left_alone().await => Next::Live(life),
            News::Renewal if authority::is_outdated(&self.fleet, &self.member, &life.session) => {
                self.renew(life.session).await
            }
            News::Renewal => {
                if matches!(self.member.phase_now(), Phase::Starting(_)) {
                    // What was taken away was given back before the session could end.
                    life = self.serve(life.session);
                }
                Next::Live(life)
            }
            News::Condition(None | Some(Condition::Running)) => Next::Start,
            News::Condition(Some(condition)) => self.worsened(life, condition).await,
        }
    }

    async fn worsened(&mut self, life: Life, condition: Condition) -> Next {
        if self.watch.is_some() {
            return self.went_wrong(life, condition).await;
        }
        match condition {
            Condition::Unresponsive(text) => {
                self.note_end("unresponsive", &text, None);
                self.replace(life.session).await
            }
            // At once: whoever asks now must not be sent to it.
            Condition::Running | Condition::Ending => {
                self.member.set(Phase::Starting(PluginState::Loading));
                Next::Live(life)
            }
            Condition::Ended(end) => {
                self.member.set(Phase::Starting(PluginState::Loading));
                self.fleet.withdraw(life.session.id());
                // Its sandbox is still being removed.
                self.remember(&life.session);
                let good = self.member.record.good_calls() > life.good_before;
                Next::start_if(self.ended(&end, life.since.elapsed(), good).await)
            }
        }
    }

    /// Puts a fresh session in the place of one that does not react. The fresh one first: the plugin answers all the time.
    async fn replace(&mut self, session: Session) -> Next {
        let fresh = match self.make_session().await {
            Ok(fresh) => fresh,
            Err(error) => {
                session.stop(Instant::now() + REPLACED_GRACE).await;
                self.fleet.withdraw(session.id());
                // What is around it is looked at again by the next start.
                return Next::start_if(error.fault() != Fault::Plugin || self.failed_to_start().await);
            }
        };
        let life = self.serve(fresh);
        self.retire(session);
        self.member.record.restarted();
        Next::Live(life)
    }

    /// Replaces a session whose sandbox has something open that the plugin may not have any more, or lacks what it may.
    /// The old one takes no further call and answers those it has.
    async fn renew(&mut self, old: Session) -> Next {
        self.member.renew(|_| true);
        self.cause = Cause::Asked;
        self.retire_when_idle(old);
        loop {
            self.member.set(Phase::Starting(PluginState::Loading));
            let fresh = match self.make_session().await {
                Ok(fresh) => fresh,
                // What is around it is looked at again by the next start.
                Err(error) => {
                    return Next::start_if(error.fault() != Fault::Plugin || self.failed_to_start().await);
                }
            };
            if !authority::is_outdated(&self.fleet, &self.member, &fresh) {
                return Next::Live(self.serve(fresh));
            }
            // Somebody decided once more while it started.
            self.retire(fresh);
        }
    }

    /// Lets a session answer the calls it has, as long as calls may take, and its streams as long as the operator says, and
    /// then ends it.
    pub(crate) fn retire_when_idle(&mut self, session: Session) {
        let longest = Duration::from_secs(session.spec().limits.timeout_seconds);
        self.remember(&session);
        let (fleet, drain) = (Arc::clone(&self.fleet), self.fleet.config.chat.drain);
        self.fleet.shutdown.spawn("session.retire", move |token| async move {
            let ended = async {
                if session.has_streams() {
                    tokio::time::timeout(drain, session.without_streams()).await.ok();
                }
                tokio::time::timeout(longest, session.idle()).await.ok();
            };
            token.run_until_cancelled(ended).await;
            session.stop(Instant::now() + REPLACED_GRACE).await;
            fleet.withdraw(session.id());
        });
    }

    /// Whoever stops the plugin waits for this session as well: it holds a volume of the plugin.
    pub(crate) fn remember(&mut self, replaced: &Session) {
        self.replaced.retain(|other| !other.is_removed());
        self.replaced.push(replaced.clone());
    }

    /// Ends a session that was replaced, beside everything else.
    fn retire(&mut self, session: Session) {
        self.remember(&session);
        let fleet = Arc::clone(&self.fleet);
        self.fleet.shutdown.spawn("session.retire", |_| async move {
            session.stop(Instant::now() + REPLACED_GRACE).await;
            fleet.withdraw(session.id());
        });
    }

    /// Waits while another version is taking over. False when it has, or the plugin is to stop.
    async fn is_left_alone(&mut self) -> bool {
        let member = Arc::clone(&self.member);
        tokio::select! {
            biased;
            _ = stop_wished(&mut self.stop) => false,
            () = member.until_not_held() => !member.succession.is_waiting(),
        }
    }
}
