//! What plugins run in. [`SandboxSpec`] says what a sandbox must be and starts fully closed; an engine makes it so and
//! proves it. The caller owns the instance directory with its sockets, and ends what it started.

mod auto;
mod docker;
mod inside;
mod process;
mod report;
mod runtime;
mod samples;
mod seccomp;
mod spec;
#[cfg(test)]
mod testing;
mod volume;

use std::fmt;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::Serialize;
use serde_json::Value;

pub use auto::AutoEngine;
pub use docker::DockerEngine;
pub use plugbay_domain::FolderAccess;
pub use process::{MissingLibraries, Place, ProcessEngine};
pub use runtime::{RuntimeFiles, RuntimeFilesError};
pub use spec::{EntryPoint, FolderMount, Network, SandboxSpec};
pub use volume::{DataMount, DataQuota, Measured, VolumeError, VolumeLease, VolumeOrder, Volumes};

use plugbay_domain::{Code, Isolation, Refusal, SessionId};

/// What an engine answers, later.
pub type EngineFuture<'a, T> = BoxFuture<'a, Result<T, SandboxError>>;

/// What runs sandboxes.
pub trait Sandbox: fmt::Debug + Send + Sync {
    /// What stands between its plugins and the machine; `None` while that is not decided.
    fn isolation(&self) -> Option<Isolation>;

    /// Asks the engine who it is and whether it can do what a sandbox needs.
    fn probe(&self) -> EngineFuture<'_, EngineInfo>;

    /// Exactly what would be sent to the engine.
    fn plan<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, Value>;

    /// Makes and starts a sandbox, after the engine's answers were compared with the specification.
    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, RunningSandbox>;

    /// Gives a sandbox the processors of another [`Pace`]. Sandboxes are started hurried.
    fn pace<'a>(&'a self, id: &'a str, spec: &'a SandboxSpec, pace: Pace) -> EngineFuture<'a, ()>;

    /// Compares what the shim saw inside with the specification.
    fn check_report(&self, spec: &SandboxSpec, report: &Value) -> Result<(), SandboxError>;

    /// Waits for the end of a sandbox, without a limit of time.
    fn wait<'a>(&'a self, id: &'a str) -> EngineFuture<'a, SandboxExit>;

    /// Kills and removes a sandbox. One that is gone already counts as removed.
    fn remove<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()>;

    /// Freezes everything in a sandbox: it neither computes nor asks for anything until it is resumed.
    fn pause<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()>;

    /// Lets a frozen sandbox go on.
    fn resume<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()>;

    /// What a running sandbox uses.
    fn usage<'a>(&'a self, id: &'a str) -> EngineFuture<'a, Usage>;

    /// Every sandbox of this service, running or not. Those of others are never listed.
    fn list(&self) -> EngineFuture<'_, Vec<FoundSandbox>>;

    /// Hints that something happened to a sandbox of this service; ends when the engine goes away.
    fn events(&self) -> EngineFuture<'_, BoxStream<'static, SandboxEvent>>;
}

/// Who the engine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineInfo {
    /// Its name and version, such as `Docker 20.10.24`.
    pub name: String,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// The lowest uid plugins may have under this engine's mapping of users.
    pub uid_base: u32,
    /// Processors of the machine.
    pub cpus: u32,
}

/// A sandbox that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningSandbox {
    /// The engine's id.
    pub id: String,
    /// Its first process as the service sees it; the peer of `host.sock` must be this.
    pub pid: i32,
    /// The image it was made from, by content; under the process engine, the folder of its root file system.
    pub image: String,
    /// What the operator allowed to be missing.
    pub weaker: Vec<String>,
}

/// How much of the processors a sandbox has beside others. Starts and ends are short, and an operator waits for them: with
/// the weight of one plugin among busy ones, half a second of work would take many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// While it starts or ends.
    Hurried,
    /// As its limits say.
    Usual,
}

/// How a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxExit {
    /// The exit code of its first process.
    pub exit_code: i64,
    /// Whether the engine says that memory ran out. Also true when only a child was killed for it.
    pub out_of_memory: bool,
}

/// What a sandbox uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Percent of one processor.
    pub cpu_percent: f64,
    /// Without the cache that the kernel takes back by itself.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// A sandbox of this service that the engine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSandbox {
    /// The engine's id.
    pub id: String,
    /// The session it was made for, if its label can be read.
    pub session: Option<SessionId>,
    /// Whether the engine has frozen it.
    pub paused: bool,
    /// Whether its first process runs.
    pub running: bool,
}

/// What happened to a sandbox. A hint: listing tells the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxEvent {
    /// The engine's id of the sandbox.
    pub id: String,
    /// The engine's word, such as `die` or `pause`.
    pub what: String,
}

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Nobody answers.
    #[error("{engine} cannot be reached at {address}")]
    Unavailable {
        /// Which engine.
        engine: &'static str,
        /// Where it was looked for.
        address: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers, and cannot do what is needed.
    #[error("{engine} {problem}")]
    TooOld {
        /// Which engine.
        engine: &'static str,
        /// What it lacks.
        problem: String,
        /// What helps.
        how: String,
    },
    /// Neither engine works.
    #[error("{docker}; {process}")]
    NoEngine {
        /// Why Docker does not.
        docker: Box<SandboxError>,
        /// Why the process engine does not.
        process: Box<SandboxError>,
    },
    /// The image is not there.
    #[error("the image `{image}` is not there")]
    ImageMissing {
        /// Its name.
        image: String,
    },
    /// What came out differs from what was specified.
    #[error("the sandbox is weaker than specified: {}", differences.join("; "))]
    Weaker {
        /// Each with what was wanted and what was found.
        differences: Vec<String>,
    },
    /// It was started and had ended before anybody could look at it.
    #[error("the sandbox ended at once with exit code {}", .0.exit_code)]
    EndedAtOnce(SandboxExit),
    /// It refused or failed.
    #[error("{engine} failed to {action}")]
    Failed {
        /// Which engine.
        engine: &'static str,
        /// What was asked for.
        action: &'static str,
        /// What it answered.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Refusal for SandboxError {
    fn code(&self) -> Code {
        match self {
            Self::Unavailable { .. } | Self::NoEngine { .. } => Code::EngineUnavailable,
            Self::TooOld { .. } => Code::EngineTooOld,
            Self::ImageMissing { .. } => Code::ImageMissing,
            Self::Weaker { .. } => Code::SandboxWeaker,
            Self::EndedAtOnce(_) | Self::Failed { .. } => Code::PluginStartFailed,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Unavailable { source, .. } => {
                source.downcast_ref::<docker::Unreachable>().map(|why| why.how().to_owned())
            }
            Self::NoEngine { docker, process } => Some(Self::how_of_both(docker, process)),
            Self::TooOld { how, .. } => Some(how.clone()),
            Self::ImageMissing { image } if image.starts_with("plugbay/python:") => {
                Some("docker/python/build.sh".to_owned())
            }
            Self::ImageMissing { image } => Some(format!("docker pull {image}")),
            Self::Weaker { .. } | Self::EndedAtOnce(_) | Self::Failed { .. } => None,
        }
    }
}

/// Engines run on this machine, so its kernel is theirs. What cannot be read counts as swap.
fn machine_has_swap() -> bool {
    std::fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1)
}
