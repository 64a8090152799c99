//! Sandboxes without Docker: bubblewrap, prepared by the shim as launcher (`shim/src/launch.rs`), in a cgroup of its own. Weaker
//! than a container, as plugins share the machine's programs and what confines them is one program more; everything
//! shows it as `isolation: process`. `plan.rs` says what is started.
//!
//! A sandbox dies with the service: bubblewrap with the thread that started it, the shim with its socket. What a killed
//! service leaves are cgroups, which are listed like sandboxes and swept like them.

mod bpf;
mod cgroup;
mod hurry;
mod libraries;
mod numbers;
mod plan;
mod probe;
mod running;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::FutureExt as _;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use libraries::MissingLibraries;

use cgroup::{Group, Hierarchies, pids_with_monitor};
use hurry::Hurry;
use probe::{Asked, Probed};
use running::{NotStarted, Running, Starter};

use super::inside;
use super::report::{self, Expected, ExpectedCgroup};
use super::samples::Samples;
use super::{
    EngineFuture, EngineInfo, FoundSandbox, Pace, RunningSandbox, Sandbox, SandboxError, SandboxEvent, SandboxExit,
    SandboxSpec, Usage,
};
use plugbay_config::{CallLimits, ProcessConfig, SandboxConfig};
use plugbay_domain::Isolation;
use plugbay_runtime::shutdown::Shutdown;

/// The engine in messages.
const ENGINE: &str = "the process engine";

/// What `sandbox.process.allow_without_cgroups` allows to be missing.
const UNLIMITED: &str = "nothing limits memory, processors and processes: there are no cgroups";

/// How long what was found out is believed.
const PROBE_AGE: Duration = Duration::from_mins(10);

/// Sandboxes by bubblewrap.
#[derive(Debug)]
pub struct ProcessEngine {
    instance: String,
    config: ProcessConfig,
    message_bytes: usize,
    uid_base: u32,
    runtime: PathBuf,
    cpus: u32,
    /// The table of system calls, as the kernel reads it.
    filter: Vec<u8>,
    starter: Starter,
    probed: Mutex<Option<(Instant, Arc<Probed>)>>,
    running: Mutex<HashMap<String, Arc<Running>>>,
    /// More starts at once make each of them slower.
    starts: Semaphore,
    hurry: Hurry,
    samples: Samples,
}

/// What the engine finds in the service.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Shim and SDK.
    pub runtime: &'a Path,
    /// What spawns.
    pub shutdown: Shutdown,
}

