//! Who may ask for the addresses of a name, and how often at one time.
//!
//! A name server that never answers holds a lookup for many seconds, and nothing can end it before. So a lookup keeps its
//! place here, and the connection that it is for keeps its own, until it has really ended, however long ago the request
//! behind it was given up. What waits for a place and is given up leaves at once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::exit::Place;
use super::resolver::Resolver;
use plugbay_domain::PluginId;
use plugbay_runtime::shutdown::Shutdown;

/// Lookups of all plugins together at one time.
const OF_PLUGINS: usize = 56;

/// Lookups of one plugin at one time.
const OF_ONE_PLUGIN: usize = 4;

/// Lookups that the service makes for itself at one time. With those of plugins, 64.
const OWN: usize = 8;

/// How long a name that was waited for in vain is not asked for again.
const NOT_AGAIN: Duration = Duration::from_secs(30);

/// Names of one asker that are remembered as such; the oldest is forgotten first.
const REMEMBERED: usize = 64;

/// For whom a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    Plugin(PluginId),
    Service,
}

/// Why there are no addresses.
#[derive(Debug)]
pub(super) enum NoAddress {
    /// The name servers say so, or the machine could not ask.
    Failed(io::Error),
    /// Nothing was heard in time.
    TimedOut,
    /// The name timed out a moment ago.
    StillSilent { seconds: u64 },
}

/// Looks names up, within shares.
#[derive(Debug)]
pub(super) struct Lookups {
    resolver: Arc<dyn Resolver>,
    shutdown: Shutdown,
    shares: Arc<Shares>,
}

/// The places for lookups.
#[derive(Debug, Default)]
struct Shares(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    of_plugins: usize,
    askers: HashMap<Asker, Asking>,
    /// In the order they came. No longer than connections have places, since each of them holds one.
    waiting: VecDeque<(Asker, oneshot::Sender<Turn>)>,
}

#[derive(Debug, Default)]
struct Asking {
    running: usize,
    silent: VecDeque<(String, Instant)>,
}

/// A place for one lookup; the next one has it when it is dropped.
#[derive(Debug)]
struct Turn {
    shares: Arc<Shares>,
    asker: Asker,
}

impl Lookups {
    pub(super) fn new(resolver: Arc<dyn Resolver>, shutdown: Shutdown) -> Self {
        Self { resolver, shutdown, shares: Arc::default() }
    }

    /// The addresses of a name, if they are known until `deadline`. `place` is held until the lookup has ended.
    pub(super) async fn find(
        &self,
        asker: Asker,
        place: Option<Place>,
        name: &str,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, NoAddress> {
        if let Some(seconds) = self.shares.silent_for(asker, name, Instant::now()) {
            return Err(NoAddress::StillSilent { seconds });
        }
        // A name that was not asked for is not to blame.
        let turn = timeout_at(deadline, self.shares.turn(asker)).await.map_err(|_elapsed| NoAddress::TimedOut)?;
        let (answer, answered) = oneshot::channel();
        let (resolver, shares, asked) = (Arc::clone(&self.resolver), Arc::clone(&self.shares), name.to_owned());
        self.shutdown.spawn("egress.lookup", |stop| async move {
            let found = stop.run_until_cancelled(resolver.resolve(&asked)).await;
            drop((turn, place));
            let Some(found) = found else { return };
            if found.is_ok() {
                shares.heard(asker, &asked);
            }
            answer.send(found).ok();
        });
        match timeout_at(deadline, answered).await {
            Ok(Ok(found)) => found.map_err(NoAddress::Failed),
            Ok(Err(_stopped)) => Err(NoAddress::Failed(io::Error::other("the service is stopping"))),
            Err(_elapsed) => {
                self.shares.not_heard(asker, name, Instant::now());
                Err(NoAddress::TimedOut)
            }
        }
    }
}

impl Shares {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, as soon as there is one.
    async fn turn(self: &Arc<Self>, asker: Asker) -> Turn {
        loop {
            let given = {
                let mut state = self.state();
                state.waiting.retain(|(_, waiting)| !waiting.is_closed());
                if state.may_begin(asker) {
                    state.begin(asker);
                    return Turn { shares: Arc::clone(self), asker };
                }
                let (give, given) = oneshot::channel();
                state.waiting.push_back((asker, give));
                given
            };
            if let Ok(turn) = given.await {
                return turn;
            }
        }
    }

    /// Takes a place back and gives what is free to those who waited for it longest.
    fn end(self: &Arc<Self>, asker: Asker) {
        let mut given_up = Vec::new();
        let mut state = self.state();
        state.end(asker);
        state.waiting.retain(|(_, waiting)| !waiting.is_closed());
        while let Some(next) = state.waiting.iter().position(|(asker, _)| state.may_begin(*asker)) {
            let Some((asker, give)) = state.waiting.remove(next) else { break };
            state.begin(asker);
            // Comes back from those who gave up in this very moment; dropped outside of the lock, which it takes.
            given_up.extend(give.send(Turn { shares: Arc::clone(self), asker }).err());
        }
        drop(state);
        drop(given_up);
    }

