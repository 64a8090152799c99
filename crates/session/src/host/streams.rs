//! The answers that one session reads piece by piece. Each has one reader at a time, and nothing is read ahead of it: a
//! plugin that does not read slows its host down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Table, PoisonError};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use plugbay_domain::{Masker, Reflected, StreamId};
use plugbay_egress::{EgressError, StreamPlaces, WebBody};

/// All of one session; they end with it.
#[derive(Debug)]
pub(super) struct Streams {
    open: Table<HashMap<StreamId, Arc<Stream>>>,
    pub(super) places: StreamPlaces,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Stream {
    /// Cancelled when it is closed.
    pub(super) ended: CancellationToken,
    /// The place of the one request that waits for it.
    turn: Arc<Semaphore>,
    pub(super) pieces: Mutex<Pieces>,
}

/// What comes of an answer, as the plugin may see it.
#[derive(Debug)]
pub(super) struct Pieces {
    body: WebBody,
    pub(super) hidden: Reflected,
    masker: Masker,
    /// What the plugin has not asked for yet: less than one piece of the host's.
    shown: Vec<u8>,
    is_over: bool,
}

impl Streams {
    /// With these places.
    pub(super) fn new(places: StreamPlaces) -> Self {
        Self { open: Table::default(), places }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<StreamId, Arc<Stream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Stream>> {
        self.table().get(&id.parse().ok()?).cloned()
    }

    /// Closes a stream: its connection ends, and a request that waits for it.
    pub(super) fn close(&self, id: &str) {
        let removed = id.parse().ok().and_then(|id| self.table().remove(&id));
        if let Some(stream) = removed {
            stream.ended.cancel();
        }
    }

    /// Keeps a body for its reader, until `over` comes or the plugin may not read it any more.
    pub(super) fn add(
        self: &Arc<Self>,
        body: WebBody,
        hidden: &Reflected,
        over: impl Future<Output = ()> + Send + 'static,
    ) -> StreamId {
        let (id, ended, streams) = (StreamId::generate(), CancellationToken::new(), Arc::downgrade(self));
        let closed = ended.clone();
        let over = async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = over => {}
            }
        };
        let then = move || {
            if let Some(streams) = streams.upgrade() {
                streams.close(&id.to_string());
            }
        };
        let masker = Masker::new(hidden);
        // Held until it is in the table: what ends it must find it there.
        let mut table = self.table();
        body.watch(over, then);
        let pieces = Pieces { body, hidden: hidden.clone(), masker, shown: Vec::new(), is_over: false };
        let stream = Stream { ended, turn: Arc::new(Semaphore::new(1)), pieces: Mutex::new(pieces) };
        table.insert(id, Arc::new(stream));
        id
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for stream in self.table().values() {
            stream.ended.cancel();
        }
    }
}

impl Stream {
    /// The place of the one request that may wait for it, unless another one does.
    pub(super) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turn).try_acquire_owned().ok()
    }
}

impl Pieces {
    /// The next bytes, `most` at once; nothing after the end. Dropped while it waits, it loses nothing.
    pub(super) async fn next(&mut self, most: usize) -> Result<Option<Vec<u8>>, EgressError> {
        loop {
            let ready = self.ready(most);
            if ready > 0 {
                let rest = self.shown.split_off(ready);
                return Ok(Some(std::mem::replace(&mut self.shown, rest)));
            }
            if self.is_over {
                return Ok(None);
            }
            if let Some(piece) = self.body.next().await {
                self.shown.extend(self.masker.push_bytes(&piece?));
            } else {
                self.is_over = true;
                self.shown.extend(self.masker.finish_bytes());
            }
        }
    }

    /// How many bytes can be given now. A character that is cut waits for its other bytes, if the rest is text.
    fn ready(&self, most: usize) -> usize {
        let given = &self.shown[..self.shown.len().min(most)];
        match std::str::from_utf8(given) {
            Err(error) if error.error_len().is_none() => {
                let is_the_end = self.is_over && given.len() == self.shown.len();
                if is_the_end { given.len() } else { error.valid_up_to() }
            }
            _ => given.len(),
        }
    }
}
