//! One plugin as this process knows it: what it is doing now, and what happened to it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use plugbay_config::BreakerConfig;
use plugbay_domain::{Clock, PluginConfig, PluginId, PluginName, PluginState, Timestamp};
use plugbay_egress::MostOut;
use plugbay_runtime::metrics::Counter;
use plugbay_session::{PluginLog, Session};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;

use crate::breaker::{Breaker, BreakerView, Pass, Verdict};
use crate::record::Record;
use crate::succession::Succession;
use crate::{Reach, Successor, Up};

/// A plugin changed its state.
#[derive(Clone, Debug)]
pub struct StateEvent {
    /// Which plugin.
    pub plugin: PluginName,
    /// What it was.
    pub from: PluginState,
    /// What it is.
    pub to: PluginState,
    /// Since when.
    pub at: Timestamp,
}

/// What a plugin is doing.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Nothing: it should not run.
    Down,
    /// It is being started.
    Starting(PluginState),
    /// It answers.
    Up(Arc<Up>),
    /// It could answer, but calls wait: another version is just taking over.
    Held(Arc<Up>),
    /// It ended and is started again at this time.
    Waiting(Instant),
    /// It ended too often. That is being written down, and then it is down.
    GivenUp,
    /// It would be started, but the engine is away.
    EngineAway,
    /// It is being stopped.
    Stopping,
}

/// The wish that a plugin stops, and its fulfilment.
#[derive(Debug)]
struct Control {
    stop: watch::Sender<Option<Instant>>,
    done: watch::Receiver<()>,
}

/// What a supervisor gets to hear.
#[derive(Debug)]
pub(crate) struct Orders {
    pub stop: watch::Receiver<Option<Instant>>,
    /// Dropped when the supervisor is done.
    pub done: watch::Sender<()>,
}

/// One plugin as this process knows it.
#[derive(Debug)]
pub struct Member {
    /// Its id.
    pub id: PluginId,
    /// Its name.
    pub name: PluginName,
    /// What it printed, and what was done to it.
    pub log: Arc<PluginLog>,
    /// How its calls ended.
    pub record: Record,
    breaker: Breaker,
    /// How often the breaker opened.
    pub(crate) breaker_opens: Counter,
    /// Calls under way, of those of all plugins.
    pub(crate) taken: AtomicUsize,
    /// Calls that wait for a place or for the plugin to start.
    pub queued: AtomicUsize,
    /// Calls the plugin works on.
    pub running: AtomicUsize,
    /// What its serving version may do to others.
    reach: ArcSwap<Reach>,
    /// The revision of the configuration that a session must have.
    config_revision: AtomicI64,
    /// Held while grants are read from the database and stored.
    pub refreshing: tokio::sync::Mutex<()>,
    /// Told when the sandbox has something open that the plugin may not have, or lacks something.
    pub renewal: Notify,
    /// Another version that has taken over.
    pub(crate) succession: Succession,
    paused: AtomicBool,
    phase: watch::Sender<Phase>,
    control: Mutex<Option<Control>>,
    clock: Arc<dyn Clock>,
    events: broadcast::Sender<StateEvent>,
}

impl Member {
    pub(crate) fn new(
        id: PluginId,
        name: PluginName,
        log: PluginLog,
        most: MostOut,
        breaker: BreakerConfig,
        clock: Arc<dyn Clock>,
        events: broadcast::Sender<StateEvent>,
    ) -> Self {
        let reach = ArcSwap::from_pointee(Reach::new(id, name.clone(), most));
        Self {
            id,
            name,
            reach,
            log: Arc::new(log),
            record: Record::default(),
            breaker: Breaker::new(breaker),
            breaker_opens: Counter::default(),
            taken: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            config_revision: AtomicI64::new(0),
            refreshing: tokio::sync::Mutex::default(),
            renewal: Notify::new(),
            succession: Succession::default(),
            paused: AtomicBool::new(false),
            phase: watch::channel(Phase::Down).0,
            control: Mutex::default(),
            clock,
            events,
        }
    }

    /// Lets a call through to it, or says how long to wait.
    pub(crate) fn admit(&self) -> Result<Pass, Duration> {
        self.breaker.admit(Instant::now())
    }

    /// Takes note of how an admitted call ended.
    pub(crate) fn settle(&self, pass: Pass, verdict: Verdict) {
        if self.breaker.settle(pass, verdict, self.clock.now(), Instant::now()) {
            self.breaker_opens.add_one();
            let failures = self.breaker_view().failures;
            self.log.note("WARNING", &format!("{failures} calls in a row failed; calls are refused for a while"));
            tracing::warn!(plugin.name = %self.name, failures, "`{}` only fails; its calls are refused", self.name);
        }
    }

    /// Lets calls through again. True if they were refused.
    pub fn reset_breaker(&self) -> bool {
        self.breaker.reset()
    }

    /// Whether calls are let through.
    pub fn breaker_view(&self) -> BreakerView {
        self.breaker.view(Instant::now())
    }

