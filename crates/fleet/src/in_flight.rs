//! The places for calls of all plugins together, and how plugins share them. No call waits for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Member;

/// How many calls are under way, running or waiting.
#[derive(Debug)]
pub(crate) struct InFlight {
    most: usize,
    taken: AtomicUsize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Every place is taken.
    Full,
    /// The plugin has this many, and no more than that are free for everybody.
    Share(usize),
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(crate) struct InFlightPlace {
    all: Arc<InFlight>,
    member: Arc<Member>,
}

impl InFlight {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    /// All places.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Calls under way.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether a plugin with so many calls under way may have one more. It may have as many as it leaves free: a flooded
    /// plugin ends at half of all, two at a third each, and whoever comes next always finds places.
    fn judge(&self, own: usize, taken: usize) -> Result<(), NoPlace> {
        match self.most.saturating_sub(taken) {
            0 => Err(NoPlace::Full),
            free if own < free => Ok(()),
            _ => Err(NoPlace::Share(own)),
        }
    }

    /// Whether there is a place for a call of the plugin just now.
    pub(crate) fn check(&self, member: &Member) -> Result<(), NoPlace> {
        self.judge(member.taken.load(Ordering::Relaxed), self.taken.load(Ordering::Relaxed))
    }

    /// Takes a place for a call of the plugin.
    pub(crate) fn enter(self: &Arc<Self>, member: &Arc<Member>) -> Result<InFlightPlace, NoPlace> {
        let own = member.taken.fetch_add(1, Ordering::Relaxed);
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = InFlightPlace { all: Arc::clone(self), member: Arc::clone(member) };
        self.judge(own, taken).map(|()| place)
    }
}

impl Drop for InFlightPlace {
    fn drop(&mut self) {
        self.member.taken.fetch_sub(1, Ordering::Relaxed);
        self.all.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets plugins in turns take all that they get.
    fn shares(most: usize, plugins: usize) -> Vec<usize> {
        let places = InFlight::new(most);
        let mut own = vec![0; plugins];
        loop {
            let mut grown = false;
            for index in 0..plugins {
                if places.judge(own[index], own.iter().sum()).is_ok() {
                    own[index] += 1;
                    grown = true;
                }
            }
            if !grown {
                return own;
            }
        }
    }

    #[test]
    fn flooded_plugins_leave_as_much_as_each_of_them_has() {
        assert_eq!(shares(4096, 1), [2048]);
        assert_eq!(shares(90, 2), [30, 30]);
        assert_eq!(shares(100, 3), [25; 3]);
    }

    #[test]
    fn a_plugin_without_calls_finds_a_place_as_long_as_one_is_free() {
        let places = InFlight::new(3);
        assert_eq!(places.judge(0, 2), Ok(()));
        assert_eq!(places.judge(0, 3), Err(NoPlace::Full));
        assert_eq!(places.judge(2, 2), Err(NoPlace::Share(2)));
        assert_eq!(InFlight::new(1).judge(0, 0), Ok(()));
    }
}
