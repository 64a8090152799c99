//! Keeps calls from a plugin that only fails: after some failures in a row it is left alone for a while, then one call
//! may try whether it works again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plugbay_config::BreakerConfig;
use plugbay_domain::{SessionId, Timestamp};
use tokio::time::Instant;

/// How long others wait while one call tries.
const TRYING: Duration = Duration::from_secs(1);

/// What a call says about the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answered.
    Good,
    /// It failed this call.
    Bad,
    /// Its session ended under this call, and perhaps under others: that is one failure.
    Ended(SessionId),
    /// Nothing: the call was given up, or never reached it.
    None,
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// None.
    Open,
    /// One, whose end decides.
    HalfOpen,
}

impl BreakerState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct BreakerView {
    /// Whether calls are let through.
    pub state: BreakerState,
    /// Failures since the last good call.
    pub failures: u32,
    /// When calls were stopped.
    pub opened_at: Option<Timestamp>,
}

/// A call that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Like all others.
    Ordinary,
    /// To try whether the plugin works again.
    Trial,
}

#[derive(Debug, Default)]
struct Inner {
    failures: u32,
    last_ended: Option<SessionId>,
    opened: Option<Opened>,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    at: Timestamp,
    until: Instant,
    is_tried: bool,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    /// Whether there is anything to look at; a plugin that works costs its calls no lock.
    is_marked: AtomicBool,
    inner: Mutex<Inner>,
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self { config, is_marked: AtomicBool::new(false), inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call through, or says how long to wait. What it says about the plugin is to be told with `settle`.
    pub(crate) fn admit(&self, now: Instant) -> Result<Pass, Duration> {
        if !self.is_marked.load(Ordering::Acquire) {
            return Ok(Pass::Ordinary);
        }
        let mut inner = self.inner();
        match &mut inner.opened {
            None => Ok(Pass::Ordinary),
            Some(Opened { is_tried: true, .. }) => Err(TRYING),
            Some(Opened { until, .. }) if now < *until => Err(*until - now),
            Some(opened) => {
                opened.is_tried = true;
                Ok(Pass::Trial)
            }
        }
    }

    /// Takes note of how a call ended. True if calls are stopped from now on.
    pub(crate) fn settle(&self, pass: Pass, verdict: Verdict, at: Timestamp, now: Instant) -> bool {
        if pass == Pass::Ordinary && verdict == Verdict::Good && !self.is_marked.load(Ordering::Acquire) {
            return false;
        }
        let mut inner = self.inner();
        match verdict {
            // A call from before says nothing about what was decided since.
            Verdict::Good if pass == Pass::Ordinary && inner.opened.is_some() => {}
            Verdict::Good => {
                *inner = Inner::default();
                self.is_marked.store(false, Ordering::Release);
            }
            Verdict::None => {
                if let Some(opened) = inner.opened.as_mut().filter(|_| pass == Pass::Trial) {
                    opened.is_tried = false;
                }
            }
            Verdict::Bad | Verdict::Ended(_) => return self.fail(&mut inner, pass, verdict, at, now),
        }
        false
    }

    fn fail(&self, inner: &mut Inner, pass: Pass, verdict: Verdict, at: Timestamp, now: Instant) -> bool {
        if self.config.failures == 0 {
            return false;
        }
        self.is_marked.store(true, Ordering::Release);
        let is_known = matches!(verdict, Verdict::Ended(session) if inner.last_ended.replace(session) == Some(session));
        inner.failures = inner.failures.saturating_add(u32::from(!is_known));
        let is_due = match inner.opened {
            None => inner.failures >= self.config.failures,
            Some(_) => pass == Pass::Trial,
        };
        if is_due {
            inner.opened = Some(Opened { at, until: now + self.config.open, is_tried: false });
        }
        is_due
    }

    /// Lets calls through again. True if they were stopped.
    pub(crate) fn reset(&self) -> bool {
        let mut inner = self.inner();
        let was_open = inner.opened.is_some();
        *inner = Inner::default();
        self.is_marked.store(false, Ordering::Release);
        was_open
    }

    pub(crate) fn view(&self, now: Instant) -> BreakerView {
        let inner = self.inner();
        let state = match inner.opened {
            None => BreakerState::Closed,
            Some(opened) if opened.is_tried || now >= opened.until => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        };
        BreakerView { state, failures: inner.failures, opened_at: inner.opened.map(|opened| opened.at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_mins(1);

    struct Bench {
        breaker: Breaker,
        now: Instant,
    }

    impl Bench {
        fn new(failures: u32) -> Self {
            Self { breaker: Breaker::new(BreakerConfig { failures, open: OPEN }), now: Instant::now() }
        }

        fn call(&self, verdict: Verdict) -> bool {
            let pass = self.breaker.admit(self.now).expect("calls are let through");
            self.settle(pass, verdict)
        }

        fn settle(&self, pass: Pass, verdict: Verdict) -> bool {
            self.breaker.settle(pass, verdict, Timestamp::from_millis(1_800_000_000_000).unwrap(), self.now)
        }

        fn state(&self) -> BreakerState {
            self.breaker.view(self.now).state
        }
    }

    #[test]
    fn failures_in_a_row_stop_calls_and_one_good_call_lets_them_through() {
        let mut bench = Bench::new(3);
        for verdict in [Verdict::Bad, Verdict::Bad, Verdict::Good, Verdict::Bad, Verdict::None, Verdict::Bad] {
            assert!(!bench.call(verdict));
        }
        assert!(bench.call(Verdict::Bad));
        assert_eq!(bench.breaker.admit(bench.now), Err(OPEN));
        assert_eq!((bench.state(), bench.breaker.view(bench.now).failures), (BreakerState::Open, 3));
        bench.now += OPEN;
        assert_eq!(bench.state(), BreakerState::HalfOpen);
        let trial = bench.breaker.admit(bench.now).unwrap();
        assert_eq!((trial, bench.breaker.admit(bench.now)), (Pass::Trial, Err(TRYING)));
        assert!(bench.settle(trial, Verdict::Bad), "it still fails");
        assert_eq!(bench.breaker.admit(bench.now), Err(OPEN));
        bench.now += OPEN;
        let trial = bench.breaker.admit(bench.now).unwrap();
        bench.settle(trial, Verdict::None);
        let trial = bench.breaker.admit(bench.now).unwrap();
        assert_eq!(trial, Pass::Trial, "a trial that was given up is tried again");
        bench.settle(trial, Verdict::Good);
        assert_eq!((bench.state(), bench.breaker.view(bench.now).failures), (BreakerState::Closed, 0));
    }

    #[test]
    fn one_end_of_a_session_is_one_failure_however_many_calls_it_had() {
        let bench = Bench::new(2);
        let (first, second) = (SessionId::generate(), SessionId::generate());
        for _ in 0..10 {
            assert!(!bench.call(Verdict::Ended(first)));
        }
        assert!(bench.call(Verdict::Ended(second)));
    }

    #[test]
    fn calls_from_before_do_not_decide_and_zero_never_stops() {
        let bench = Bench::new(1);
        let early = bench.breaker.admit(bench.now).unwrap();
        assert!(bench.call(Verdict::Bad));
        bench.settle(early, Verdict::Good);
        assert!(!bench.settle(early, Verdict::Bad), "it is stopped already");
        assert_eq!(bench.state(), BreakerState::Open);
        assert!(bench.breaker.reset() && !bench.breaker.reset());
        assert_eq!(bench.breaker.admit(bench.now), Ok(Pass::Ordinary));
        let never = Bench::new(0);
        for _ in 0..100 {
            assert!(!never.call(Verdict::Bad));
        }
    }
}
