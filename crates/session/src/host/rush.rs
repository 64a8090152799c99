//! While a plugin starts or ends, requests of the others come at a pace. Plugins that ask without end take the processors
//! by the work that the service does for them, which no limit of their sandboxes counts. Operators wait for starts and
//! ends, so for that time each other plugin has a burst of requests and then one every few milliseconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long one start or end slows others.
const LONGEST: Duration = Duration::from_secs(5);

/// Between two requests of a plugin that has used its burst up.
const GAP: Duration = Duration::from_millis(4);

/// Requests that pass at once: more than an ordinary call makes.
const BURST: u32 = 32;

/// The starts and ends of the whole service. One per process.
#[derive(Clone, Debug)]
pub struct Rush(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    /// When each of them stops slowing other plugins, in milliseconds since `began`.
    ends: Mutex<Vec<u64>>,
    /// The last of these; each request reads it.
    until: AtomicU64,
}

/// One plugin in it.
#[derive(Debug)]
pub(super) struct Turns {
    rush: Rush,
    /// It starts or ends itself, and waits for no turn.
    is_hurried: Arc<AtomicBool>,
    /// When the next request would pass if there had been no burst.
    next: Mutex<Instant>,
}

/// A start or an end, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hurried {
    rush: Rush,
    own: Arc<AtomicBool>,
    end: u64,
}

impl Default for Rush {
    fn default() -> Self {
        Self(Arc::new(Shared { began: Instant::now(), ends: Mutex::default(), until: AtomicU64::new(0) }))
    }
}

impl Rush {
    fn is_on(&self, now: Instant) -> bool {
        self.milliseconds(now) < self.0.until.load(Ordering::Relaxed)
    }

    /// Changes the ends. One of a start that hangs stays, and does not make those of others longer.
    fn change(&self, change: impl FnOnce(&mut Vec<u64>)) {
        let mut ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut ends);
        self.0.until.store(ends.iter().copied().max().unwrap_or_default(), Ordering::Relaxed);
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.0.began).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Turns {
    pub(super) fn new(rush: Rush) -> Self {
        Self { rush, is_hurried: Arc::default(), next: Mutex::new(Instant::now()) }
    }

    /// The plugin starts or ends: it waits for no turn, and others do.
    pub(super) fn hurry(&self) -> Hurried {
        self.hurry_at(Instant::now())
    }

    fn hurry_at(&self, now: Instant) -> Hurried {
        let end = self.rush.milliseconds(now + LONGEST);
        self.is_hurried.store(true, Ordering::Relaxed);
        self.rush.change(|ends| ends.push(end));
        Hurried { rush: self.rush.clone(), own: Arc::clone(&self.is_hurried), end }
    }

    /// When a request that came now may be worked on; `None` for at once.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if !self.rush.is_on(now) || self.is_hurried.load(Ordering::Relaxed) {
            return None;
        }
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(now);
        *next = turn + GAP;
        turn.checked_sub(GAP * BURST).filter(|at| *at > now)
    }
}

impl Drop for Hurried {
    fn drop(&mut self) {
        self.own.store(false, Ordering::Relaxed);
        self.rush.change(|ends| {
            if let Some(place) = ends.iter().position(|end| *end == self.end) {
                ends.swap_remove(place);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long each of so many requests waits that come at once.
    fn waits(turns: &Turns, now: Instant, requests: u32) -> Vec<Duration> {
        let wait = |_| turns.next(now).map_or(Duration::ZERO, |at| at - now);
        (0..requests).map(wait).collect()
    }

    #[test]
    fn others_have_a_burst_and_then_a_pace_until_the_last_hurry_is_over() {
        let rush = Rush::default();
        let (starting, ending, busy) = (Turns::new(rush.clone()), Turns::new(rush.clone()), Turns::new(rush));
        let now = Instant::now();
        assert_eq!(waits(&busy, now, 1_000), [Duration::ZERO; 1_000]);
        let (first, second) = (starting.hurry(), ending.hurry());
        let now = Instant::now();
        let paced = waits(&busy, now, BURST + 3);
        assert_eq!(paced[..=BURST as usize], [Duration::ZERO; BURST as usize + 1]);
        assert_eq!(paced[BURST as usize + 1..], [GAP, 2 * GAP]);
        assert_eq!(waits(&starting, now, 1_000), [Duration::ZERO; 1_000], "the start itself waits for nothing");
        drop(first);
        assert!(busy.next(now).is_some());
        assert_eq!(waits(&starting, now, 1), [Duration::ZERO]);
        drop(second);
        assert_eq!(busy.next(now), None);
    }

    #[test]
    fn a_start_that_does_not_end_slows_others_for_a_while_alone() {
        let rush = Rush::default();
        let (starting, busy) = (Turns::new(rush.clone()), Turns::new(rush));
        let _endless = starting.hurry();
        let now = Instant::now();
        waits(&busy, now, 1_000);
        assert!(busy.next(now).is_some());
        assert_eq!(busy.next(now + LONGEST + GAP), None);
    }

    #[test]
    fn a_start_that_hangs_makes_no_other_start_slow_others_for_longer() {
        let rush = Rush::default();
        let (hanging, quick, busy) = (Turns::new(rush.clone()), Turns::new(rush.clone()), Turns::new(rush));
        let now = Instant::now();
        let _endless = hanging.hurry_at(now);
        let later = now + LONGEST / 2;
        drop(quick.hurry_at(later));
        waits(&busy, later, 1_000);
        assert!(busy.next(later).is_some());
        assert_eq!(busy.next(now + LONGEST + GAP), None);
    }

    #[test]
    fn a_burst_comes_back_with_time() {
        let rush = Rush::default();
        let (starting, busy) = (Turns::new(rush.clone()), Turns::new(rush));
        let _hurried = starting.hurry();
        let now = Instant::now();
        waits(&busy, now, BURST + 1);
        assert_eq!(busy.next(now), Some(now + GAP));
        let later = now + GAP * (BURST + 2);
        assert_eq!(waits(&busy, later, BURST + 1), [Duration::ZERO; BURST as usize + 1]);
    }
}
