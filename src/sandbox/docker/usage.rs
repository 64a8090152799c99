//! What a container uses, from two samples of its counters.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::ContainerStatsResponse;

use crate::sandbox::Usage;

/// Docker counts once in a second, and lets who asks more often wait for it.
const INTERVAL: Duration = Duration::from_secs(1);

/// The last sample of each container.
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

    /// Reads one answer. `None` if it holds no counters, as of a container that does not run.
    ///
    /// The first answer about a container has no percent yet, and says 0.
    pub(super) fn read(&self, id: &str, at: Instant, stats: &ContainerStatsResponse) -> Option<Usage> {
        let cpu_ns = stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
        let memory = stats.memory_stats.as_ref()?;
        let counter = |name: &str| memory.stats.as_ref().and_then(|stats| stats.get(name).copied());
        // The cache of files: first by its name in version 1 of cgroups, then in version 2.
        let cache = counter("total_inactive_file").or_else(|| counter("inactive_file")).unwrap_or_default();
        let memory_bytes = memory.usage?.saturating_sub(cache);
        let pids = stats.pids_stats.as_ref()?.current?;
        let mut samples = self.lock();
        let cpu_percent = samples.get(id).map_or(0.0, |last| last.percent_until(at, cpu_ns));
        let usage = Usage { cpu_percent, memory_bytes, pids };
        samples.insert(id.to_owned(), Sample { at, cpu_ns, usage });
        Some(usage)
    }

    /// Forgets a container.
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
    use serde_json::json;

    use super::*;

    fn stats(cpu_ns: u64, cache: &str) -> ContainerStatsResponse {
        let stats = json!({
            "cpu_stats": { "cpu_usage": { "total_usage": cpu_ns } },
            "memory_stats": { "usage": 5_000, "stats": { cache: 2_000 } },
            "pids_stats": { "current": 7 },
        });
        serde_json::from_value(stats).unwrap()
    }

    #[test]
    fn two_samples_tell_the_share_of_a_processor() {
        let (samples, start) = (Samples::default(), Instant::now());
        let second = Duration::from_secs(1);
        let percent = |at: Instant, cpu_ns| {
            let found = samples.read("a", at, &stats(cpu_ns, "inactive_file")).unwrap();
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

    #[test]
    fn the_cache_is_not_counted() {
        for cache in ["total_inactive_file", "inactive_file"] {
            let usage = Samples::default().read("a", Instant::now(), &stats(1, cache)).unwrap();
            assert_eq!((usage.memory_bytes, usage.pids), (3_000, 7));
        }
    }

    #[test]
    fn what_is_not_told_is_not_taken_for_nothing() {
        let read = |stats: serde_json::Value| {
            Samples::default().read("a", Instant::now(), &serde_json::from_value(stats).unwrap())
        };
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({ "cpu_stats": { "cpu_usage": { "total_usage": 0 } }, "memory_stats": {} })), None);
    }
}
