//! What a sandbox uses, from two samples of its counters.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Usage;

/// Whoever asks more often gets the last answer: Docker counts once in a second, and lets others wait for it.
const INTERVAL: Duration = Duration::from_secs(1);

/// What an engine counts of one sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// Processor time since it was started.
    pub(super) cpu_ns: u64,
    /// Without the cache that the kernel takes back by itself.
    pub(super) memory_bytes: u64,
    /// Processes and threads.
    pub(super) pids: u64,
}

/// The last sample of each sandbox.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<HashMap<String, Sample>>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    cpu_ns: u64,
    usage: Usage,
}

impl Samples {
    /// What was read within the last second.
    pub(super) fn recent(&self, id: &str, now: Instant) -> Option<Usage> {
        let sample = self.lock().get(id).copied()?;
        (now.saturating_duration_since(sample.at) < INTERVAL).then_some(sample.usage)
    }

    /// Takes one more sample. The first one of a sandbox has no percent yet, and says 0.
    pub(super) fn add(&self, id: &str, at: Instant, counters: Counters) -> Usage {
        let Counters { cpu_ns, memory_bytes, pids } = counters;
        let mut samples = self.lock();
        let cpu_percent = samples.get(id).map_or(0.0, |last| last.percent_until(at, cpu_ns));
        let usage = Usage { cpu_percent, memory_bytes, pids };
        samples.insert(id.to_owned(), Sample { at, cpu_ns, usage });
        usage
    }

    /// Forgets a sandbox.
    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
    fn percent_until(&self, at: Instant, cpu_ns: u64) -> f64 {
        let elapsed = at.saturating_duration_since(self.at);
        // Two that were asked for at once hold the same counters.
        if elapsed < INTERVAL / 2 {
            return self.usage.cpu_percent;
        }
        100.0 * cpu_ns.saturating_sub(self.cpu_ns) as f64 / elapsed.as_nanos() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(cpu_ns: u64) -> Counters {
        Counters { cpu_ns, memory_bytes: 3_000, pids: 7 }
    }

    #[test]
    fn two_samples_tell_the_share_of_a_processor() {
        let (samples, start) = (Samples::default(), Instant::now());
        let second = Duration::from_secs(1);
        let percent = |at: Instant, cpu_ns| {
            let found = samples.add("a", at, counters(cpu_ns));
            format!("{:.0}", found.cpu_percent)
        };
        assert_eq!(percent(start, 4_000_000_000), "0");
        assert_eq!(percent(start + second, 4_500_000_000), "50");
        assert_eq!(samples.recent("a", start + second + INTERVAL / 2).map(|usage| usage.pids), Some(7));
        assert_eq!(samples.recent("a", start + second + INTERVAL), None);
        assert_eq!(percent(start + 2 * second, 6_500_000_000), "200");
        assert_eq!(percent(start + 2 * second + INTERVAL / 4, 6_500_000_000), "200", "too close to the last one");
        assert_eq!(percent(start + 3 * second, 0), "0", "counters that went back");
        samples.forget("a");
        assert_eq!(percent(start + 4 * second, 9_000_000_000), "0");
    }
}
