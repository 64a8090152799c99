//! When a plugin that ended is started again, and when that has to stop. Pure: the caller says what time it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ends in a row, without a good call between, that are too many.
const MAX_ENDS: usize = 5;

/// The time in which they count.
const WINDOW: Duration = Duration::from_mins(10);

/// A session that ran so long was a good one.
const GOOD_RUN: Duration = Duration::from_mins(1);

/// Longest wait before a start.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Ends by a signal from outside in the window that are taken as such. A plugin that kills itself looks the same.
const MAX_KILLS: usize = 30;

/// How a session ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, or because it broke a rule.
    Fault,
    /// Somebody killed it.
    Killed,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start again after this time.
    Wait(Duration),
    /// Hold it back.
    Quarantine,
}

/// The ends of one plugin.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    faults: VecDeque<Instant>,
    kills: VecDeque<Instant>,
    /// How often in a row it ended without a good call or a good run.
    row: u32,
}

impl Backoff {
    /// Judges an end.
    pub(crate) fn ended(&mut self, ending: Ending, ran: Duration, had_good_call: bool, now: Instant) -> Verdict {
        let recent = |times: &mut VecDeque<Instant>| {
            times.push_back(now);
            times.retain(|at| now.duration_since(*at) <= WINDOW);
            times.len()
        };
        if had_good_call || ran >= GOOD_RUN {
            self.row = 0;
            self.faults.clear();
        }
        if ending == Ending::Killed && recent(&mut self.kills) <= MAX_KILLS {
            return Verdict::Wait(Duration::ZERO);
        }
        if recent(&mut self.faults) >= MAX_ENDS {
            return Verdict::Quarantine;
        }
        let wait = match self.row {
            0 => Duration::ZERO,
            row => Duration::from_secs(1 << (row - 1).min(6)).min(LONGEST_WAIT),
        };
        self.row += 1;
        Verdict::Wait(wait)
    }

    /// Takes the last end back: it was the engine's doing.
    pub(crate) fn forgive(&mut self) {
        self.faults.pop_back();
        self.row = self.row.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn the_first_restart_is_at_once_and_five_faults_in_a_row_are_too_many() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let mut waits = Vec::new();
        while let Verdict::Wait(wait) = backoff.ended(Ending::Fault, SHORT, false, now) {
            waits.push(wait.as_secs());
        }
        assert_eq!(waits, [0, 1, 2, 4]);
    }

    #[test]
    fn a_good_call_or_a_long_run_begins_a_new_row() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..20 {
            assert_eq!(backoff.ended(Ending::Fault, SHORT, true, now), Verdict::Wait(Duration::ZERO));
            assert_eq!(backoff.ended(Ending::Fault, GOOD_RUN, false, now), Verdict::Wait(Duration::ZERO));
        }
    }

    #[test]
    fn faults_far_apart_wait_longer_and_are_no_loop() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            now += Duration::from_mins(4);
            let Verdict::Wait(wait) = backoff.ended(Ending::Fault, SHORT, false, now) else { panic!("no loop") };
            longest = longest.max(wait);
        }
        assert_eq!(longest, LONGEST_WAIT);
    }

    #[test]
    fn kills_from_outside_are_forgiven_for_a_while() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..MAX_KILLS {
            assert_eq!(backoff.ended(Ending::Killed, SHORT, false, now), Verdict::Wait(Duration::ZERO));
        }
        let last = (0..MAX_ENDS).map(|_| backoff.ended(Ending::Killed, SHORT, false, now)).last();
        assert_eq!(last, Some(Verdict::Quarantine));
    }
}
