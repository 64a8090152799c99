//! What is measured of running plugins, and what their sandboxes look like.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a plugin uses now. What is measured is `null` while nothing of it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// What is true now.
    #[schema(example = "active")]
    pub status: String,
    /// Percent of one processor.
    pub cpu_percent: Option<f64>,
    /// The same as `cpu_percent`.
    pub cpu_usage: Option<f64>,
    /// Memory in MiB, without what the kernel takes back by itself.
    pub memory_mb: Option<f64>,
    /// The same as `memory_mb`.
    pub memory_usage_mb: Option<f64>,
    /// The most memory it may use.
    pub memory_limit_mb: u64,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Connections to other hosts that were opened for it since the service started.
    pub network_connections: Option<u64>,
    /// Bytes it has received from other hosts since the service started.
    pub network_rx_bytes: Option<u64>,
    /// Bytes it has sent to other hosts since the service started.
    pub network_tx_bytes: Option<u64>,
    /// What it keeps in `/data`, in MiB; `null` until it has run since the service was started.
    pub data_used_mb: Option<f64>,
    /// The most it may keep there.
    pub data_limit_mb: u64,
    /// What holds it to that: `hard` for the file system, `soft` for the service, which measures.
    #[schema(example = "hard")]
    pub data_quota: Option<String>,
}

/// How a plugin is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PluginHealthView {
    /// What is true now.
    #[schema(example = "active")]
    pub state: String,
    /// What the plugin says of itself; its `status` is `healthy`, `degraded` or `unhealthy`.
    #[schema(value_type = Option<Object>, example = json!({"status": "healthy"}))]
    pub health: Option<Value>,
    /// When it was asked.
    #[schema(format = DateTime)]
    pub checked_at: Option<String>,
    /// Failures since the service started, one entry for each kind.
    pub failures: Vec<FailureCount>,
}

/// Failures of one kind.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FailureCount {
    /// The kind, such as `raised`, `timeout`, `crash`, `out-of-memory` or `protocol`.
    #[schema(example = "raised")]
    pub kind: String,
    /// How many.
    pub count: u64,
    /// When the first happened.
    #[schema(format = DateTime)]
    pub first: String,
    /// When the last happened.
    #[schema(format = DateTime)]
    pub last: String,
    /// What the last one said.
    pub text: String,
}

/// Figures about the calls of a plugin since the service started.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PluginMetrics {
    /// Calls that ended.
    pub invocations: u64,
    /// Calls that were answered.
    pub successes: u64,
    /// Calls that raised, took too long, or ended with the plugin.
    pub failures: u64,
    /// Successes among all calls; `null` before the first.
    pub success_rate: Option<f64>,
    /// Mean time of a call.
    pub avg_execution_time_ms: Option<f64>,
    /// Shortest time of a call.
    pub min_execution_time_ms: Option<f64>,
    /// Longest time of a call.
    pub max_execution_time_ms: Option<f64>,
    /// Calls the plugin is working on.
    pub in_flight: u64,
    /// Answers that came after their caller had gone, from the instance that runs.
    #[serde(default)]
    pub late_answers: u64,
    /// Calls that wait for a place.
    pub queued: u64,
    /// When it was last called.
    #[schema(format = DateTime)]
    pub last_execution: Option<String>,
}

/// The sandbox of a plugin. What belongs to a running one is `null` while nothing runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SandboxView {
    /// The engine.
    #[schema(example = "docker")]
    pub engine: String,
    /// What stands between the plugin and the machine.
    #[schema(example = "docker")]
    pub isolation: Option<String>,
    /// The engine's id of it: of the container, or under the process engine of the session.
    pub container_id: Option<String>,
    /// The image it was made of, by content; under the process engine the folder of its root file system.
    pub image: Option<String>,
    /// What was asked of the engine.
    #[schema(value_type = Option<Object>)]
    pub spec: Option<Value>,
    /// What the sandbox found when it looked at itself.
    #[schema(value_type = Option<Object>)]
    pub report: Option<Value>,
    /// Where it is weaker than it should be, as the operator allows. What is weaker without that does not start.
    pub weaker: Vec<String>,
}

/// What a sandbox would be made of.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SandboxPlan {
    /// The engine.
    #[schema(example = "docker")]
    pub engine: String,
    /// What the engine would be sent, as it would be sent; under the process engine the command that would be started.
    #[schema(value_type = Object)]
    pub body: Value,
}
