//! The time of the statement that runs. One per process, since there is one statement at a time; SQLite's handler for
//! locks takes no state of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) static WATCH: Watch = Watch::new();

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Debug)]
pub(super) struct Watch {
    current: AtomicU64,
    /// In milliseconds since the process began.
    until: AtomicU64,
    cancelled: Mutex<Option<u64>>,
    is_closed: AtomicBool,
    is_cancelled: AtomicBool,
}

impl Watch {
    const fn new() -> Self {
        Self {
            current: AtomicU64::new(0),
            until: AtomicU64::new(0),
            cancelled: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            is_cancelled: AtomicBool::new(false),
        }
    }

    /// From now on it is about this one.
    pub(super) fn begin(&self, id: u64, time: Duration) {
        let cancelled = self.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        self.current.store(id, Ordering::Relaxed);
        self.until.store(millis(BEGAN.elapsed().saturating_add(time)), Ordering::Relaxed);
        // It may have been cancelled before it began.
        self.is_cancelled.store(*cancelled == Some(id), Ordering::Relaxed);
    }

    /// Nobody waits for this one.
    pub(super) fn cancel(&self, id: u64) {
        let mut cancelled = self.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        *cancelled = Some(id);
        if self.current.load(Ordering::Relaxed) == id {
            self.is_cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Nobody waits for anything.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Whether what runs should stop.
    pub(super) fn is_over(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
            || self.is_closed.load(Ordering::Relaxed)
            || millis(BEGAN.elapsed()) >= self.until.load(Ordering::Relaxed)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_over_when_it_was_cancelled_or_its_time_is() {
        let watch = Watch::new();
        watch.begin(1, Duration::from_mins(1));
        assert!(!watch.is_over());
        watch.cancel(2);
        assert!(!watch.is_over(), "the next one is meant");
        watch.begin(2, Duration::from_mins(1));
        assert!(watch.is_over());
        watch.begin(3, Duration::from_mins(1));
        assert!(!watch.is_over());
        watch.cancel(3);
        assert!(watch.is_over());
        watch.begin(4, Duration::ZERO);
        assert!(watch.is_over());
        watch.begin(5, Duration::from_mins(1));
        watch.close();
        assert!(watch.is_over());
    }
}
