//! Times as they are typed: a while from or before now, or a point in time.

use std::time::Duration;

use super::failure::{Failure, Local};
use crate::domain::{TimeError, Timestamp};

/// A time to come: `90d`, `12h`, `30m`, or RFC 3339.
pub(super) fn future(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    read_while(text).map_or_else(|| read_time(flag, text), |time| Ok(now.plus(time)))
}

/// A time that has passed: `10m` for ten minutes ago, or RFC 3339.
pub(super) fn past(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    read_while(text).map_or_else(|| read_time(flag, text), |time| Ok(now.minus(time)))
}

fn read_while(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        'd' => 24 * 3600,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}

fn read_time(flag: &str, text: &str) -> Result<Timestamp, Failure> {
    let failed =
        |error: TimeError| Failure::local(Local::Usage, format!("{flag}: {error}"), "say 90d, 12h, 30m, or a time");
    text.parse().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_while_or_a_time() {
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let read = |text: &str| future("--expires", text, now).map(|time| time.to_string()).ok();
        assert_eq!(read("90d").as_deref(), Some("2027-02-18T00:00:00.000Z"));
        assert_eq!(read("12h").as_deref(), Some("2026-11-20T12:00:00.000Z"));
        assert_eq!(read("2027-01-01T00:00:00Z").as_deref(), Some("2027-01-01T00:00:00.000Z"));
        for text in ["", "d", "90", "90y", "-1d", "99999999999999999999d", "soon", "9µ"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(past("--since", "10m", now).unwrap().to_string(), "2026-11-19T23:50:00.000Z");
    }
}
