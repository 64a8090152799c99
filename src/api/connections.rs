//! Connections between requests. The HTTP library limits the time of a connection's first head only: after an answer
//! a client could send the next head byte by byte for ever, or read its answer as slowly, and keep one of the places
//! for connections. What is not back with a whole head in time is cut off.

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::dev::Extensions;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

/// How often connections are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How often a running call looks whether its caller is still there.
const GONE_TICK: Duration = Duration::from_millis(100);

/// How long the answer for a client that sends no more may take. It cannot be told from one that has gone.
const HALF_CLOSED_GRACE: Duration = Duration::from_millis(500);

/// Every open connection.
#[derive(Debug)]
pub(super) struct Connections {
    open: Mutex<Vec<Weak<Connection>>>,
    keep_alive: Duration,
}

/// One connection. It lives as long as the library's own handle of it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// When the last answer was given; nothing while a request is being carried out.
    answered: Mutex<Option<Instant>>,
}

impl Connections {
    /// Connections that are kept this long between requests.
    pub(super) fn new(keep_alive: Duration) -> Self {
        Self { open: Mutex::default(), keep_alive }
    }

    /// Takes note of a new connection.
    pub(super) fn accept(&self, io: &dyn Any, data: &mut Extensions) {
        let stream = io.downcast_ref::<actix_web::rt::net::TcpStream>().map(|io| io.as_fd().try_clone_to_owned());
        // Without a handle of our own, the library's limits alone hold.
        let Some(Ok(stream)) = stream else { return };
        let connection = Arc::new(Connection { stream: stream.into(), answered: Mutex::default() });
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&connection));
        data.insert(connection);
    }

    /// Cuts off what has been without a request for too long, until asked to stop.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            self.cut_late(Instant::now());
        }
    }

    fn cut_late(&self, now: Instant) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let late = connection.answered().is_some_and(|answered| now.duration_since(answered) > self.keep_alive);
            if late {
                // Fails only if the client was faster.
                connection.stream.shutdown(Shutdown::Both).ok();
            }
            !late
        });
    }
}

impl Connection {
    /// A request has arrived.
    pub(super) fn begin(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Its answer is complete, though perhaps not sent.
    pub(super) fn end(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Completes when the client has closed the connection, or its own sending side for good: clients that half-close
    /// still get an answer that comes soon.
    pub(super) async fn gone(&self) {
        let mut closed_since: Option<Instant> = None;
        loop {
            // Most calls are over before this is asked for the first time.
            tokio::time::sleep(GONE_TICK).await;
            let flags = PollFlags::RDHUP;
            let mut asked = [PollFd::new(&self.stream, flags)];
            let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut asked, Some(&no_wait)).is_err() {
                continue;
            }
            let found = asked[0].revents();
            if found.intersects(PollFlags::HUP | PollFlags::ERR) {
                return;
            }
            let half_closed = found.contains(PollFlags::RDHUP);
            closed_since = half_closed.then(|| closed_since.unwrap_or_else(Instant::now));
            if closed_since.is_some_and(|since| since.elapsed() >= HALF_CLOSED_GRACE) {
                return;
            }
        }
    }

    fn answered(&self) -> Option<Instant> {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
