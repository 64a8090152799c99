//! The calls a session has in flight. Callers insert, the reader completes them directly; no task stands between.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::answered::{CallError, Delivery};
use super::chunks::{Events, Sink, StreamEvent, collect};
use super::feed::{Feed, Unread};
use super::pending::{Delivered, PendingCall, Taken};
use super::{SessionEnd, Time};
use plugbay_domain::{CallId, Origin};
use plugbay_protocol::{Chunk, Progress, RemoteError, Violation};

/// Bytes of chunks that wait of a call that is fed. It has little before it, so what it says of that is little; and there
/// may be many of them.
const MOST_OF_FEED: usize = 512 * 1024;

/// How long a request may take that serves a call without a deadline.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// What a request of the plugin has of the call that it serves.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) deadline: tokio::time::Instant,
    pub(super) origin: Origin,
    /// Cancelled when the caller has given the call up.
    pub(super) given_up: CancellationToken,
}

/// The answer to a question of the service's own.
pub(super) type OwnAnswer = oneshot::Receiver<Result<Box<RawValue>, RemoteError>>;

#[derive(Debug)]
enum Pending {
    Call(PendingCall),
    Own(oneshot::Sender<Result<Box<RawValue>, RemoteError>>),
}

/// Everything that waits for an answer of this session.
#[derive(Debug)]
pub(super) struct Calls {
    table: Mutex<Table>,
    unread: Arc<Unread>,
    max_bytes: usize,
    /// Told when a call has ended, once somebody waits for that.
    fewer: Notify,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<u64, Pending>,
    ids: HashMap<CallId, u64>,
    last_id: u64,
    late_answers: u64,
    /// Why nothing can be asked any more.
    ended: Option<Arc<SessionEnd>>,
}

/// The caller's side of a call.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: u64,
    /// Calls that were in flight before.
    pub(super) others: usize,
    pub(super) answer: oneshot::Receiver<Delivered>,
    pub(super) events: Option<Events>,
    pub(super) feed: Option<Arc<Feed>>,
}

impl Calls {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { table: Mutex::default(), unread: Arc::default(), max_bytes, fewer: Notify::new() }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for the answer of a call.
    pub(super) fn insert(
        &self,
        call: CallId,
        delivery: Delivery,
        place: Option<OwnedSemaphorePermit>,
        time: Time,
        origin: Origin,
    ) -> Result<Waiting, CallError> {
        let (deliver, answer) = oneshot::channel();
        let (sink, events) = match delivery {
            Delivery::Whole => (Sink::Collect(String::new()), None),
            Delivery::Stream => {
                let (events, receiver) = mpsc::unbounded_channel();
                let waiting = Arc::<AtomicUsize>::default();
                (Sink::Forward { events, waiting: Arc::clone(&waiting) }, Some(Events { receiver, waiting }))
            }
        };
        let feed = match time {
            Time::Feed(idle) => Some(Arc::new(Feed::new(Arc::clone(&self.unread), idle))),
            Time::Until(_) | Time::Open => None,
        };
        let pending = PendingCall {
            call,
            deliver: Some(deliver),
            sink,
            next_seq: 0,
            abandoned: None,
            deadline: time.deadline(),
            feed: feed.clone(),
            origin,
            given_up: None,
            over: None,
            _place: place,
        };
        let mut table = self.table();
        if let Some(end) = &table.ended {
            return Err(CallError::Ended(Arc::clone(end)));
        }
        let (id, others) = (table.next_id(), table.ids.len());
        table.by_id.insert(id, Pending::Call(pending));
        table.ids.insert(call, id);
        Ok(Waiting { id, others, answer, events, feed })
    }

    /// Makes room for the answer to a question of the service's own.
    pub(super) fn insert_own(&self) -> Result<(u64, OwnAnswer), CallError> {
        let (deliver, answer) = oneshot::channel();
        let mut table = self.table();
        if let Some(end) = &table.ended {
            return Err(CallError::Ended(Arc::clone(end)));
        }
        let id = table.next_id();
        table.by_id.insert(id, Pending::Own(deliver));
        Ok((id, answer))
    }

    /// Takes a call out that was never sent.
    pub(super) fn withdraw(&self, id: u64) {
        self.table().take(id);
    }

    /// Hands an answer to whoever waits for it.
    pub(super) fn answer(&self, id: u64, outcome: Result<&RawValue, RemoteError>) -> Result<(), Violation> {
        let mut table = self.table();
        let Some(pending) = table.take(id) else {
            return Err(Violation::new(format!("an answer to request {id}, which is not open")));
        };
        match pending {
            Pending::Own(deliver) => {
                deliver.send(outcome.map(ToOwned::to_owned)).ok();
            }
            Pending::Call(call) => {
                table.late_answers += u64::from(call.abandoned.is_some());
                drop(table);
                call.complete(outcome);
                self.fewer.notify_waiters();
            }
        }
        Ok(())
    }

    /// Takes a part of an answer.
    pub(super) fn chunk(&self, chunk: &Chunk<'_>) -> Result<Taken, Violation> {
        let mut table = self.table();
        let Some(pending) = table.find(chunk.call) else {
            return Err(Violation::new(format!("a chunk for {}, which is not open", chunk.call)));
        };
        if pending.next_seq != chunk.seq {
            let rule = format!("chunk {} of {} instead of {}", chunk.seq, chunk.call, pending.next_seq);
            return Err(Violation::new(rule));
        }
        pending.next_seq += 1;
        if let (Some(feed), Some(read)) = (&pending.feed, chunk.read) {
            feed.read(read)?;
        }
        let event = || StreamEvent::Chunk { seq: chunk.seq, read: chunk.read, data: chunk.data.to_owned() };
        let most = if pending.feed.is_some() { MOST_OF_FEED.min(self.max_bytes) } else { self.max_bytes };
        Ok(pending.take_part(event, most, |sink, most| {
            let Sink::Collect(parts) = sink else { return false };
            collect(parts, chunk.data);
            parts.len() > most
        }))
    }

