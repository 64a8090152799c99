//! What goes to the plugin. A caller writes by itself when nothing is queued before it, which saves waking a task per
//! call; whatever the socket does not take at once is written by the writer task. A frame is always written whole, also
//! when the caller has gone meanwhile.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::Notify;

use crate::protocol::Outgoing;

/// Bytes that may wait for a plugin that does not read, as a multiple of the longest message.
const QUEUED_MESSAGES: usize = 4;

/// The plugin does not read, or its session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

#[derive(Debug)]
pub(super) struct Outbound {
    stream: Arc<UnixStream>,
    queue: Mutex<Queue>,
    /// Wakes the writer.
    filled: Notify,
    /// Wakes whoever waits for room.
    emptied: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    /// Bytes of the first frame that are written already.
    written: usize,
    bytes: usize,
    closed: bool,
}

impl Outbound {
    pub(super) fn new(stream: Arc<UnixStream>, message_bytes: usize) -> Self {
        let (filled, emptied) = (Notify::new(), Notify::new());
        let max_bytes = message_bytes.saturating_mul(QUEUED_MESSAGES);
        Self { stream, queue: Mutex::default(), filled, emptied, max_bytes }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame, now or as soon as the plugin reads.
    pub(super) fn send(&self, frame: Outgoing) -> Result<(), NoRoom> {
        let frame = frame.into_bytes();
        let mut queue = self.queue();
        if queue.closed || queue.bytes.saturating_add(frame.len()) > self.max_bytes {
            return Err(NoRoom);
        }
        let mut written = 0;
        if queue.frames.is_empty() {
            // A broken connection is seen by the reader.
            written = self.stream.try_write(&frame).unwrap_or(0);
            if written == frame.len() {
                return Ok(());
            }
            queue.written = written;
        }
        queue.bytes = queue.bytes.saturating_add(frame.len().saturating_sub(written));
        queue.frames.push_back(frame);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Sends a frame once there is room for it. What the plugin asks for is answered so: one that asks and does not
    /// read holds up itself.
    pub(super) async fn send_patiently(&self, frame: Outgoing) {
        loop {
            let emptied = self.emptied.notified();
            let has_room = {
                let queue = self.queue();
                queue.closed || queue.bytes < self.max_bytes / 2
            };
            if has_room {
                self.send(frame).ok();
                return;
            }
            emptied.await;
        }
    }

    /// Refuses every further frame.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.frames.clear();
        drop(queue);
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    /// The writer: runs until the session is closed or the connection breaks, after which nothing is sent any more.
    pub(super) async fn write_queued(&self) {
        self.write_until_broken().await;
        // Whoever waits for room must not wait for a plugin that has gone.
        self.close();
    }

    async fn write_until_broken(&self) {
        loop {
            if !self.write_some() {
                return;
            }
            let is_empty = self.queue().frames.is_empty();
            if is_empty {
                self.emptied.notify_waiters();
                self.filled.notified().await;
            } else if self.stream.writable().await.is_err() {
                return;
            }
        }
    }

    /// Writes as much as the socket takes. False ends the writer.
    fn write_some(&self) -> bool {
        let mut guard = self.queue();
        let queue = &mut *guard;
        while !queue.closed {
            let Some(first) = queue.frames.front() else { break };
            match self.stream.try_write(first.get(queue.written..).unwrap_or_default()) {
                Ok(count) => {
                    queue.written += count;
                    queue.bytes = queue.bytes.saturating_sub(count);
                    if queue.written >= first.len() {
                        queue.frames.pop_front();
                        queue.written = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        !queue.closed
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn frames_arrive_whole_and_in_order_though_the_plugin_reads_late() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outbound = Arc::new(Outbound::new(Arc::new(ours), 1 << 20));
        let mut expected = Vec::new();
        for id in 0..40 {
            let frame = Outgoing::configure(id, &serde_json::json!("x".repeat(60_000)));
            expected.extend(frame.clone().into_bytes());
            outbound.send(frame).unwrap();
        }
        let reading = async {
            let mut found = vec![0; expected.len()];
            theirs.read_exact(&mut found).await.unwrap();
            assert!(found == expected);
            outbound.close();
        };
        tokio::join!(outbound.write_queued(), reading);
        assert_eq!(outbound.send(Outgoing::health(1)), Err(NoRoom));
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_told_when_the_plugin_has_gone() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbound = Outbound::new(Arc::new(ours), 100_000);
        let frame = Outgoing::configure(1, &serde_json::json!("x".repeat(90_000)));
        while outbound.send(frame.clone()).is_ok() {}
        let waiting = async {
            tokio::join!(outbound.send_patiently(frame.clone()), async {
                // Only now: one who asks without reading, and then ends.
                tokio::task::yield_now().await;
                drop(theirs);
            })
        };
        let both = async { tokio::join!(waiting, outbound.write_queued()) };
        tokio::time::timeout(std::time::Duration::from_secs(5), both).await.expect("nobody waits for ever");
    }

    #[tokio::test]
    async fn a_plugin_that_never_reads_costs_a_bounded_amount_of_memory() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let outbound = Outbound::new(Arc::new(ours), 100_000);
        let frame = Outgoing::configure(1, &serde_json::json!("x".repeat(90_000)));
        let sent = (0..100).take_while(|_| outbound.send(frame.clone()).is_ok()).count();
        assert!((4..=8).contains(&sent), "{sent}");
    }
}
