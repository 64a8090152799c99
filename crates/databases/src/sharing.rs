//! Turns at a database that only one can use at a time.
//!
//! In a rollback journal's mode, SQLite's default, a reader keeps the operator's programs from writing; in every mode a
//! writer does. Four plugins that each read for ten seconds, one beginning while the other still reads,
//! would lock them out for good. So plugins take turns, and after a long one the database is left alone as long as it
//! took.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

use plugbay_domain::Access;

/// A turn up to this long is followed by the next at once.
const SHORT: Duration = Duration::from_secs(1);

/// How plugins share one database with its owner.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// When the next turn may begin. The first to come is the first to go.
    next: Mutex<Option<Instant>>,
    /// Whether it has a write-ahead log, by what a worker said last.
    log: RwLock<Option<bool>>,
}

/// One turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    began: Option<Instant>,
    next: MutexGuard<'a, Option<Instant>>,
}

impl Sharing {
    /// Waits for a turn, where one is needed: readers beside a log hinder no writer.
    pub(super) async fn take(&self, access: Access) -> Option<Turn<'_>> {
        if access == Access::Read && self.has_log() == Some(true) {
            return None;
        }
        let next = self.next.lock().await;
        if let Some(at) = *next {
            sleep_until(at).await;
        }
        Some(Turn { began: Some(Instant::now()), next })
    }

    /// Whether the database has a log; it is not known before it was used.
    pub(super) fn has_log(&self) -> Option<bool> {
        *self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what a worker said. True if that is news.
    pub(super) fn learn(&self, log: bool) -> bool {
        let mut known = self.log.write().unwrap_or_else(PoisonError::into_inner);
        known.replace(log) != Some(log)
    }
}

impl Turn<'_> {
    /// The owner held the database all the while, so there is nothing to make up for.
    pub(super) fn was_in_vain(&mut self) {
        self.began = None;
    }
}

/// How long a database is left alone after a turn of this length.
fn pause_after(took: Duration) -> Option<Duration> {
    (took > SHORT).then_some(took)
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = self.began.map(|began| now.duration_since(began)).unwrap_or_default();
        *self.next = pause_after(took).map(|pause| now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_turn_is_followed_by_a_pause_as_long() {
        assert_eq!(pause_after(Duration::from_millis(900)), None);
        assert_eq!(pause_after(Duration::from_secs(10)), Some(Duration::from_secs(10)));
    }
}