    /// What it is doing, now and later.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// What it is doing now.
    pub(crate) fn phase_now(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// The session that answers.
    pub fn session(&self) -> Option<Session> {
        match &*self.phase.borrow() {
            Phase::Up(up) | Phase::Held(up) => Some(up.session.clone()),
            _ => None,
        }
    }

    /// What its serving version may do to others, now.
    pub fn reach(&self) -> Arc<Reach> {
        self.reach.load_full()
    }

    /// From now on the version with this reach serves.
    pub(crate) fn set_reach(&self, reach: Arc<Reach>) {
        self.reach.store(reach);
    }

    /// Takes a configuration over for one version, before any part of it gets to see it.
    pub fn hold(&self, reach: &Reach, config: &PluginConfig, revision: i64) {
        self.log.hide(config);
        // A slow reader must not bring back what was replaced meanwhile.
        if self.config_revision.fetch_max(revision, Ordering::SeqCst) <= revision {
            reach.hold(config);
        }
    }

    /// The same of its secrets alone, under the lock of the plugin.
    pub(crate) fn hold_secrets(&self, reach: &Reach, config: &PluginConfig) {
        self.log.hide(config);
        reach.hold(config);
    }

    /// Keeps no secret of a plugin that does not run.
    pub fn drop_secrets(&self) {
        self.reach().drop_secrets();
    }

    /// The revision of the configuration that a session must have.
    pub fn config_revision(&self) -> i64 {
        self.config_revision.load(Ordering::SeqCst)
    }

    /// Whether a call would have to wait for its turn.
    pub(crate) fn takes_turns(&self) -> bool {
        match &*self.phase.borrow() {
            Phase::Up(up) => up.places.available_permits() == 0,
            Phase::Starting(_) | Phase::GivenUp => true,
            Phase::Down | Phase::Held(_) | Phase::Waiting(_) | Phase::EngineAway | Phase::Stopping => false,
        }
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.change(|current| *current = phase);
    }

    /// Tells whether the engine has frozen it.
    pub(crate) fn set_paused(&self, paused: bool) {
        self.change(|_| self.paused.store(paused, Ordering::Relaxed));
    }

    /// Whether the engine has frozen it, as far as was looked.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Phase)) {
        let mut states = None;
        self.phase.send_modify(|phase| {
            let from = self.state_of(phase);
            change(phase);
            states = Some((from, self.state_of(phase)));
        });
        if let Some((from, to)) = states.filter(|(from, to)| from != to) {
            tracing::info!(plugin.name = %self.name, from = %from, to = %to, "`{}` is {to}", self.name);
            let event = StateEvent { plugin: self.name.clone(), from, to, at: self.clock.now() };
            // Nobody listening is not a fault.
            self.events.send(event).ok();
        }
    }

    /// What is true of it now.
    pub fn state(&self) -> PluginState {
        self.state_of(&self.phase.borrow())
    }

    fn state_of(&self, phase: &Phase) -> PluginState {
        match phase {
            Phase::Down => PluginState::Unloaded,
            Phase::Starting(step) => *step,
            Phase::Up(_) | Phase::Held(_) if self.is_paused() => PluginState::Paused,
            Phase::Up(_) | Phase::Held(_) => PluginState::Active,
            Phase::Waiting(_) | Phase::GivenUp | Phase::EngineAway => PluginState::Error,
            Phase::Stopping => PluginState::Unloading,
        }
    }

    /// Sends no further call to a session whose sandbox is outdated, and asks the supervisor for a fresh one. Calls that
    /// wait for a place go on to that one.
    pub(crate) fn renew(&self, is_outdated: impl FnOnce(&Session) -> bool) {
        self.change(|phase| {
            if let Phase::Up(up) = phase
                && is_outdated(&up.session)
            {
                up.places.close();
                *phase = Phase::Starting(PluginState::Loading);
            }
        });
        // Also when nothing answers just now: a session may be coming up with what was true before.
        self.renewal.notify_one();
    }

    /// Lets calls wait, and gives what has answered them so far; `None` when nothing does.
    pub fn hold_calls(&self) -> Option<Arc<Up>> {
        let mut held = None;
        self.change(|phase| {
            if let Phase::Up(up) = phase {
                held = Some(Arc::clone(up));
                *phase = Phase::Held(Arc::clone(up));
            }
        });
        held
    }

    /// Lets calls go on to what has answered them before they were held.
    pub fn let_calls_go(&self) {
        self.change(|phase| {
            if let Phase::Held(up) = phase {
                *phase = Phase::Up(Arc::clone(up));
            }
        });
    }

    /// Lets another version answer from now on, and asks the supervisor to look after it.
    pub fn succeed(&self, successor: Successor) {
        self.set_reach(Arc::clone(&successor.reach));
        self.paused.store(false, Ordering::Relaxed);
        let up = Arc::new(Up::new(&successor.session));
        self.succession.announce(successor, || self.set(Phase::Up(up)));
    }

    /// Completes when no other version is just taking over.
    pub(crate) async fn until_not_held(&self) {
        // The sender lives in this value.
        self.phase().wait_for(|phase| !matches!(phase, Phase::Held(_))).await.ok();
    }

    /// Takes the right to supervise; `None` when somebody does already.
    pub(crate) fn take_orders(&self) -> Option<Orders> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        if control.as_ref().is_some_and(|control| control.done.has_changed().is_ok()) {
            return None;
        }
        let (stop, stops) = watch::channel(None);
        let (done, finished) = watch::channel(());
        *control = Some(Control { stop, done: finished });
        Some(Orders { stop: stops, done })
    }

    /// Whether somebody looks after it.
    pub fn is_supervised(&self) -> bool {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.as_ref().is_some_and(|control| control.done.has_changed().is_ok())
    }

    /// Stops it by this time and waits for that. Nothing happens when it does not run.
    pub async fn stop(&self, until: Instant) {
        let done = {
            let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(control) = control.as_ref() else { return };
            control.stop.send_if_modified(|wish| {
                let earlier = wish.is_none_or(|wished| wished > until);
                if earlier {
                    *wish = Some(until);
                }
                earlier
            });
            control.done.clone()
        };
        let mut done = done;
        // The error is what is waited for: the supervisor has gone.
        while done.changed().await.is_ok() {}
    }
}

/// Completes when the plugin is to stop, with the time by which it must have.
pub(crate) async fn stop_wished(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match stop.wait_for(Option::is_some).await.map(|wish| *wish) {
        Ok(Some(until)) => until,
        // The sender lives in the member.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}
