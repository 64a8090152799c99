//! Another version that has taken over and answers already, until the supervisor looks after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plugbay_session::Session;
use tokio::sync::Notify;
use tokio::time::Duration;

use crate::record::Record;
use crate::{Member, Reach};

/// Fewer calls tell nothing about how often a version fails.
const LEAST_CALLS: u64 = 5;

/// A session of another version, which answers already.
#[derive(Debug)]
pub struct Successor {
    /// Its session.
    pub(crate) session: Session,
    /// What it may do.
    pub(crate) reach: Arc<Reach>,
    /// What the version before may do.
    pub(crate) before: Arc<Reach>,
    /// How long it is watched.
    pub(crate) watched: Duration,
    /// Calls of the versions before.
    pub(crate) calls_before: Calls,
}

impl Successor {
    /// A session that takes over from the one that answers, and is watched so long.
    pub fn new(session: Session, reach: Arc<Reach>, member: &Member, watched: Duration) -> Self {
        Self { session, reach, before: member.reach(), watched, calls_before: Calls::of(&member.record) }
    }
}

/// The place of a successor until the supervisor looks after it.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    successor: Mutex<Option<Successor>>,
    announced: Notify,
}

impl Succession {
    /// Announces a successor, who answers once `switch` is done.
    pub(crate) fn announce(&self, successor: Successor, switch: impl FnOnce()) {
        *self.place() = Some(successor);
        switch();
        self.announced.notify_one();
    }

    /// Completes when another version has taken over.
    pub(crate) async fn announced(&self) {
        self.announced.notified().await;
    }

    /// Whether another version has taken over that the supervisor does not know of yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.place().is_some()
    }

    /// The version that has taken over, once.
    pub(crate) fn take(&self) -> Option<Successor> {
        self.place().take()
    }

    fn place(&self) -> MutexGuard<'_, Option<Successor>> {
        self.successor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How calls ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) good: u64,
    pub(crate) bad: u64,
}

impl Calls {
    pub(crate) fn of(record: &Record) -> Self {
        Self { good: record.good_calls(), bad: record.bad_calls() }
    }

    /// Why this is too bad, if it is.
    pub(crate) fn judge(self, max_error_rate: f64) -> Option<String> {
        let all = self.good + self.bad;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more")]
        let is_too_bad = all >= LEAST_CALLS && self.bad as f64 > max_error_rate * all as f64;
        is_too_bad.then(|| format!("{} of its first {all} calls failed", self.bad))
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
