//! What becomes of the parts of an answer: passed on as they come, or collected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use plugbay_protocol::Progress;

/// A part of a streamed answer, or news of it.
#[derive(Debug)]
pub enum StreamEvent {
    /// A chunk.
    Chunk {
        /// Its number.
        seq: u64,
        /// The last part that was fed to the call and is taken in by it.
        read: Option<u64>,
        /// The value.
        data: Box<RawValue>,
    },
    /// How far it has come.
    Progress(Progress),
}

/// What becomes of chunks.
#[derive(Debug)]
pub(super) enum Sink {
    /// As one text, because parts of their own would each cost more than most of them hold.
    Collect(String),
    Forward {
        events: mpsc::UnboundedSender<StreamEvent>,
        waiting: Arc<AtomicUsize>,
    },
    /// Nobody wants them any more.
    Nowhere,
}

/// Chunks on their way to a caller.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) receiver: mpsc::UnboundedReceiver<StreamEvent>,
    pub(super) waiting: Arc<AtomicUsize>,
}

impl Events {
    pub(super) async fn next(&mut self) -> Option<StreamEvent> {
        let event = self.receiver.recv().await?;
        self.waiting.fetch_sub(event.cost(), Ordering::Relaxed);
        Some(event)
    }
}

impl StreamEvent {
    pub(super) fn cost(&self) -> usize {
        // The value, and what holding it takes.
        64 + match self {
            Self::Chunk { data, .. } => data.get().len(),
            Self::Progress(progress) => progress.message.as_ref().map_or(0, String::len),
        }
    }
}

/// Adds a chunk to those that came before.
pub(super) fn collect(parts: &mut String, chunk: &RawValue) {
    parts.push(if parts.is_empty() { '[' } else { ',' });
    parts.push_str(chunk.get());
}

/// The chunks as one array, for a caller that did not ask for a stream.
pub(super) fn as_list(mut parts: String) -> Box<RawValue> {
    parts.push(']');
    RawValue::from_string(parts).expect("a list of JSON values is JSON")
}
