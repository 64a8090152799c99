//! Changes of one plugin that stand in line together are kept in one commit: a plugin that writes a lot pays for one write
//! to the disk, and takes one turn among those who write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::{Limit, MAX_VALUES};
use crate::host::HostError;
use plugbay_domain::{Clock, Code, DataId, Timestamp};
use plugbay_store::kv::{self, Kept};
use plugbay_store::{PluginStore, PluginTransaction};

/// Bytes of keys and values that are changed in one transaction; bounds how long it takes. One change always fits.
const BATCH_BYTES: usize = 256 * 1024;

/// Changes that are made in one transaction.
const BATCH_CHANGES: usize = 64;

/// What a plugin wants to be changed.
#[derive(Debug)]
pub(super) enum Change {
    /// Keep a value.
    Set { key: String, value: String, expires_at: Option<Timestamp> },
    /// Forget a value.
    Delete { key: String },
}

/// Changes of one session that wait to be made, in order.
#[derive(Debug, Default)]
pub(in crate::host) struct Writes(Mutex<VecDeque<Waiting>>);

#[derive(Debug)]
struct Waiting {
    change: Change,
    answer: oneshot::Sender<Result<(), HostError>>,
}

/// Changes that are being made. Those that were not come back to the head of the line when it is dropped, so that the
/// others lose nothing when the request that makes them is given up or fails.
struct Batch<'a> {
    line: &'a Writes,
    changes: VecDeque<Waiting>,
}

/// What the changes are made to, and by which clock.
pub(super) struct Ground<'a> {
    pub(super) store: &'a PluginStore,
    pub(super) data: DataId,
    pub(super) clock: &'a dyn Clock,
    pub(super) most: Limit,
}

impl Change {
    fn key(&self) -> &str {
        match self {
            Self::Set { key, .. } | Self::Delete { key } => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Set { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

impl Writes {
    /// Makes a change: by itself together with all that wait, or by the request that stood in line before it.
    pub(super) async fn make(&self, ground: Ground<'_>, change: Change) -> Result<(), HostError> {
        let mut answered = self.stand_in_line(change);
        loop {
            let place = tokio::select! {
                biased;
                Ok(answer) = &mut answered => return answer,
                place = ground.store.write_place() => place?,
            };
            if let Ok(answer) = answered.try_recv() {
                return answer;
            }
            let mut transaction = place.begin().await?;
            // Only now, so that what came while the turn was waited for is part of it.
            let batch = self.next_batch();
            let outcomes = batch.apply(&mut transaction, &ground).await?;
            transaction.commit().await?;
            batch.answer(outcomes);
            if let Ok(answer) = answered.try_recv() {
                return answer;
            }
        }
    }

    fn stand_in_line(&self, change: Change) -> oneshot::Receiver<Result<(), HostError>> {
        let (answer, answered) = oneshot::channel();
        let mut line = self.line();
        // Whoever was given up leaves; so the line is never longer than the requests a session may have open.
        line.retain(|waiting| !waiting.answer.is_closed());
        line.push_back(Waiting { change, answer });
        answered
    }

    fn next_batch(&self) -> Batch<'_> {
        let mut line = self.line();
        line.retain(|waiting| !waiting.answer.is_closed());
        let mut bytes = 0;
        let fitting = line.iter().take(BATCH_CHANGES).take_while(|waiting| {
            let is_first = bytes == 0;
            bytes += waiting.change.bytes();
            is_first || bytes <= BATCH_BYTES
        });
        let count = fitting.count();
        Batch { line: self, changes: line.drain(..count).collect() }
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch<'_> {
    /// Makes the changes; each is refused or not for itself. However many they are, a few statements make them: others
    /// wait as long as this takes.
    async fn apply(
        &self,
        transaction: &mut PluginTransaction,
        ground: &Ground<'_>,
    ) -> Result<Vec<Result<(), HostError>>, HostError> {
        let Ground { data, clock, most, .. } = ground;
        let mut kept = kv::kept(transaction, *data, clock.now()).await?;
        let keys: Vec<_> = self.changes.iter().map(|waiting| waiting.change.key()).collect();
        let mut sizes = kv::sizes(transaction, *data, &keys).await?;
        // What becomes of each key in the end.
        let mut set: BTreeMap<&str, Option<(&str, Option<Timestamp>)>> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(self.changes.len());
        for Waiting { change, .. } in &self.changes {
            let key = change.key();
            let besides = without(kept, sizes.get(key).copied());
            let Change::Set { value, expires_at, .. } = change else {
                sizes.remove(key);
                set.insert(key, None);
                kept = besides;
                outcomes.push(Ok(()));
                continue;
            };
            let bytes = (key.len() + value.len()) as u64;
            let after = Kept { values: besides.values + 1, bytes: besides.bytes.saturating_add(bytes) };
            if after.values > MAX_VALUES || after.bytes > most.bytes {
                outcomes.push(Err(most.refusal()));
                continue;
            }
            sizes.insert(key.to_owned(), bytes);
            set.insert(key, Some((value, *expires_at)));
            kept = after;
            outcomes.push(Ok(()));
        }
        let gone: Vec<_> = set.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| *key).collect();
        let values: Vec<_> =
            set.iter().filter_map(|(key, value)| value.map(|(value, end)| (*key, value, end))).collect();
        kv::delete_many(transaction, *data, &gone).await?;
        kv::set_many(transaction, *data, &values).await?;
        Ok(outcomes)
    }

    fn answer(mut self, outcomes: Vec<Result<(), HostError>>) {
        for (waiting, outcome) in self.changes.drain(..).zip(outcomes) {
            // Whoever was given up meanwhile needs no answer.
            waiting.answer.send(outcome).ok();
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut line = self.line.line();
        while let Some(waiting) = self.changes.pop_back() {
            line.push_front(waiting);
        }
    }
}

/// What a plugin keeps besides a value of this size.
fn without(kept: Kept, size: Option<u64>) -> Kept {
    Kept {
        values: kept.values.saturating_sub(u64::from(size.is_some())),
        bytes: kept.bytes.saturating_sub(size.unwrap_or_default()),
    }
}

impl Limit {
    fn refusal(self) -> HostError {
        let rule = format!("a plugin keeps at most {MAX_VALUES} values and {} bytes; delete some first", self.bytes);
        HostError::Refused { code: Code::QuotaExceeded, rule }
    }
}