    /// For how many seconds a name is not asked for.
    fn silent_for(&self, asker: Asker, name: &str, now: Instant) -> Option<u64> {
        let state = self.state();
        let (_, until) = state.askers.get(&asker)?.silent.iter().find(|(silent, _)| silent == name)?;
        let left = until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        Some(left.as_secs().max(1))
    }

    fn not_heard(&self, asker: Asker, name: &str, now: Instant) {
        let mut state = self.state();
        for asking in state.askers.values_mut() {
            asking.silent.retain(|(_, until)| *until > now);
        }
        state.askers.retain(|_, asking| !asking.is_idle());
        let silent = &mut state.askers.entry(asker).or_default().silent;
        silent.retain(|(known, _)| known != name);
        if silent.len() >= REMEMBERED {
            silent.pop_front();
        }
        silent.push_back((name.to_owned(), now + NOT_AGAIN));
    }

    fn heard(&self, asker: Asker, name: &str) {
        if let Some(asking) = self.state().askers.get_mut(&asker) {
            asking.silent.retain(|(known, _)| known != name);
        }
    }
}

impl State {
    /// A plugin may have as many as it leaves free, up to its own limit: however many plugins wait for silent servers,
    /// whoever comes next finds a place.
    fn may_begin(&self, asker: Asker) -> bool {
        let own = self.askers.get(&asker).map_or(0, |asking| asking.running);
        match asker {
            Asker::Service => own < OWN,
            Asker::Plugin(_) => own < OF_ONE_PLUGIN && own < OF_PLUGINS.saturating_sub(self.of_plugins),
        }
    }

    fn begin(&mut self, asker: Asker) {
        self.of_plugins += usize::from(matches!(asker, Asker::Plugin(_)));
        self.askers.entry(asker).or_default().running += 1;
    }

    fn end(&mut self, asker: Asker) {
        self.of_plugins -= usize::from(matches!(asker, Asker::Plugin(_)));
        if let Some(asking) = self.askers.get_mut(&asker) {
            asking.running -= 1;
            if asking.is_idle() {
                self.askers.remove(&asker);
            }
        }
    }
}

impl Asking {
    fn is_idle(&self) -> bool {
        self.running == 0 && self.silent.is_empty()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shares.end(self.asker);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn plugin() -> Asker {
        Asker::Plugin(PluginId::generate())
    }

    /// As many places as there are for an asker just now.
    fn take(shares: &Arc<Shares>, asker: Asker) -> Vec<Turn> {
        std::iter::from_fn(|| shares.turn(asker).now_or_never()).collect()
    }

    #[tokio::test]
    async fn whoever_comes_next_finds_a_place_however_many_have_four() {
        let shares = Arc::<Shares>::default();
        let mut held: Vec<_> = (0..13).map(|_| take(&shares, plugin())).collect();
        assert!(held.iter().all(|turns| turns.len() == OF_ONE_PLUGIN));
        held.extend((0..2).map(|_| take(&shares, plugin())));
        // Of the last four the first to come leaves as many as it has, and so does the next.
        assert_eq!(held[13..].iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(take(&shares, plugin()).len(), 1, "the last one is for who has none");
        assert_eq!(take(&shares, Asker::Service).len(), OWN, "those of the service are its own");
        drop(held);
        let state = shares.state();
        assert_eq!((state.of_plugins, state.askers.len(), state.waiting.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_place_and_who_gave_up_none() {
        let shares = Arc::<Shares>::default();
        let loud = plugin();
        let mut held = take(&shares, loud);
        let mut first = Box::pin(shares.turn(loud));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(shares.turn(loud));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        held.pop();
        held.push(second.now_or_never().expect("the place is for the one that still waits"));
        assert!(shares.turn(loud).now_or_never().is_none());
        drop(held);
        assert_eq!(shares.state().of_plugins, 0);
    }

    #[tokio::test]
    async fn names_that_were_not_heard_of_are_forgotten_in_time_and_by_number() {
        let shares = Arc::<Shares>::default();
        let (asker, now) = (plugin(), Instant::now());
        shares.not_heard(asker, "a.example", now);
        assert_eq!(shares.silent_for(asker, "a.example", now), Some(30));
        assert_eq!(shares.silent_for(plugin(), "a.example", now), None, "nothing is learned of what others asked");
        assert_eq!(shares.silent_for(asker, "a.example", now + NOT_AGAIN), None);
        shares.heard(asker, "a.example");
        assert_eq!(shares.silent_for(asker, "a.example", now), None);
        for number in 0..1_000 {
            shares.not_heard(asker, &format!("{number}.example"), now);
        }
        assert_eq!(shares.state().askers[&asker].silent.len(), REMEMBERED);
        shares.not_heard(plugin(), "b.example", now + NOT_AGAIN);
        assert_eq!(shares.state().askers.len(), 1);
    }
}
