//! How many requests a token may send in a second.

use std::num::NonZeroU32;

/// Requests per second. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate(u32);

/// The number is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 0 to {} requests per second, found `{found}`", RequestRate::MAX)]
pub struct RequestRateError {
    found: i64,
}

impl RequestRate {
    /// The highest rate.
    pub const MAX: u32 = 1_000_000;

    /// The requests of one second; none where there is no limit.
    pub const fn per_second(self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.0)
    }

    /// The number as it is written.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for RequestRate {
    type Error = RequestRateError;

    fn try_from(found: i64) -> Result<Self, RequestRateError> {
        u32::try_from(found).ok().filter(|rate| *rate <= Self::MAX).map(Self).ok_or(RequestRateError { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_end_at_a_million_and_0_is_no_limit() {
        let of = |number: i64| RequestRate::try_from(number).map(|rate| (rate.get(), rate.per_second()));
        assert_eq!(of(0), Ok((0, None)));
        assert_eq!(of(1_000_000), Ok((1_000_000, NonZeroU32::new(1_000_000))));
        assert_eq!(of(-1), Err(RequestRateError { found: -1 }));
        assert!(of(1_000_001).unwrap_err().to_string().ends_with("found `1000001`"));
    }
}