impl ProcessEngine {
    /// The engine for the service `instance`. Starts no sandbox yet.
    pub fn new(instance: &str, sandbox: &SandboxConfig, calls: CallLimits, place: Place<'_>) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            instance: instance.to_owned(),
            config: sandbox.process.clone(),
            message_bytes: calls.message_bytes,
            uid_base: sandbox.uid_base,
            runtime: place.runtime.to_owned(),
            cpus: u32::try_from(cores).unwrap_or(u32::MAX),
            filter: bpf::program(),
            starter: Starter::new(place.shutdown)?,
            probed: Mutex::default(),
            running: Mutex::default(),
            starts: Semaphore::new(cores + 2),
            hurry: Hurry::default(),
            samples: Samples::default(),
        })
    }

    fn last_probe(&self) -> Option<(Instant, Arc<Probed>)> {
        self.probed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn probe_now(&self) -> Result<Arc<Probed>, SandboxError> {
        let asked = Asked {
            instance: &self.instance,
            config: &self.config,
            runtime: &self.runtime,
            uid_base: self.uid_base,
            message_bytes: self.message_bytes,
        };
        let probed = Arc::new(probe::probe(asked, &self.starter, &self.filter).await?);
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&probed)));
        Ok(probed)
    }

    async fn machine(&self) -> Result<Arc<Probed>, SandboxError> {
        match self.last_probe().filter(|(at, _)| at.elapsed() < PROBE_AGE) {
            Some((_, probed)) => Ok(probed),
            None => self.probe_now().await,
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str, action: &'static str) -> Result<Arc<Running>, SandboxError> {
        let found = self.running().get(id).cloned();
        found.ok_or_else(|| failed(action)(io::Error::new(io::ErrorKind::NotFound, "the sandbox is gone")))
    }

    async fn start_sandbox(&self, spec: &SandboxSpec) -> Result<RunningSandbox, SandboxError> {
        let probed = self.machine().await?;
        check_user(spec.uid)?;
        // Never closed, so there is always a permit some time.
        let _permit = self.starts.acquire().await;
        let group = match &probed.hierarchies {
            Some(hierarchies) => Some(hierarchies.make(spec, self.cpus).map_err(failed("make the cgroup"))?),
            None => None,
        };
        let plan = plan::plan(spec, &probed.settings, group.as_ref());
        let id = spec.session.to_string();
        self.note_pace(&id, Pace::Hurried);
        match running::start(&self.starter, &plan, &self.filter, group.clone()).await {
            Ok(running) => {
                let pid = running.pid;
                self.running().insert(id.clone(), Arc::new(running));
                let weaker = if probed.hierarchies.is_some() { Vec::new() } else { vec![UNLIMITED.to_owned()] };
                Ok(RunningSandbox { id, pid, image: probed.settings.root.display().to_string(), weaker })
            }
            Err(problem) => {
                self.note_pace(&id, Pace::Usual);
                remove_group(group).await.ok();
                Err(match problem {
                    NotStarted::Setup(source) => failed("start the sandbox")(source),
                    NotStarted::Ended(exit) => SandboxError::EndedAtOnce(exit),
                })
            }
        }
    }

    async fn wait_for(&self, id: &str) -> Result<SandboxExit, SandboxError> {
        let exit = self.find(id, "wait for the sandbox")?.wait().await.map_err(failed("wait for the sandbox"))?;
        self.samples.forget(id);
        Ok(exit)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), SandboxError> {
        self.samples.forget(id);
        let running = self.running().get(id).cloned();
        let group = match &running {
            Some(running) => {
                running.kill().await.map_err(failed("kill the sandbox"))?;
                running.group.clone()
            }
            // Of an earlier process of this service, if it is anything.
            None => self.left_group(id),
        };
        remove_group(group).await.map_err(failed("remove the cgroup"))?;
        self.note_pace(id, Pace::Usual);
        self.running().remove(id);
        Ok(())
    }

    fn set_pace(&self, id: &str, spec: &SandboxSpec, pace: Pace) -> Result<(), SandboxError> {
        const ACTION: &str = "give the sandbox its share of the processors";
        self.note_pace(id, pace);
        let running = self.find(id, ACTION)?;
        let Some(group) = &running.group else { return Ok(()) };
        group.pace(inside::processors(spec, self.cpus, pace)).map_err(failed(ACTION))
    }

    /// For what all sandboxes weigh together.
    fn note_pace(&self, id: &str, pace: Pace) {
        let own = self.last_probe().and_then(|(_, probed)| Some(probed.hierarchies.as_ref()?.group("")));
        if let Some(own) = own {
            self.hurry.note(id, pace, &own);
        }
    }

    /// Sends a signal to every process of a sandbox.
    fn signal(&self, id: &str, signal: Signal, action: &'static str) -> Result<(), SandboxError> {
        let running = self.find(id, action)?;
        let group = running.group.as_ref();
        let group =
            group.ok_or_else(|| failed(action)(io::Error::other("it has no cgroup to find its processes by")))?;
        group.signal(signal).map_err(failed(action))
    }

    /// The cgroup of a session that this process did not start.
    fn left_group(&self, id: &str) -> Option<Group> {
        let (_, probed) = self.last_probe()?;
        let hierarchies = probed.hierarchies.as_ref()?;
        hierarchies.sessions().iter().any(|session| session == id).then(|| hierarchies.group(id))
    }

    async fn list_own(&self) -> Result<Vec<FoundSandbox>, SandboxError> {
        let probed = self.machine().await?;
        let mut found: Vec<_> = self
            .running()
            .iter()
            .map(|(id, running)| FoundSandbox {
                id: id.clone(),
                session: id.parse().ok(),
                paused: false,
                running: running.is_alive(),
            })
            .collect();
        let groups = probed.hierarchies.as_ref().map(Hierarchies::sessions).unwrap_or_default();
        for id in groups {
            if found.iter().all(|known| known.id != id) {
                let running = self.left_group(&id).is_some_and(|group| !group.processes().is_empty());
                found.push(FoundSandbox { session: id.parse().ok(), id, paused: false, running });
            }
        }
        Ok(found)
    }

    fn read_usage(&self, id: &str) -> Result<Usage, SandboxError> {
        const ACTION: &str = "tell what the sandbox uses";
        if let Some(usage) = self.samples.recent(id, Instant::now()) {
            return Ok(usage);
        }
        let running = self.find(id, ACTION)?;
        let counters = running.group.as_ref().and_then(Group::counters);
        let counters = counters.ok_or_else(|| failed(ACTION)(io::Error::other("it has no cgroup")))?;
        Ok(self.samples.add(id, Instant::now(), counters))
    }

    fn expected(&self, spec: &SandboxSpec, probed: &Probed) -> Expected {
        let cgroup = probed.hierarchies.as_ref().map(|hierarchies| ExpectedCgroup {
            memory: inside::memory_bytes(spec),
            limits_swap: hierarchies.limits_swap,
            pids: pids_with_monitor(spec),
            // The shim looks while its plugin starts.
            nano_cpus: inside::processors(spec, self.cpus, Pace::Hurried).nano,
        });
        Expected { cgroup, data_is_noexec: true }
    }
}

