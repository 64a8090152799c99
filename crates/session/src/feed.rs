//! What a running call is fed with. A plugin takes in as much as it likes at a time and says how far it has come: the one that
//! feeds it waits for that, and the queue of the session never does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plugbay_protocol::Violation;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes that a call may have before it and has not taken in.
const MOST_UNREAD: usize = 64 * 1024;

/// The same of all calls of a session.
const MOST_UNREAD_OF_ALL: usize = 1024 * 1024;

/// Bytes that the calls of a session have before them.
#[derive(Debug, Default)]
pub(super) struct Unread {
    bytes: AtomicUsize,
    fewer: Notify,
}

/// One call's.
#[derive(Debug)]
pub(super) struct Feed {
    progress: Mutex<Progress>,
    /// Told when the plugin has taken in some of it.
    fewer: Notify,
    all: Arc<Unread>,
    idle: Duration,
}

#[derive(Debug)]
struct Progress {
    /// Number and bytes of what was sent and is not taken in.
    sent: VecDeque<(u64, usize)>,
    bytes: usize,
    next: u64,
    /// What there was no room for last.
    refused: usize,
    has_ended: bool,
    /// Since when there is nothing to wait for but the plugin.
    since: Instant,
}

impl Feed {
    pub(super) fn new(all: Arc<Unread>, idle: Duration) -> Self {
        let progress =
            Progress { sent: VecDeque::new(), bytes: 0, next: 0, refused: 0, has_ended: false, since: Instant::now() };
        Self { progress: Mutex::new(progress), fewer: Notify::new(), all, idle }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for so many bytes, and gives them their number; nothing when the plugin has to read first.
    pub(super) fn take_room(&self, bytes: usize) -> Option<u64> {
        let mut progress = self.progress();
        progress.refused = bytes;
        if !has_room(progress.bytes, bytes, MOST_UNREAD) {
            return None;
        }
        let add = |all: usize| has_room(all, bytes, MOST_UNREAD_OF_ALL).then_some(all.saturating_add(bytes));
        self.all.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        if progress.sent.is_empty() {
            progress.since = Instant::now();
        }
        let number = progress.next;
        progress.next += 1;
        progress.bytes += bytes;
        progress.sent.push_back((number, bytes));
        Some(number)
    }

    /// Completes when there may be room for what there was none for.
    pub(super) async fn room(&self) {
        let (own, all) = (self.fewer.notified(), self.all.fewer.notified());
        let (bytes, refused) = {
            let progress = self.progress();
            (progress.bytes, progress.refused)
        };
        if !has_room(bytes, refused, MOST_UNREAD) {
            own.await;
        } else if !has_room(self.all.bytes.load(Ordering::Relaxed), refused, MOST_UNREAD_OF_ALL) {
            all.await;
        }
    }

    /// The plugin has taken in everything up to this number.
    pub(super) fn read(&self, number: u64) -> Result<(), Violation> {
        let mut progress = self.progress();
        if number >= progress.next {
            let rule = format!("`read` is {number} where {} parts were fed", progress.next);
            return Err(Violation::new(rule));
        }
        let mut freed = 0;
        while let Some((sent, bytes)) = progress.sent.front().copied()
            && sent <= number
        {
            progress.sent.pop_front();
            freed += bytes;
        }
        if freed > 0 {
            progress.bytes -= freed;
            progress.since = Instant::now();
            drop(progress);
            self.give_back(freed);
            self.fewer.notify_waiters();
        }
        Ok(())
    }

    /// Nothing more comes. True the first time.
    pub(super) fn end(&self) -> bool {
        let mut progress = self.progress();
        if progress.sent.is_empty() {
            progress.since = Instant::now();
        }
        !std::mem::replace(&mut progress.has_ended, true)
    }

    /// When the plugin must have gone on, if there is something before it.
    pub(super) fn due(&self) -> Option<Instant> {
        let progress = self.progress();
        (progress.has_ended || !progress.sent.is_empty()).then(|| progress.since + self.idle)
    }

    fn give_back(&self, bytes: usize) {
        self.all.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fewer.notify_waiters();
    }
}

/// A part that is longer than all there may be gets through alone.
fn has_room(taken: usize, bytes: usize, most: usize) -> bool {
    taken == 0 || taken.saturating_add(bytes) <= most
}

impl Drop for Feed {
    fn drop(&mut self) {
        let bytes = self.progress().bytes;
        self.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_call_is_fed_as_far_as_it_reads() {
        let all = Arc::<Unread>::default();
        let feed = Feed::new(Arc::clone(&all), IDLE);
        assert_eq!((feed.due(), feed.take_room(40_000), feed.take_room(20_000)), (None, Some(0), Some(1)));
        assert!(feed.due().is_some() && feed.take_room(10_000).is_none());
        feed.read(0).unwrap();
        feed.room().await;
        assert_eq!(feed.take_room(40_000), Some(2));
        assert!(feed.read(3).unwrap_err().to_string().contains("`read` is 3 where 3 parts were fed"));
        feed.read(2).unwrap();
        feed.read(1).unwrap();
        assert_eq!((feed.due(), all.bytes.load(Ordering::Relaxed)), (None, 0));
        assert!(feed.end() && !feed.end() && feed.due().is_some());
    }

    #[tokio::test]
    async fn calls_of_a_session_share_what_may_be_before_them() {
        let all = Arc::<Unread>::default();
        let feeds: Vec<Feed> = (0..20).map(|_| Feed::new(Arc::clone(&all), IDLE)).collect();
        let fed = feeds.iter().filter(|feed| feed.take_room(MOST_UNREAD).is_some()).count();
        assert_eq!(fed, MOST_UNREAD_OF_ALL / MOST_UNREAD);
        let waiting = Feed::new(Arc::clone(&all), IDLE);
        assert_eq!(waiting.take_room(1_000), None);
        let freeing = async {
            tokio::task::yield_now().await;
            drop(feeds);
        };
        tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(waiting.room(), freeing) }).await.unwrap();
        assert_eq!(waiting.take_room(1_000), Some(0));
        drop(waiting);
        assert_eq!(all.bytes.load(Ordering::Relaxed), 0);
    }
}
