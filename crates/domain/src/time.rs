//! Points in time, and where they come from.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::escape;

/// A point in time in UTC with milliseconds, written `2026-11-20T10:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(OffsetDateTime);

/// The text is not a point in time.
#[derive(Debug, thiserror::Error)]
#[error("expected an RFC 3339 time such as 2027-01-01T00:00:00Z, found `{found}`")]
pub struct TimeError {
    found: String,
}

impl Timestamp {
    /// Seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// Milliseconds since 1970, as stored.
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
    }

    /// Reads stored milliseconds; values outside the calendar give `None`.
    pub fn from_millis(millis: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok().map(Self)
    }

    /// This time and a while later; the end of the calendar at most.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        time::Duration::try_from(duration).ok().and_then(|duration| self.0.checked_add(duration)).map_or(self, Self)
    }

    /// A while before this time; the beginning of the calendar at least.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        time::Duration::try_from(duration).ok().and_then(|duration| self.0.checked_sub(duration)).map_or(self, Self)
    }

    /// The time that has passed since `earlier`; zero if the clock went back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0 - earlier.0).unwrap_or_default()
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| Self::from_millis(Self(time).as_millis()))
            .ok_or_else(|| TimeError { found: escape(text) })
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        f.write_str(&self.0.to_offset(time::UtcOffset::UTC).format(form).map_err(|_out_of_range| fmt::Error)?)
    }
}

/// Where the time comes from, so that tests can move it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let now = Timestamp(OffsetDateTime::now_utc());
        Timestamp::from_millis(now.as_millis()).unwrap_or(now)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// Starts at the given time.
    pub const fn new(start: Timestamp) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock on.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.plus(duration);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_text_and_millis() {
        let time: Timestamp = "2027-01-01T01:00:00.5+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2027-01-01T00:00:00.500Z");
        assert_eq!(Timestamp::from_millis(time.as_millis()), Some(time));
    }

    #[test]
    fn a_clock_that_went_back_gives_no_negative_duration() {
        let clock = ManualClock::new("2027-01-01T00:00:00Z".parse().unwrap());
        let start = clock.now();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().since(start), Duration::from_secs(5));
        assert_eq!(start.since(clock.now()), Duration::ZERO);
    }
}
