//! Answers that wait to be read. A caller that does not read its answers keeps them in memory; all of them together are
//! bounded, and what goes beyond is made room for by ending the connections that have read nothing for longest.
//!
//! Connections that have shown no token have a smaller share of their own. Some long answers need no token, and a crowd
//! that asks for those must neither end the answers of callers nor keep the service busy with sending.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use bytes::Bytes;

use super::connections::Connection;

/// Bytes that are handed to the HTTP library at a time. It copies them, and asks for more when they are sent.
const PIECE_BYTES: usize = 32 * 1024;

/// What strangers have beside the callers: so many times less. Some pages of the description, with all that they load.
const STRANGERS: usize = 4;

/// All answers that wait.
#[derive(Debug)]
pub(crate) struct Answers {
    callers: Mutex<Waiting>,
    strangers: Mutex<Waiting>,
}

/// Those that share a bound.
#[derive(Debug, Default)]
struct Waiting {
    most: usize,
    bytes: usize,
    next: u64,
    answers: HashMap<u64, Unread>,
}

/// One answer that is not yet read to its end.
#[derive(Debug)]
struct Unread {
    connection: Arc<Connection>,
    /// All of it: its memory is given back as a whole, when the last byte was taken.
    bytes: usize,
    /// When something of it was last taken.
    since: Instant,
}

/// The body of an answer that is sent piece by piece.
#[derive(Debug)]
struct Pieces {
    answers: Arc<Answers>,
    connection: Arc<Connection>,
    /// As it was when the answer began.
    is_stranger: bool,
    number: u64,
    bytes: Bytes,
}

impl Answers {
    /// So many bytes for callers.
    pub(super) fn new(most: usize) -> Self {
        let waiting = |most| Mutex::new(Waiting { most, ..Waiting::default() });
        Self { callers: waiting(most), strangers: waiting(most / STRANGERS) }
    }

    /// Counts an answer for as long as it waits to be read. Most are small, and none of its business.
    pub(super) fn count(
        self: &Arc<Self>,
        response: ServiceResponse,
        connection: Option<&Arc<Connection>>,
    ) -> ServiceResponse {
        let is_long = match response.response().body().size() {
            BodySize::Sized(bytes) => bytes > PIECE_BYTES as u64,
            BodySize::None | BodySize::Stream => false,
        };
        let Some(connection) = connection.filter(|_| is_long) else { return response };
        response.map_body(|_, body| match body.try_into_bytes() {
            Ok(bytes) => BoxBody::new(self.hold(bytes, connection)),
            Err(body) => body,
        })
    }

    fn hold(self: &Arc<Self>, bytes: Bytes, connection: &Arc<Connection>) -> Pieces {
        let is_stranger = !connection.has_shown();
        let mut waiting = self.waiting(is_stranger);
        while waiting.bytes.saturating_add(bytes.len()) > waiting.most {
            let longest = waiting.answers.iter().min_by_key(|(_, unread)| unread.since).map(|(number, _)| *number);
            let Some(unread) = longest.and_then(|number| waiting.answers.remove(&number)) else { break };
            waiting.bytes -= unread.bytes;
            unread.connection.cut();
        }
        waiting.bytes += bytes.len();
        let number = waiting.next;
        waiting.next += 1;
        connection.begin_answer();
        let unread = Unread { connection: Arc::clone(connection), bytes: bytes.len(), since: Instant::now() };
        waiting.answers.insert(number, unread);
        Pieces { answers: Arc::clone(self), connection: Arc::clone(connection), is_stranger, number, bytes }
    }

    fn waiting(&self, is_stranger: bool) -> MutexGuard<'_, Waiting> {
        let waiting = if is_stranger { &self.strangers } else { &self.callers };
        waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something of an answer was taken. False when its connection was ended to make room.
    fn taken(&self, is_stranger: bool, number: u64) -> bool {
        let mut waiting = self.waiting(is_stranger);
        let Some(unread) = waiting.answers.get_mut(&number) else { return false };
        unread.since = Instant::now();
        true
    }
}

impl MessageBody for Pieces {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.bytes.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let most = self.bytes.len().min(PIECE_BYTES);
        let piece = self.bytes.split_to(most);
        let goes_on = self.answers.taken(self.is_stranger, self.number);
        Poll::Ready(Some(if goes_on { Ok(piece) } else { Err(io::ErrorKind::ConnectionAborted.into()) }))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        let mut waiting = self.answers.waiting(self.is_stranger);
        if let Some(unread) = waiting.answers.remove(&self.number) {
            waiting.bytes -= unread.bytes;
        }
        drop(waiting);
        self.connection.end_answer();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use futures_util::future::poll_fn;

    use super::super::connections::tests::pair;
    use super::*;
    use plugbay_domain::TokenId;

    fn answer() -> Bytes {
        Bytes::from(vec![7; 4 * PIECE_BYTES])
    }

    async fn next(pieces: &mut Pieces) -> Option<io::Result<Bytes>> {
        poll_fn(|context| Pin::new(&mut *pieces).poll_next(context)).await
    }

    #[tokio::test]
    async fn who_has_read_nothing_for_longest_is_ended_when_there_is_no_room() {
        let answers = Arc::new(Answers::new(10 * PIECE_BYTES));
        let ((slow, mut theirs), (quick, _quick), (late, _late)) = (pair(), pair(), pair());
        for connection in [&slow, &quick, &late] {
            connection.show(TokenId::generate());
        }
        let mut first = answers.hold(answer(), &quick);
        let mut second = answers.hold(answer(), &slow);
        assert_eq!(next(&mut first).await.unwrap().unwrap().len(), PIECE_BYTES);
        let third = answers.hold(answer(), &late);
        assert!(next(&mut second).await.unwrap().is_err());
        theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "its connection was ended");
        assert_eq!(answers.waiting(false).bytes, 8 * PIECE_BYTES);
        drop((second, third));
        let mut rest = 0;
        while let Some(piece) = next(&mut first).await {
            rest += piece.unwrap().len();
        }
        assert_eq!((rest, answers.waiting(false).bytes), (3 * PIECE_BYTES, 4 * PIECE_BYTES));
        drop(first);
        assert_eq!(answers.waiting(false).bytes, 0);
        assert!(answers.waiting(false).answers.is_empty());
    }

    #[tokio::test]
    async fn a_crowd_of_strangers_ends_no_answer_of_a_caller_and_has_a_bounded_number_under_way() {
        let answers = Arc::new(Answers::new(8 * STRANGERS * PIECE_BYTES));
        let (caller, _theirs) = pair();
        caller.show(TokenId::generate());
        let mut first = answers.hold(answer(), &caller);
        // Each takes a place and reads nothing.
        let mut crowd: Vec<_> =
            (0..100).map(|_| pair()).map(|(stranger, end)| (answers.hold(answer(), &stranger), end)).collect();
        assert_eq!(answers.waiting(true).answers.len(), 2, "of four pieces each in eight");
        let mut under_way = 0;
        for (pieces, _) in &mut crowd {
            under_way += usize::from(next(pieces).await.unwrap().is_ok());
        }
        assert_eq!(under_way, 2);
        assert!(next(&mut first).await.unwrap().is_ok(), "the caller's goes on");
        drop(crowd);
        assert_eq!(answers.waiting(true).bytes, 0);
    }
}
