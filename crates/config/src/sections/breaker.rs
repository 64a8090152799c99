//! `breaker`: when calls are kept from a plugin that only fails.

use std::time::Duration;

use crate::kind::Kind;
use crate::setting::section;
use crate::values::{seconds, small};

section! {
    /// `breaker`.
    #[derive(Clone, Copy, Debug)]
    pub struct BreakerConfig at "breaker" {
        "failures" => failures: u32 {
            kind: Kind::Whole(0, 1_000_000),
            default: 5,
            read: small,
            doc: "Calls of one plugin that fail one after the other (raised, timed out, crashed) until further ones get 503 `breaker-open`. 0: never.",
        }
        "open_seconds" => open: Duration {
            kind: Kind::Whole(1, 86_400),
            default: 60,
            read: seconds,
            doc: "Seconds of 503 `breaker-open` with Retry-After. Then one call is let through: answered, it lets the others follow.",
        }
    }
}
