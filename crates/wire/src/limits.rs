//! What plugins get when they run, and who decided it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use plugbay_domain::{ResourceCeiling, ResourceLimits, ResourceRequest};

/// What a plugin gets when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Processors, as a quota.
    pub cpus: f64,
    /// Weight against other plugins.
    pub cpu_shares: u64,
    /// Processes and threads.
    pub pids: u64,
    /// `/tmp` in MiB.
    pub tmp_mb: u64,
    /// `/data` in MiB.
    pub data_mb: u64,
    /// Longest call.
    pub timeout_seconds: u64,
    /// Calls in flight.
    pub max_concurrency: u64,
    /// Calls in flight beside them that last as long as there is something to say.
    pub max_streams: u64,
}

impl From<ResourceLimits> for Limits {
    fn from(limits: ResourceLimits) -> Self {
        let ResourceLimits {
            memory_mb,
            cpus,
            cpu_shares,
            pids,
            tmp_mb,
            data_mb,
            timeout_seconds,
            max_concurrency,
            max_streams,
        } = limits;
        Self { memory_mb, cpus, cpu_shares, pids, tmp_mb, data_mb, timeout_seconds, max_concurrency, max_streams }
    }
}

/// Some limits. One that is absent or `null` is left to whoever decides next: the manifest, then the operator's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsChange {
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 512)]
    pub memory_mb: Option<u64>,
    /// Processors, as a quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Weight against other plugins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// `/tmp` in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmp_mb: Option<u64>,
    /// `/data` in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_mb: Option<u64>,
    /// Longest call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Calls in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u64>,
    /// Calls in flight beside them that last as long as there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u64>,
}

impl From<ResourceRequest> for LimitsChange {
    fn from(request: ResourceRequest) -> Self {
        let ResourceRequest {
            memory_mb,
            cpus,
            cpu_shares,
            pids,
            tmp_mb,
            data_mb,
            timeout_seconds,
            max_concurrency,
            max_streams,
        } = request;
        Self { memory_mb, cpus, cpu_shares, pids, tmp_mb, data_mb, timeout_seconds, max_concurrency, max_streams }
    }
}

impl From<LimitsChange> for ResourceRequest {
    fn from(change: LimitsChange) -> Self {
        let LimitsChange {
            memory_mb,
            cpus,
            cpu_shares,
            pids,
            tmp_mb,
            data_mb,
            timeout_seconds,
            max_concurrency,
            max_streams,
        } = change;
        Self { memory_mb, cpus, cpu_shares, pids, tmp_mb, data_mb, timeout_seconds, max_concurrency, max_streams }
    }
}

/// The most that can be set; `cpu_shares` is only a weight and has no ceiling, nor has `max_streams`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitsCeiling {
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Processors, as a quota.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u64,
    /// `/tmp` in MiB.
    pub tmp_mb: u64,
    /// `/data` in MiB.
    pub data_mb: u64,
    /// Longest call.
    pub timeout_seconds: u64,
    /// Calls in flight.
    pub max_concurrency: u64,
}

impl From<ResourceCeiling> for LimitsCeiling {
    fn from(ceiling: ResourceCeiling) -> Self {
        let ResourceCeiling { memory_mb, cpus, pids, tmp_mb, data_mb, timeout_seconds, max_concurrency } = ceiling;
        Self { memory_mb, cpus, pids, tmp_mb, data_mb, timeout_seconds, max_concurrency }
    }
}

/// What a plugin gets when it runs, and who decided it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LimitsView {
    /// What holds.
    pub limits: Limits,
    /// What the operator set for this plugin.
    #[serde(rename = "override")]
    pub overridden: LimitsChange,
    /// What the manifest asks for.
    pub manifest: LimitsChange,
    /// The most that can be set.
    pub ceiling: LimitsCeiling,
}