/// Ends a sandbox with the engine: its children die with the thread that started them.
impl Drop for ProcessEngine {
    fn drop(&mut self) {
        for (id, running) in self.running().drain() {
            tracing::debug!(sandbox = %id, pid = running.pid, "A sandbox ends with its engine");
        }
    }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::Failed { engine: ENGINE, action, source: source.into() }
}

/// Root, or the service's own user, could do to the service and the machine whatever they like.
fn check_user(uid: u32) -> Result<(), SandboxError> {
    let own = rustix::process::geteuid().as_raw();
    if uid != 0 && uid != own {
        return Ok(());
    }
    let differences = vec![format!("uid: wanted one that is neither root's nor the service's, found {uid}")];
    Err(SandboxError::Weaker { differences })
}

async fn remove_group(group: Option<Group>) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    tokio::task::spawn_blocking(move || group.remove()).await.map_err(io::Error::other)?
}

impl Sandbox for ProcessEngine {
    fn isolation(&self) -> Option<Isolation> {
        Some(Isolation::Process)
    }

    fn probe(&self) -> EngineFuture<'_, EngineInfo> {
        async {
            let probed = self.probe_now().await?;
            Ok(EngineInfo {
                name: format!("bubblewrap {}", probed.version),
                cgroup_version: probed.hierarchies.as_ref().map_or(0, |hierarchies| hierarchies.version),
                uid_base: self.uid_base,
                cpus: self.cpus,
            })
        }
        .boxed()
    }

    fn plan<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, Value> {
        async {
            let probed = self.machine().await?;
            let group = probed.hierarchies.as_ref().map(|hierarchies| hierarchies.group(&spec.session.to_string()));
            let plan = plan::plan(spec, &probed.settings, group.as_ref());
            Ok(json!({ "command": plan.readable(), "seccomp_instructions": self.filter.len() / 8 }))
        }
        .boxed()
    }

    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, RunningSandbox> {
        self.start_sandbox(spec).boxed()
    }

    fn pace<'a>(&'a self, id: &'a str, spec: &'a SandboxSpec, pace: Pace) -> EngineFuture<'a, ()> {
        std::future::ready(self.set_pace(id, spec, pace)).boxed()
    }

    fn check_report(&self, spec: &SandboxSpec, report: &Value) -> Result<(), SandboxError> {
        let Some((_, probed)) = self.last_probe() else {
            return Err(SandboxError::Weaker { differences: vec!["nothing is known about the engine yet".to_owned()] });
        };
        let differences = report::differences(spec, &self.expected(spec, &probed), report);
        if differences.is_empty() { Ok(()) } else { Err(SandboxError::Weaker { differences }) }
    }

    fn wait<'a>(&'a self, id: &'a str) -> EngineFuture<'a, SandboxExit> {
        self.wait_for(id).boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        self.remove_sandbox(id).boxed()
    }

    fn pause<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        std::future::ready(self.signal(id, Signal::STOP, "pause the sandbox")).boxed()
    }

    fn resume<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        std::future::ready(self.signal(id, Signal::CONT, "let the sandbox go on")).boxed()
    }

    fn usage<'a>(&'a self, id: &'a str) -> EngineFuture<'a, Usage> {
        std::future::ready(self.read_usage(id)).boxed()
    }

    fn list(&self) -> EngineFuture<'_, Vec<FoundSandbox>> {
        self.list_own().boxed()
    }

    /// There is nobody to tell of anything: a session notices its own end, and whoever looks finds the rest.
    fn events(&self) -> EngineFuture<'_, BoxStream<'static, SandboxEvent>> {
        std::future::ready(Ok(stream::pending().boxed())).boxed()
    }
}
