//! How many requests a token may send.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use plugbay_domain::{PluginId, RequestRate, TokenId};
use plugbay_registry::Caller;

use super::problem::Problem;

/// Whose requests are counted together. Calls count for their plugin: a host application with one token floods one plugin
/// and must still be able to call the others.
type Bucket = (TokenId, Option<PluginId>);

type Limiter = RateLimiter<Bucket, HashMapStateStore<Bucket>, DefaultClock>;

/// One bucket for each token, and one for each plugin that it calls; a second's worth may come at once.
#[derive(Debug)]
pub(crate) struct Rates {
    /// For tokens without a rate of their own.
    usual: Option<NonZeroU32>,
    /// One for each rate that a token in use has: no more than there are tokens, and their rates do not change.
    limiters: Mutex<HashMap<NonZeroU32, Arc<Limiter>>>,
}

impl Rates {
    /// This rate for tokens that have none of their own; none for 0.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { usual: NonZeroU32::new(per_second), limiters: Mutex::default() }
    }

    /// Takes one request out of its bucket.
    pub(super) fn admit(&self, caller: &Caller, called: Option<PluginId>) -> Result<(), Problem> {
        let rate = caller.rate.map_or(self.usual, RequestRate::per_second);
        let Some(per_second) = rate else { return Ok(()) };
        self.limiter(per_second).check_key(&(caller.token, called)).map_err(|refused| {
            let wait: Duration = refused.wait_time_from(DefaultClock::default().now());
            Problem::rate_limited(wait.as_secs() + 1, per_second.get(), called.is_some())
        })
    }

    fn limiter(&self, per_second: NonZeroU32) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let limiter = limiters.entry(per_second);
        Arc::clone(limiter.or_insert_with(|| Arc::new(RateLimiter::hashmap(Quota::per_second(per_second)))))
    }
}
