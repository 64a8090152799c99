//! A call in the table of its session: what becomes of its parts and of its answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answered::{CallError, CallOutcome};
use super::chunks::{Sink, StreamEvent, as_list};
use super::feed::Feed;
use plugbay_domain::{CallId, Origin};
use plugbay_protocol::RemoteError;

pub(super) type Delivered = Result<CallOutcome, CallError>;

/// What became of a part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is kept for the caller, or on its way.
    Wanted,
    /// Its caller waits for it no more.
    Dropped,
    /// The caller cannot take any more; this call is to be cancelled.
    TooMuch(CallId),
}

/// A call whose answer is still to come.
#[derive(Debug)]
pub(super) struct PendingCall {
    pub(super) call: CallId,
    pub(super) deliver: Option<oneshot::Sender<Delivered>>,
    pub(super) sink: Sink,
    pub(super) next_seq: u64,
    pub(super) abandoned: Option<Instant>,
    /// A call without one goes on as long as its caller wants it.
    pub(super) deadline: Option<tokio::time::Instant>,
    pub(super) feed: Option<Arc<Feed>>,
    pub(super) origin: Origin,
    /// Cancelled when its caller waits no more; made for the first request that serves it.
    pub(super) given_up: Option<CancellationToken>,
    /// Cancelled when the call is over in any way; made for the first request that outlives its answer.
    pub(super) over: Option<(CancellationToken, DropGuard)>,
    /// The place of the call among those that may run at once; free when the plugin has really ended it.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

impl PendingCall {
    /// Forgets the caller that waits, and remembers since when.
    pub(super) fn give_up(&mut self) -> Option<oneshot::Sender<Delivered>> {
        self.sink = Sink::Nowhere;
        self.abandoned.get_or_insert_with(Instant::now);
        if let Some(given_up) = self.given_up.take() {
            given_up.cancel();
        }
        self.over = None;
        self.deliver.take()
    }

    /// Keeps a part or passes it on.
    pub(super) fn take_part(
        &mut self,
        event: impl FnOnce() -> StreamEvent,
        max_bytes: usize,
        collect: impl FnOnce(&mut Sink, usize) -> bool,
    ) -> Taken {
        let error = match &mut self.sink {
            Sink::Nowhere => return Taken::Dropped,
            Sink::Forward { events, waiting } => {
                let event = event();
                let cost = event.cost();
                let was = waiting.fetch_add(cost, Ordering::Relaxed);
                // A caller that has gone is noticed where it waited.
                events.send(event).ok();
                if was.saturating_add(cost) <= max_bytes {
                    return Taken::Wanted;
                }
                CallError::CallerTooSlow { max_bytes }
            }
            sink @ Sink::Collect(_) => {
                if !collect(sink, max_bytes) {
                    return Taken::Wanted;
                }
                CallError::TooMuch { max_bytes }
            }
        };
        if let Some(deliver) = self.give_up() {
            deliver.send(Err(error)).ok();
        }
        Taken::TooMuch(self.call)
    }

    pub(super) fn complete(self, outcome: Result<&RawValue, RemoteError>) {
        let Some(deliver) = self.deliver else { return };
        let outcome = match (outcome, self.sink) {
            (Err(error), _) => CallOutcome::Raised(error),
            (Ok(_), Sink::Collect(parts)) if !parts.is_empty() => CallOutcome::Result(as_list(parts)),
            (Ok(result), _) => CallOutcome::Result(result.to_owned()),
        };
        // The caller may have gone just now.
        deliver.send(Ok(outcome)).ok();
    }
}
