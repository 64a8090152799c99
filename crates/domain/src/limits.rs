//! Limits as values: what an archive may weigh, what a plugin may ask for.

use serde::{Deserialize, Serialize};

use super::FieldError;

/// What an uploaded archive may weigh. Configured under `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the archive as uploaded. Stops a full disk before anything is read.
    pub upload_bytes: u64,
    /// Bytes of all files together, counted while they are unpacked. Stops bombs.
    pub unpacked_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files and folders together. Stops archives of empty entries.
    pub entries: u64,
    /// Unpacked bytes for one packed byte, looked at past the first MiB unpacked. Stops bombs early.
    pub ratio: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { upload_bytes: 64 * MIB, unpacked_bytes: 512 * MIB, file_bytes: 128 * MIB, entries: 10_000, ratio: 200 }
    }
}

impl ArchiveLimits {
    /// The same without a bound on the upload: what was accepted once is read again after a limit was lowered.
    #[must_use]
    pub const fn without_upload_bound(self) -> Self {
        Self { upload_bytes: u64::MAX, ..self }
    }
}

/// What a running plugin gets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Processors, as a quota.
    pub cpus: f64,
    /// Weight against other plugins when processors are short.
    pub cpu_shares: u64,
    /// Processes and threads.
    pub pids: u64,
    /// `/tmp` in MiB; it counts as memory.
    pub tmp_mb: u64,
    /// `/data` in MiB.
    pub data_mb: u64,
    /// Longest call.
    pub timeout_seconds: u64,
    /// Calls in flight.
    pub max_concurrency: u64,
    /// Calls in flight beside them that last as long as there is something to say.
    #[serde(default = "default_streams")]
    pub max_streams: u64,
}

fn default_streams() -> u64 {
    ResourceLimits::default().max_streams
}

/// What a manifest asks for; what it leaves out comes from the operator's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceRequest {
    /// See [`ResourceLimits::memory_mb`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// See [`ResourceLimits::cpus`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// See [`ResourceLimits::cpu_shares`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// See [`ResourceLimits::pids`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// See [`ResourceLimits::tmp_mb`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmp_mb: Option<u64>,
    /// See [`ResourceLimits::data_mb`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_mb: Option<u64>,
    /// See [`ResourceLimits::timeout_seconds`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// See [`ResourceLimits::max_concurrency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<u64>,
    /// See [`ResourceLimits::max_streams`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u64>,
}

/// The most a manifest may ask for. Configured under `sandbox.ceiling`. `cpu_shares` is only a weight, and streams are
/// bounded by what goes on in the chat: both have none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResourceCeiling {
    /// See [`ResourceLimits::memory_mb`].
    pub memory_mb: u64,
    /// See [`ResourceLimits::cpus`].
    pub cpus: f64,
    /// See [`ResourceLimits::pids`].
    pub pids: u64,
    /// See [`ResourceLimits::tmp_mb`].
    pub tmp_mb: u64,
    /// See [`ResourceLimits::data_mb`].
    pub data_mb: u64,
    /// See [`ResourceLimits::timeout_seconds`].
    pub timeout_seconds: u64,
    /// See [`ResourceLimits::max_concurrency`].
    pub max_concurrency: u64,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            memory_mb: 256,
            cpus: 0.5,
            cpu_shares: 1024,
            pids: 64,
            tmp_mb: 64,
            data_mb: 16,
            timeout_seconds: 30,
            max_concurrency: 16,
            max_streams: 128,
        }
    }
}

impl Default for ResourceCeiling {
    fn default() -> Self {
        Self {
            memory_mb: 2048,
            cpus: 2.0,
            pids: 512,
            tmp_mb: 1024,
            data_mb: 1024,
            timeout_seconds: 600,
            max_concurrency: 256,
        }
    }
}

impl ResourceRequest {
    /// The request with the operator's defaults where it is silent.
    pub fn or(self, defaults: &ResourceLimits) -> ResourceLimits {
        ResourceLimits {
            memory_mb: self.memory_mb.unwrap_or(defaults.memory_mb),
            cpus: self.cpus.unwrap_or(defaults.cpus),
            cpu_shares: self.cpu_shares.unwrap_or(defaults.cpu_shares),
            pids: self.pids.unwrap_or(defaults.pids),
            tmp_mb: self.tmp_mb.unwrap_or(defaults.tmp_mb),
            data_mb: self.data_mb.unwrap_or(defaults.data_mb),
            timeout_seconds: self.timeout_seconds.unwrap_or(defaults.timeout_seconds),
            max_concurrency: self.max_concurrency.unwrap_or(defaults.max_concurrency),
            max_streams: self.max_streams.unwrap_or(defaults.max_streams),
        }
    }
}

impl ResourceLimits {
    /// Every value above the ceiling, by JSON Pointer into the manifest. None is ever lowered silently.
    pub fn above(&self, ceiling: &ResourceCeiling) -> Vec<FieldError> {
        let mut found = Vec::new();
        let mut check = |field: &str, above: bool, asked: String, most: String| {
            if above {
                let message = format!("{asked} is above the operator's ceiling of {most}");
                found.push(FieldError::at(format!("/resources/{field}"), message));
            }
        };
        let whole = [
            ("memory_mb", self.memory_mb, ceiling.memory_mb),
            ("pids", self.pids, ceiling.pids),
            ("tmp_mb", self.tmp_mb, ceiling.tmp_mb),
            ("data_mb", self.data_mb, ceiling.data_mb),
            ("timeout_seconds", self.timeout_seconds, ceiling.timeout_seconds),
            ("max_concurrency", self.max_concurrency, ceiling.max_concurrency),
        ];
        for (field, asked, most) in whole {
            check(field, asked > most, asked.to_string(), most.to_string());
        }
        check("cpus", self.cpus > ceiling.cpus, self.cpus.to_string(), ceiling.cpus.to_string());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_above_the_ceiling_names_each_value() {
        let request = ResourceRequest { memory_mb: Some(4096), cpus: Some(8.0), ..ResourceRequest::default() };
        let found = request.or(&ResourceLimits::default()).above(&ResourceCeiling::default());
        let pointers: Vec<_> = found.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/resources/memory_mb", "/resources/cpus"]);
        assert_eq!(found[0].message, "4096 is above the operator's ceiling of 2048");
    }

    #[test]
    fn the_defaults_are_below_the_ceiling() {
        assert!(ResourceLimits::default().above(&ResourceCeiling::default()).is_empty());
    }
}