    /// Passes on how far a call has come. A call that is over has no progress to tell, which harms nobody.
    pub(super) fn progress(&self, progress: Progress) -> Taken {
        let mut table = self.table();
        let Some(pending) = table.find(progress.call) else { return Taken::Dropped };
        pending.take_part(|| StreamEvent::Progress(progress), self.max_bytes, |_, _| false)
    }

    /// What a request finds that serves a call, if somebody still waits for that.
    pub(super) fn serve(&self, call: CallId) -> Option<Served> {
        let mut table = self.table();
        let call = table.find(call).filter(|call| call.abandoned.is_none())?;
        let given_up = call.given_up.get_or_insert_default().clone();
        let deadline = call.deadline.unwrap_or_else(|| tokio::time::Instant::now() + REQUEST_TIME);
        Some(Served { deadline, origin: call.origin, given_up })
    }

    /// Cancelled when this call is over: answered, given up, or ended with the session.
    pub(super) fn over(&self, call: CallId) -> Option<CancellationToken> {
        let mut table = self.table();
        let call = table.find(call).filter(|call| call.abandoned.is_none())?;
        let (over, _) = call.over.get_or_insert_with(|| {
            let over = CancellationToken::new();
            (over.clone(), over.drop_guard())
        });
        Some(over.clone())
    }

    /// How deep the deepest call is: what is asked outside of any call may come of it.
    pub(super) fn deepest(&self) -> u8 {
        let depth = |pending: &Pending| match pending {
            Pending::Call(call) => call.origin.depth,
            Pending::Own(_) => 0,
        };
        self.table().by_id.values().map(depth).max().unwrap_or_default()
    }

    /// Nobody waits for this call any more. True if it was still open.
    pub(super) fn abandon(&self, id: u64) -> bool {
        match self.table().by_id.get_mut(&id) {
            Some(Pending::Call(call)) if call.abandoned.is_none() => {
                call.give_up();
                self.fewer.notify_waiters();
                true
            }
            _ => false,
        }
    }

    /// Tells everybody who waits for a call how the session ends. Gives the calls back, which the plugin still runs.
    pub(super) fn abandon_all(&self, end: &Arc<SessionEnd>) -> Vec<CallId> {
        let mut table = self.table();
        let mut given_up = Vec::new();
        for pending in table.by_id.values_mut() {
            if let Pending::Call(call) = pending
                && let Some(deliver) = call.give_up()
            {
                deliver.send(Err(CallError::Ended(Arc::clone(end)))).ok();
                given_up.push(call.call);
            }
        }
        given_up
    }

    /// Completes when the plugin works on no call any more.
    pub(super) async fn idle(&self) {
        loop {
            let fewer = self.fewer.notified();
            if self.table().ids.is_empty() {
                return;
            }
            fewer.await;
        }
    }

    /// Completes when nobody waits for a call any more, whether the plugin works on it or not.
    pub(super) async fn unwanted(&self) {
        loop {
            let fewer = self.fewer.notified();
            let is_wanted = |pending: &Pending| matches!(pending, Pending::Call(call) if call.abandoned.is_none());
            if !self.table().by_id.values().any(is_wanted) {
                return;
            }
            fewer.await;
        }
    }

    /// Whether a caller waits for a call that has no deadline.
    pub(super) fn has_streams(&self) -> bool {
        let is_stream = |pending: &Pending| matches!(pending, Pending::Call(call) if call.deadline.is_none() && call.abandoned.is_none());
        self.table().by_id.values().any(is_stream)
    }

    /// Completes when there is none.
    pub(super) async fn without_streams(&self) {
        loop {
            let fewer = self.fewer.notified();
            if !self.has_streams() {
                return;
            }
            fewer.await;
        }
    }

    /// A call that was taken back this long ago and still runs.
    pub(super) fn stuck(&self, since: Duration) -> Option<CallId> {
        self.table().by_id.values().find_map(|pending| match pending {
            Pending::Call(call) if call.abandoned.is_some_and(|at| at.elapsed() >= since) => Some(call.call),
            _ => None,
        })
    }

    /// Answers that came after their caller had gone.
    pub(super) fn late_answers(&self) -> u64 {
        self.table().late_answers
    }

    /// Tells everybody who waits, or will ask, how the session ended.
    pub(super) fn end(&self, end: &Arc<SessionEnd>) {
        let mut table = self.table();
        table.ended = Some(Arc::clone(end));
        table.ids.clear();
        let pending: Vec<_> = table.by_id.drain().collect();
        drop(table);
        for (_, pending) in pending {
            // Dropping the others' senders tells them.
            if let Pending::Call(mut call) = pending
                && let Some(deliver) = call.give_up()
            {
                deliver.send(Err(CallError::Ended(Arc::clone(end)))).ok();
            }
        }
    }
}

impl Table {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn take(&mut self, id: u64) -> Option<Pending> {
        let pending = self.by_id.remove(&id)?;
        if let Pending::Call(call) = &pending {
            self.ids.remove(&call.call);
        }
        Some(pending)
    }

    fn find(&mut self, call: CallId) -> Option<&mut PendingCall> {
        match self.by_id.get_mut(self.ids.get(&call)?)? {
            Pending::Call(call) => Some(call),
            Pending::Own(_) => None,
        }
    }
}
