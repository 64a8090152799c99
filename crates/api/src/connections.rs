//! Connections between requests. The HTTP library limits the time of a connection's first head only: after an answer
//! a client could send the next head byte by byte for ever, or read its answer as slowly, and keep one of the places
//! for connections. What is not back with a whole head in time is cut off.
//!
//! When all places are taken, connections give way to new ones: first those that have never shown a token, of the peer
//! that has the most of them; then idle ones of the token that has the most. What carries a request stays.

use std::any::Any;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix_web::dev::Extensions;
use plugbay_domain::TokenId;
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
    most: usize,
}

/// One connection. It lives as long as the library's own handle of it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    peer: Option<IpAddr>,
    state: Mutex<State>,
    /// The first token that was shown on it.
    shown: OnceLock<TokenId>,
    /// Answers that are being sent.
    answering: AtomicUsize,
}

/// What a connection does, and since when.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Its first head has not arrived yet.
    Fresh(Instant),
    /// A request is being carried out.
    Busy,
    /// The last answer was given.
    Idle(Instant),
}

/// A connection that can give way.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    connection: &'a Arc<Connection>,
    is_fresh: bool,
    since: Instant,
}

impl Connections {
    /// So many connections, kept this long between requests.
    pub(super) fn new(most: usize, keep_alive: Duration) -> Self {
        Self { open: Mutex::default(), keep_alive, most }
    }

    /// How many the library may accept: enough that there is always room to decide who gives way.
    pub(super) fn accepted(most: usize) -> usize {
        most.saturating_add((most / 8).clamp(16, 1024))
    }

    /// Takes note of a new connection.
    pub(super) fn accept(&self, io: &dyn Any, data: &mut Extensions) {
        let io = io.downcast_ref::<actix_web::rt::net::TcpStream>();
        if let Some(io) = io {
            // A part of an answer leaves when it is there: else it waits until the client has told of the one before.
            io.set_nodelay(true).ok();
        }
        let stream = io.map(|io| io.as_fd().try_clone_to_owned());
        // Without a handle of our own, the library's limits alone hold.
        let Some(Ok(stream)) = stream else { return };
        let connection = Arc::new(Connection::new(stream.into()));
        self.add(&connection);
        data.insert(connection);
    }

    fn add(&self, connection: &Arc<Connection>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= self.most {
            open.retain(|connection| connection.strong_count() > 0);
        }
        if open.len() >= self.most {
            let all: Vec<_> = open.iter().filter_map(Weak::upgrade).collect();
            if let Some(victim) = victim(&all) {
                victim.cut();
                open.retain(|connection| !std::ptr::eq(connection.as_ptr(), Arc::as_ptr(victim)));
            }
        }
        open.push(Arc::downgrade(connection));
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
            let State::Idle(since) = connection.state() else { return true };
            let late = now.duration_since(since) > self.keep_alive;
            if late {
                connection.cut();
            }
            !late
        });
    }
}

/// Who gives way to the next connection.
fn victim(all: &[Arc<Connection>]) -> Option<&Arc<Connection>> {
    let candidates = |is_shown: bool| {
        let of = all.iter().filter(move |connection| connection.shown.get().is_some() == is_shown);
        of.filter_map(Connection::candidate).collect::<Vec<_>>()
    };
    let unshown = most_of_one(candidates(false), |connection| connection.peer.map(network));
    let found = if unshown.is_empty() {
        most_of_one(candidates(true), |connection| connection.shown.get().copied())
    } else {
        unshown
    };
    found.into_iter().min_by_key(|candidate| (candidate.is_fresh, candidate.since)).map(|found| found.connection)
}

/// The candidates of the one that has the most of them.
fn most_of_one<'a, K: Eq + Hash + Copy>(
    candidates: Vec<Candidate<'a>>,
    key: impl Fn(&Connection) -> K,
) -> Vec<Candidate<'a>> {
    let mut groups: HashMap<K, Vec<Candidate<'a>>> = HashMap::new();
    for candidate in candidates {
        groups.entry(key(candidate.connection)).or_default().push(candidate);
    }
    groups.into_values().max_by_key(Vec::len).unwrap_or_default()
}

