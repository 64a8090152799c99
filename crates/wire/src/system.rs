//! The service itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether the service is alive, and how its plugins are.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `healthy` or `degraded`.
    #[schema(example = "healthy")]
    pub status: String,
    /// The service's time.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Enabled plugins by name.
    pub plugins: BTreeMap<String, PluginHealth>,
}

/// How one plugin is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PluginHealth {
    /// What is true now.
    pub state: String,
    /// What it says of itself; `null` while nothing runs.
    #[serde(default)]
    pub health: Option<HealthWord>,
}

/// One word about how a plugin is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthWord {
    /// `healthy`, `degraded` or `unhealthy`.
    #[schema(example = "healthy")]
    pub status: String,
}

/// Whether the service can do its work, and what is missing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Everything it needs is there.
    pub ready: bool,
    /// `ok`, or what is wrong and how to mend it.
    pub checks: BTreeMap<String, String>,
}

/// What is running here.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct System {
    /// Version of plugbay.
    pub version: String,
    /// What plugins run in.
    #[serde(default)]
    #[schema(example = "docker")]
    pub engine: String,
    /// What stands between plugins and the machine; `null` when the engine does not answer.
    #[serde(default)]
    #[schema(example = "docker")]
    pub isolation: Option<String>,
    /// Started with `--insecure-dev`.
    pub insecure_dev: bool,
    /// `required` or `off`.
    #[schema(example = "required")]
    pub signatures: String,
    /// MiB that an archive may have to be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 64)]
    pub upload_mb: Option<u64>,
    /// When it was started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// What was checked.
    pub doctor: Vec<Check>,
}

/// One thing that was checked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What.
    pub check: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
}

impl Check {
    /// Whether nothing has to be done. The checks `docker` and `process` tell what each engine can do; the one in use is
    /// `engine`, and the other may be missing.
    pub fn is_fine(&self) -> bool {
        self.ok || ["docker", "process"].contains(&self.check.as_str())
    }
}
