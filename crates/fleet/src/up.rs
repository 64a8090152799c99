//! A session that answers, and the places for its calls.

use std::sync::Arc;
use std::time::Duration;

use plugbay_session::Session;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A plugin that answers.
#[derive(Debug)]
pub struct Up {
    /// Its session.
    pub session: Session,
    /// Places for calls that run at once.
    pub places: Arc<Semaphore>,
    /// Places beside them, for calls that last as long as there is something to say.
    pub streams: Arc<Semaphore>,
    /// Longest call.
    pub timeout: Duration,
}

impl Up {
    pub(crate) fn new(session: &Session) -> Self {
        let limits = session.spec().limits;
        Self {
            session: session.clone(),
            places: Arc::new(Semaphore::new(Self::places_of(limits.max_concurrency))),
            streams: Arc::new(Semaphore::new(Self::places_of(limits.max_streams))),
            timeout: Duration::from_secs(limits.timeout_seconds),
        }
    }

    fn places_of(most: u64) -> usize {
        usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
    }

    /// Completes when every call that was let through has ended. No other is let through before the permit is dropped.
    pub async fn drained(&self) -> Option<OwnedSemaphorePermit> {
        let all = Self::places_of(self.session.spec().limits.max_concurrency);
        Arc::clone(&self.places).acquire_many_owned(u32::try_from(all).unwrap_or(u32::MAX)).await.ok()
    }
}