/// What counts as one peer: an address, and of IPv6 the network that one machine gets whole.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let (state, shown) = (Mutex::new(State::Fresh(Instant::now())), OnceLock::new());
        Self { stream, peer, state, shown, answering: AtomicUsize::new(0) }
    }

    /// A request has arrived.
    pub(super) fn begin(&self) {
        self.set(State::Busy);
    }

    /// Its answer is complete, though perhaps not sent.
    pub(super) fn end(&self) {
        self.set(State::Idle(Instant::now()));
    }

    /// A token that is valid came with a request.
    pub(super) fn show(&self, token: TokenId) {
        // The first one counts.
        self.shown.get_or_init(|| token);
    }

    /// Tells whether a token that is valid has come with a request.
    pub(super) fn has_shown(&self) -> bool {
        self.shown.get().is_some()
    }

    /// An answer is being sent, which takes as long as the client takes to read it.
    pub(super) fn begin_answer(&self) {
        self.answering.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer was handed over to the system.
    pub(super) fn end_answer(&self) {
        self.answering.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends the connection.
    pub(super) fn cut(&self) {
        // Fails only if the client was faster.
        self.stream.shutdown(Shutdown::Both).ok();
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

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether it can give way. A token has earned its connection the time to bring the first request, and to read.
    fn candidate(self: &Arc<Self>) -> Option<Candidate<'_>> {
        let is_shown = self.shown.get().is_some();
        let candidate = |is_fresh, since| Some(Candidate { connection: self, is_fresh, since });
        match self.state() {
            State::Busy => None,
            State::Idle(_) if is_shown && self.answering.load(Ordering::Relaxed) > 0 => None,
            State::Idle(since) => candidate(false, since),
            State::Fresh(since) => candidate(true, since),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A connection, and its other end.
    pub(crate) fn pair() -> (Arc<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(Connection::new(listener.accept().unwrap().0)), theirs)
    }

    #[tokio::test]
    async fn parts_of_answers_leave_at_once() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let connections = Connections::new(1, Duration::from_secs(1));
        connections.accept(&io, &mut Extensions::new());
        assert!(io.nodelay().unwrap());
    }

    fn from(peer: &str) -> Arc<Connection> {
        let (connection, _theirs) = pair();
        let mut connection = Arc::into_inner(connection).unwrap();
        connection.peer = Some(peer.parse().unwrap());
        Arc::new(connection)
    }

    fn idle(peer: &str) -> Arc<Connection> {
        let connection = from(peer);
        connection.end();
        connection
    }

    fn shown(token: TokenId) -> Arc<Connection> {
        let connection = idle("10.0.0.9");
        connection.show(token);
        connection
    }

    fn is(found: Option<&Arc<Connection>>, wanted: &Arc<Connection>) -> bool {
        found.is_some_and(|found| Arc::ptr_eq(found, wanted))
    }

    #[test]
    fn those_give_way_first_that_have_shown_no_token_and_are_many() {
        let (token, other) = (TokenId::generate(), TokenId::generate());
        let (alone, first, second) = (idle("10.0.0.1"), idle("10.0.0.2"), idle("10.0.0.2"));
        let mut all = vec![shown(token), alone.clone(), first.clone(), second.clone()];
        assert!(is(victim(&all), &first), "the oldest of the peer with the most");
        // One machine has a whole network of IPv6.
        let six: Vec<_> = (1..=3).map(|last| idle(&format!("2001:db8::{last}"))).collect();
        all.extend(six.clone());
        assert!(is(victim(&all), &six[0]));
        all.truncate(2);
        assert!(is(victim(&all), &alone));
        alone.begin();
        assert!(is(victim(&all), &all[0]), "an idle one with a token, if there is no other");
        let mut tokens = vec![shown(other), shown(token), shown(token)];
        assert!(is(victim(&tokens), &tokens[1]), "the oldest of the token with the most");
        tokens[1].begin();
        tokens[2].begin_answer();
        assert!(is(victim(&tokens), &tokens[0]), "nobody who is being answered");
        tokens.remove(0);
        assert!(victim(&tokens).is_none());
    }

    #[test]
    fn idle_ones_go_before_those_whose_first_head_is_awaited() {
        let (fresh, idle) = (from("10.0.0.1"), idle("10.0.0.1"));
        assert!(is(victim(&[fresh.clone(), idle.clone()]), &idle));
        assert!(is(victim(std::slice::from_ref(&fresh)), &fresh));
    }

    #[test]
    fn a_new_connection_makes_room_for_itself() {
        let connections = Connections::new(2, Duration::from_secs(75));
        let (first, mut theirs) = pair();
        first.end();
        let others = [pair(), pair()];
        connections.add(&first);
        for (connection, _) in &others {
            connection.begin();
            connections.add(connection);
        }
        theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(std::io::Read::read(&mut theirs, &mut [0]).unwrap(), 0, "the idle one was ended");
        assert_eq!(connections.open.lock().unwrap().len(), 2);
    }
}
