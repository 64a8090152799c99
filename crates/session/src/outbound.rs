//! What goes to the plugin. A caller writes by itself, which saves waking a task per call; while many call, what they
//! have to say leaves in one write. Whatever the socket does not take at once is written by the writer task. A frame is
//! always written whole, also when the caller has gone meanwhile.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::Notify;

use plugbay_protocol::Outgoing;

/// Bytes that may wait for a plugin that does not read, as a multiple of the longest message.
const QUEUED_MESSAGES: usize = 4;

/// Frames in one write.
const FRAMES_AT_ONCE: usize = 64;

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
    frames: Frames,
    bytes: usize,
    /// Somebody writes and takes care of what is added meanwhile.
    is_writing: bool,
    /// The socket took less than there was; the writer goes on when it takes more.
    is_stuck: bool,
    is_closed: bool,
}

impl Queue {
    /// Whether those who wait may go on; once it is closed there is nothing to wait for.
    fn has_room(&self, max_bytes: usize) -> bool {
        self.is_closed || self.bytes < max_bytes / 2
    }
}

#[derive(Debug, Default)]
struct Frames {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of the first one that are written already.
    written: usize,
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
        self.post(frame)?;
        self.flush();
        Ok(())
    }

    /// Takes a frame that others may follow at once; [`Self::flush`] writes them together.
    pub(super) fn post(&self, frame: Outgoing) -> Result<(), NoRoom> {
        let frame = frame.into_bytes();
        let mut queue = self.queue();
        if queue.is_closed || queue.bytes.saturating_add(frame.len()) > self.max_bytes {
            return Err(NoRoom);
        }
        queue.bytes = queue.bytes.saturating_add(frame.len());
        queue.frames.waiting.push_back(frame);
        Ok(())
    }

    /// Writes what has been taken. What the socket does not take now is the writer's.
    pub(super) fn flush(&self) {
        // A broken connection is seen by the reader.
        if self.write(Writer::Caller).is_ok_and(|socket| socket == Socket::Full) {
            self.filled.notify_one();
        }
    }

    /// Sends a frame once there is room for it. What the plugin asks for is answered so: one that asks and does not
    /// read holds up itself. The place of the question is free when its answer leaves: the next one may come before this
    /// returns.
    pub(super) async fn send_patiently<P: Send>(&self, frame: Outgoing, place: P) {
        loop {
            let emptied = self.emptied.notified();
            let has_room = self.queue().has_room(self.max_bytes);
            if has_room {
                if self.post(frame).is_ok() {
                    drop(place);
                    self.flush();
                }
                return;
            }
            emptied.await;
        }
    }

    /// Completes once nothing is sent any more.
    pub(super) async fn closed(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.queue().is_closed {
                return;
            }
            emptied.await;
        }
    }

    /// Refuses every further frame.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        queue.frames = Frames::default();
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
            match self.write(Writer::Task) {
                Ok(Socket::HasRoom) => self.filled.notified().await,
                Ok(Socket::Full) if self.stream.writable().await.is_ok() => {}
                Ok(Socket::Full | Socket::Closed) | Err(_) => return,
            }
        }
    }

    /// Writes all there is, as far as the socket takes it. The lock is not held meanwhile: whoever comes adds its frame
    /// and goes, and nobody waits for another's system call.
    fn write(&self, writer: Writer) -> io::Result<Socket> {
        let mut queue = self.queue();
        // Whoever is just writing does not wake the task a second time.
        if queue.is_closed {
            return Ok(Socket::Closed);
        }
        // A full socket is asked again by the task alone, which knows when it is worth it.
        if queue.is_writing || (queue.is_stuck && writer == Writer::Caller) {
            return Ok(Socket::HasRoom);
        }
        while !queue.is_closed && !queue.frames.waiting.is_empty() {
            let mut frames = std::mem::take(&mut queue.frames);
            queue.is_writing = true;
            drop(queue);
            let written = frames.write(&self.stream);
            queue = self.queue();
            queue.is_writing = false;
            queue.bytes = queue.bytes.saturating_sub(written?);
            if queue.has_room(self.max_bytes) {
                self.emptied.notify_waiters();
            }
            queue.is_stuck = !frames.waiting.is_empty();
            // Before those that were added meanwhile.
            frames.waiting.append(&mut queue.frames.waiting);
            queue.frames = frames;
            if queue.is_stuck {
                return Ok(Socket::Full);
            }
        }
        Ok(if queue.is_closed { Socket::Closed } else { Socket::HasRoom })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Caller,
    Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Socket {
    HasRoom,
    Full,
    Closed,
}

impl Frames {
    /// Writes as much as the socket takes and forgets it. Returns the number of bytes.
    fn write(&mut self, stream: &UnixStream) -> io::Result<usize> {
        let mut all = 0_usize;
        while let Some(first) = self.waiting.front() {
            let mut slices = vec![IoSlice::new(first.get(self.written..).unwrap_or_default())];
            slices.extend(self.waiting.iter().skip(1).take(FRAMES_AT_ONCE - 1).map(|frame| IoSlice::new(frame)));
            match stream.try_write_vectored(&slices) {
                Ok(count) => {
                    all = all.saturating_add(count);
                    self.written = self.written.saturating_add(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            while let Some(first) = self.waiting.front().filter(|first| first.len() <= self.written) {
                self.written -= first.len();
                self.waiting.pop_front();
            }
        }
        Ok(all)
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
    async fn posted_frames_wait_for_a_flush_and_leave_together() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbound = Outbound::new(Arc::new(ours), 1 << 20);
        let frames: Vec<_> = (1..=3).map(Outgoing::health).collect();
        for frame in &frames {
            outbound.post(frame.clone()).unwrap();
        }
        let mut found = [0; 4096];
        assert_eq!(theirs.try_read(&mut found).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        outbound.flush();
        theirs.readable().await.unwrap();
        let count = theirs.try_read(&mut found).unwrap();
        let expected: Vec<u8> = frames.into_iter().flat_map(Outgoing::into_bytes).collect();
        assert_eq!(&found[..count], expected);
        assert_eq!(outbound.queue().bytes, 0);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_told_when_the_plugin_has_gone() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let outbound = Outbound::new(Arc::new(ours), 100_000);
        let frame = Outgoing::configure(1, &serde_json::json!("x".repeat(90_000)));
        while outbound.send(frame.clone()).is_ok() {}
        let waiting = async {
            tokio::join!(outbound.send_patiently(frame.clone(), ()), async {
                // Only now: one who asks without reading, and then ends.
                tokio::task::yield_now().await;
                drop(theirs);
            })
        };
        let both = async { tokio::join!(waiting, outbound.write_queued()) };
        tokio::time::timeout(std::time::Duration::from_secs(5), both).await.expect("nobody waits for ever");
    }

    #[tokio::test]
    async fn whoever_waits_for_room_goes_on_when_a_caller_has_made_it() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let outbound = Outbound::new(Arc::new(ours), 10_000);
        let frame = Outgoing::configure(1, &serde_json::json!("x".repeat(9_000)));
        for _ in 0..3 {
            outbound.post(frame.clone()).unwrap();
        }
        let both = async {
            tokio::join!(outbound.send_patiently(Outgoing::health(2), ()), async {
                tokio::task::yield_now().await;
                outbound.flush();
            })
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), both).await.expect("there is room");
    }

    #[tokio::test]
    async fn the_writer_ends_though_a_caller_is_writing_when_the_session_is_closed() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let outbound = Outbound::new(Arc::new(ours), 10_000);
        outbound.queue().is_writing = true;
        let both = async {
            tokio::join!(outbound.write_queued(), async {
                tokio::task::yield_now().await;
                outbound.close();
            })
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), both).await.expect("the writer ends");
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
