//! A call on its way, as its caller has it.

use std::sync::Arc;

use plugbay_domain::CallId;
use plugbay_protocol::{CancelReason, Outgoing};
use tokio::time::Instant;

use super::calls::Waiting;
use super::{CallError, CallOutcome, Inner, SessionEnd, StreamEvent};

/// Calls in flight from which on further ones are written together: below, waiting for others would only cost time.
const BUSY_CALLS: usize = 2;

/// A call on its way. Dropped before its answer, it is cancelled in the plugin.
#[derive(Debug)]
pub struct RunningCall {
    inner: Arc<Inner>,
    call: CallId,
    waiting: Waiting,
    deadline: Option<Instant>,
    /// It was taken, but not yet written.
    is_posted: bool,
    is_done: bool,
}

impl RunningCall {
    /// Sends what was posted for it, at once where few others are under way.
    pub(super) fn begin(inner: Arc<Inner>, call: CallId, waiting: Waiting, deadline: Option<Instant>) -> Self {
        let is_posted = waiting.others >= BUSY_CALLS;
        if !is_posted {
            inner.outbound.flush();
        }
        Self { inner, call, waiting, deadline, is_posted, is_done: false }
    }

    /// The next part of a stream; `None` when the answer is next. What waits for it may be dropped, and wait again.
    pub async fn next_event(&mut self) -> Option<StreamEvent> {
        self.send().await;
        loop {
            let due = self.due();
            let events = self.waiting.events.as_mut()?;
            let Some(due) = due else { return events.next().await };
            match tokio::time::timeout_at(due, events.next()).await {
                Ok(event) => return event,
                // What was fed last was read meanwhile.
                Err(_elapsed) if self.due().is_none_or(|due| due > Instant::now()) => {}
                Err(_elapsed) => return None,
            }
        }
    }

    /// The answer. What waits for it may be dropped, and wait again, until it is there.
    pub async fn answer(&mut self) -> Result<CallOutcome, CallError> {
        self.send().await;
        let due = self.due();
        let answer = &mut self.waiting.answer;
        let delivered = match due {
            None => Ok(answer.await),
            Some(due) => tokio::time::timeout_at(due, answer).await,
        };
        match delivered {
            Ok(delivered) => {
                self.is_done = true;
                // The table tells all callers before it forgets them.
                delivered.unwrap_or_else(|_gone| Err(CallError::Ended(Arc::new(SessionEnd::stopped()))))
            }
            Err(_elapsed) => {
                self.give_up(CancelReason::Deadline);
                Err(CallError::Timeout)
            }
        }
    }

    /// Feeds it with the next part, which is JSON, and gives that its number. Nothing when the plugin has to take in first
    /// what it has: [`Self::room`] completes then.
    pub fn feed(&mut self, part: &str) -> Option<u64> {
        let number = self.waiting.feed.as_ref()?.take_room(part.len())?;
        self.tell(Outgoing::feed(self.call, number, part));
        Some(number)
    }

    /// Completes when the plugin may have taken in some of what it was fed with.
    pub fn room(&self) -> impl Future<Output = ()> + Send + use<> {
        let feed = self.waiting.feed.clone();
        async move {
            match feed {
                Some(feed) => feed.room().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Tells the plugin that nothing more comes.
    pub fn end_feed(&mut self) {
        if self.waiting.feed.as_ref().is_some_and(|feed| feed.end()) {
            self.tell(Outgoing::feed_end(self.call));
        }
    }

    /// Sends what belongs to the call, after the call itself.
    fn tell(&mut self, frame: Outgoing) {
        self.is_posted = false;
        // A plugin that does not read is noticed by what it does not take in.
        self.inner.outbound.send(frame).ok();
    }

    /// When there must be something new.
    fn due(&self) -> Option<Instant> {
        self.deadline.or_else(|| self.waiting.feed.as_ref()?.due())
    }

    /// Writes the call after all that are about to be made on this thread, so that they leave together.
    async fn send(&mut self) {
        if self.is_posted {
            tokio::task::yield_now().await;
            self.is_posted = false;
            self.inner.outbound.flush();
        }
    }

    fn give_up(&mut self, reason: CancelReason) {
        if !self.is_done && self.inner.calls.abandon(self.waiting.id) {
            self.inner.cancel(self.call, reason);
        }
        self.is_done = true;
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        if self.is_posted {
            self.inner.outbound.flush();
        }
        self.give_up(CancelReason::Client);
    }
}
