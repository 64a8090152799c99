//! Figures about the service, for programs that watch it: counters and histograms that are counted where something
//! happens, and the page that shows them. Every handle is made once; counting takes no lock and allocates nothing.
//!
//! Names begin with `plugin_` where they are about plugins, with `http_` where they are about requests, else with
//! `plugbay_`, and end with their unit. Labels have values from closed sets: words of this program, addresses of the
//! table of routes, and names of plugins, which only whoever may install makes.

mod histogram;
mod http;
mod page;

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

pub use histogram::Histogram;
pub use http::{HttpMeters, RouteMeter};
pub use page::Page;

use plugbay_domain::{HostFunction, Word, words};

words! {
    /// What became of a start.
    StartOutcome {
        /// The plugin is active.
        Active = "active",
        /// The plugin did not start.
        Plugin = "plugin_failed",
        /// Something around it failed, such as an image that is not there.
        Surroundings = "surroundings_failed",
        /// The engine does not answer.
        Engine = "engine_away",
    }
}

words! {
    /// What became of a request to a host function.
    HostOutcome {
        /// It was answered.
        Ok = "ok",
        /// Nobody granted it.
        Denied = "denied",
        /// It does not fit, or a limit would be broken.
        Refused = "refused",
        /// Its time was over.
        Late = "late",
        /// The service could not do it.
        Failed = "failed",
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a word stands in its set.
fn place<L: Word + PartialEq>(label: L) -> usize {
    L::ALL.iter().position(|known| *known == label).unwrap_or_default()
}

/// A counter for each word of a set.
#[derive(Debug)]
pub struct Counters<L>(Box<[Counter]>, PhantomData<L>);

impl<L: Word + PartialEq> Default for Counters<L> {
    fn default() -> Self {
        Self(L::ALL.iter().map(|_| Counter::default()).collect(), PhantomData)
    }
}

impl<L: Word + PartialEq> Counters<L> {
    /// The counter of a word.
    pub fn of(&self, label: L) -> &Counter {
        &self.0[place(label)]
    }

    /// Every word with its count.
    pub fn each(&self) -> impl Iterator<Item = (L, u64)> {
        L::ALL.iter().zip(&self.0).map(|(label, counter)| (*label, counter.get()))
    }
}

/// A counter for each pair of words.
#[derive(Debug)]
pub struct Pairs<A, B>(Box<[Counters<B>]>, PhantomData<A>);

impl<A: Word + PartialEq, B: Word + PartialEq> Default for Pairs<A, B> {
    fn default() -> Self {
        Self(A::ALL.iter().map(|_| Counters::default()).collect(), PhantomData)
    }
}

impl<A: Word + PartialEq, B: Word + PartialEq> Pairs<A, B> {
    /// The counter of a pair.
    pub fn of(&self, first: A, second: B) -> &Counter {
        self.0[place(first)].of(second)
    }

    /// Every pair that was counted.
    pub fn each(&self) -> impl Iterator<Item = (A, B, u64)> {
        let rows = A::ALL.iter().zip(&self.0);
        rows.flat_map(|(first, row)| row.each().map(|(second, count)| (*first, second, count)))
            .filter(|(_, _, count)| *count > 0)
    }
}

/// Starts of sandboxes, over all plugins.
#[derive(Debug)]
pub struct StartMeters {
    /// How they ended.
    pub outcomes: Counters<StartOutcome>,
    /// Seconds of those that ended well.
    pub seconds: Histogram,
}

impl Default for StartMeters {
    fn default() -> Self {
        Self { outcomes: Counters::default(), seconds: Histogram::new(&histogram::STARTS) }
    }
}

/// Requests to host functions, over all plugins.
pub type HostMeters = Pairs<HostFunction, HostOutcome>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_by_themselves() {
        let meters = HostMeters::default();
        meters.of(HostFunction::of("kv.get"), HostOutcome::Ok).add_one();
        meters.of(HostFunction::of("rm -rf"), HostOutcome::Refused).add_one();
        meters.of(HostFunction::of("rm -rf"), HostOutcome::Refused).add_one();
        let found: Vec<_> =
            meters.each().map(|(function, outcome, count)| (function.as_str(), outcome, count)).collect();
        assert_eq!(found, [("kv.get", HostOutcome::Ok, 1), ("unknown", HostOutcome::Refused, 2)]);
    }
}
