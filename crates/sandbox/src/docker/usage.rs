//! What Docker counts of a container.

use bollard::models::ContainerStatsResponse;

use crate::samples::Counters;

/// Reads one answer. `None` if it holds no counters, as of a container that does not run.
pub(super) fn counters(stats: &ContainerStatsResponse) -> Option<Counters> {
    let memory = stats.memory_stats.as_ref()?;
    let counter = |name: &str| memory.stats.as_ref().and_then(|stats| stats.get(name).copied());
    // The cache of files: first by its name in version 1 of cgroups, then in version 2.
    let cache = counter("total_inactive_file").or_else(|| counter("inactive_file")).unwrap_or_default();
    Some(Counters {
        cpu_ns: stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?,
        memory_bytes: memory.usage?.saturating_sub(cache),
        pids: stats.pids_stats.as_ref()?.current?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(stats: serde_json::Value) -> Option<Counters> {
        counters(&serde_json::from_value(stats).unwrap())
    }

    #[test]
    fn the_cache_is_not_counted() {
        for cache in ["total_inactive_file", "inactive_file"] {
            let stats = json!({
                "cpu_stats": { "cpu_usage": { "total_usage": 1 } },
                "memory_stats": { "usage": 5_000, "stats": { cache: 2_000 } },
                "pids_stats": { "current": 7 },
            });
            assert_eq!(read(stats), Some(Counters { cpu_ns: 1, memory_bytes: 3_000, pids: 7 }));
        }
    }

    #[test]
    fn what_is_not_told_is_not_taken_for_nothing() {
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({ "cpu_stats": { "cpu_usage": { "total_usage": 0 } }, "memory_stats": {} })), None);
    }
}
