//! How many requests a token may send.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::problem::Problem;
use crate::domain::{PluginId, TokenId};

/// Whose requests are counted together. Calls count for their plugin: a host application with one token floods one plugin
/// and must still be able to call the others.
pub(super) type Bucket = (TokenId, Option<PluginId>);

/// One bucket for each token, and one for each plugin that it calls; a second's worth may come at once.
#[derive(Debug)]
pub(crate) struct Rates(Option<Limited>);

#[derive(Debug)]
struct Limited {
    per_second: NonZeroU32,
    limiter: RateLimiter<Bucket, HashMapStateStore<Bucket>, DefaultClock>,
}

impl Rates {
    /// The same rate for every token; none for 0.
    pub(crate) fn new(per_second: u32) -> Self {
        let limited = |per_second| Limited { per_second, limiter: RateLimiter::hashmap(Quota::per_second(per_second)) };
        Self(NonZeroU32::new(per_second).map(limited))
    }

    /// Takes one request out of its bucket.
    pub(super) fn admit(&self, bucket: Bucket) -> Result<(), Problem> {
        let Some(Limited { per_second, limiter }) = &self.0 else { return Ok(()) };
        limiter.check_key(&bucket).map_err(|refused| {
            let wait: Duration = refused.wait_time_from(DefaultClock::default().now());
            Problem::rate_limited(wait.as_secs() + 1, per_second.get(), bucket.1.is_some())
        })
    }
}
