//! Sandboxes as containers of Docker. `config.rs` says what a container is; here it is made, proved, watched and removed.
//! The only folder that speaks with Docker. It never pulls, never executes in a container, and touches no container
//! without this service's label.

mod client;
mod config;
mod inspect;
mod pace;
mod probe;
mod usage;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::models::{ContainerInspectResponse, ContainerState, ContainerSummaryStateEnum, ImageInspect};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, ListContainersOptions, RemoveContainerOptions, StatsOptions,
};
use futures_util::future::FutureExt as _;
use futures_util::stream::{BoxStream, StreamExt as _};
use serde_json::Value;
use tokio::sync::Semaphore;
use tracing::warn;

pub(super) use client::Unreachable;
use client::{Client, ENGINE, QUICK, SLOW, Trouble};
use config::{INSTANCE_LABEL, Machine, SESSION_LABEL, Settings};
use probe::Probed;

use super::inside;
use super::report::{self, Expected, ExpectedCgroup};
use super::samples::Samples;
use super::{
    EngineFuture, EngineInfo, FoundSandbox, Pace, RunningSandbox, Sandbox, SandboxError, SandboxEvent, SandboxExit,
    SandboxSpec, Usage,
};
use plugbay_config::{CallLimits, SandboxConfig};
use plugbay_domain::Isolation;

/// How long the engine's answers about itself are believed: it may have been restarted with other settings.
const PROBE_AGE: Duration = Duration::from_mins(1);

/// Exit code of a process that was killed, by us or for its memory.
const KILLED: i64 = 137;

/// Docker learns of an end and of its reason on two ways; the reason can come later.
const REASON_DELAY: Duration = Duration::from_millis(200);

/// Sandboxes as containers of Docker.
#[derive(Debug)]
pub struct DockerEngine {
    instance: String,
    client: Client,
    settings: Settings,
    uid_base: u32,
    probed: Mutex<Option<(Instant, Probed)>>,
    /// More starts at once make each of them slower, until all are too slow.
    starts: Semaphore,
    samples: Samples,
}

impl DockerEngine {
    /// The engine for the service `instance`, whose containers carry that label. Connects to nothing yet.
    pub fn new(instance: &str, sandbox: &SandboxConfig, calls: CallLimits) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            instance: instance.to_owned(),
            client: Client::new(&sandbox.docker_host),
            settings: Settings { runtime: sandbox.runtime.clone(), message_bytes: calls.message_bytes },
            uid_base: sandbox.uid_base,
            probed: Mutex::default(),
            starts: Semaphore::new(cores + 2),
            samples: Samples::default(),
        }
    }

    fn failed(&self, action: &'static str) -> impl Fn(Trouble) -> SandboxError {
        move |trouble| self.client.failed(action, trouble)
    }

    async fn probe_now(&self) -> Result<Probed, SandboxError> {
        let failed = self.failed("tell what it can do");
        let version = self.client.ask(QUICK, async |docker| docker.version().await).await.map_err(&failed)?;
        let info = self.client.ask(QUICK, async |docker| docker.info().await).await.map_err(&failed)?;
        let probed = probe::read(&version, &info, &self.settings.runtime, self.uid_base)?;
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), probed.clone()));
        Ok(probed)
    }

    fn last_probe(&self) -> Option<(Instant, Probed)> {
        self.probed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn machine(&self) -> Result<Machine, SandboxError> {
        match self.last_probe().filter(|(at, _)| at.elapsed() < PROBE_AGE) {
            Some((_, probed)) => Ok(probed.machine),
            None => Ok(self.probe_now().await?.machine),
        }
    }

    /// The image by its name at this moment.
    async fn image(&self, name: &str) -> Result<(String, ImageInspect), SandboxError> {
        let missing = || SandboxError::ImageMissing { image: name.to_owned() };
        let found = self.client.ask(QUICK, async |docker| docker.inspect_image(name).await).await;
        let found = found.map_err(|trouble| match trouble {
            Trouble::Status { status: 404, .. } => missing(),
            trouble => self.client.failed("look at the image", trouble),
        })?;
        let id = found.id.clone().filter(|id| !id.is_empty()).ok_or_else(missing)?;
        Ok((id, found))
    }

    async fn start_sandbox(&self, spec: &SandboxSpec) -> Result<RunningSandbox, SandboxError> {
        let machine = self.machine().await?;
        // Never closed, so there is always a permit some time.
        let _permit = self.starts.acquire().await;
        let (image_id, image) = self.image(&spec.image).await?;
        let body = config::create_body(spec, &image_id, machine, &self.settings);
        let wanted = inspect::Wanted::new(&body, image.config.as_ref());
        let name = config::container_name(spec);
        let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
        let created = self.client.ask(SLOW, async |docker| docker.create_container(Some(options), body).await).await;
        let created = match created {
            Ok(created) => created,
            Err(Trouble::Status { status: 404, .. }) => {
                return Err(SandboxError::ImageMissing { image: spec.image.clone() });
            }
            Err(trouble) => {
                // Without an answer it may have been made all the same. With one it was not, and another's container may
                // bear the name.
                if !matches!(trouble, Trouble::Status { .. }) {
                    self.remove_own(&name).await;
                }
                return Err(self.client.failed("make the container", trouble));
            }
        };
        let started = async {
            self.prove(&created.id, &created.warnings, &wanted).await?;
            self.set_pace(&created.id, spec, Pace::Hurried).await?;
            self.start_proved(&created.id).await
        };
        let started = started.await;
        match started {
            Ok(pid) => Ok(RunningSandbox { id: created.id, pid, image: image_id, weaker: Vec::new() }),
            Err(error) => {
                if let Err(left) = self.remove_container(&created.id).await {
                    warn!(container = %created.id, error = %left, "Could not remove a container that did not start");
                }
                Err(error)
            }
        }
    }

    /// Proves that the container is the one asked for.
    async fn prove(&self, id: &str, warnings: &[String], wanted: &inspect::Wanted) -> Result<(), SandboxError> {
        let mut differences: Vec<String> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        differences.extend(wanted.differences(&self.inspect(id).await.map_err(self.failed("show the container"))?));
        if differences.is_empty() { Ok(()) } else { Err(SandboxError::Weaker { differences }) }
    }

    async fn start_proved(&self, id: &str) -> Result<i32, SandboxError> {
        let start = self.client.ask(SLOW, async |docker| docker.start_container(id, None).await).await;
        start.map_err(self.failed("start the container"))?;
        let state = self.inspect(id).await.map_err(self.failed("show the container"))?.state.unwrap_or_default();
        let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        pid.ok_or_else(|| ended_at_once(&state))
    }

    async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, Trouble> {
        self.client.ask(QUICK, async |docker| docker.inspect_container(id, None).await).await
    }

    /// Removes a container by its name, if it is ours. Nobody waits for it, and reconciling finds what is left.
    async fn remove_own(&self, name: &str) {
        let Ok(found) = self.inspect(name).await else { return };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        if labels.get(INSTANCE_LABEL) != Some(&self.instance) {
            return;
        }
        if let Err(left) = self.remove_container(&found.id.unwrap_or_else(|| name.to_owned())).await {
            warn!(container = name, error = %left, "Could not remove a container");
        }
    }

    async fn remove_container(&self, id: &str) -> Result<(), SandboxError> {
        self.samples.forget(id);
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match self.client.ask(SLOW, async |docker| docker.remove_container(id, Some(options)).await).await {
            // Gone, or going: somebody else removes it too.
            Ok(()) | Err(Trouble::Status { status: 404, .. }) => Ok(()),
            Err(Trouble::Status { status: 409, source }) if source.to_string().contains("already in progress") => {
                Ok(())
            }
            Err(trouble) => Err(self.client.failed("remove the container", trouble)),
        }
    }

    async fn pause_container(&self, id: &str) -> Result<(), SandboxError> {
        let paused = self.client.ask(QUICK, async |docker| docker.pause_container(id).await).await;
        paused.map_err(self.failed("pause the container"))
    }

    async fn resume_container(&self, id: &str) -> Result<(), SandboxError> {
        let resumed = self.client.ask(QUICK, async |docker| docker.unpause_container(id).await).await;
        resumed.map_err(self.failed("let the container go on"))
    }

    async fn wait_for(&self, id: &str) -> Result<SandboxExit, SandboxError> {
        let failed = self.failed("wait for the container");
        let docker = self.client.connect().map_err(&failed)?;
        let answer = docker.wait_container(id, None).boxed().next().await;
        let exit_code = match answer {
            Some(Ok(exit)) => exit.status_code,
            // The client takes every exit code but 0 for an error.
            Some(Err(DockerError::DockerContainerWaitError { error, code })) if error.is_empty() => code,
            Some(Err(error)) => return Err(failed(self.client.trouble(error))),
            None => {
                let gone = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(failed(Trouble::Unreachable(Unreachable::Broken(gone.into()))));
            }
        };
        self.samples.forget(id);
        let mut out_of_memory = self.is_out_of_memory(id).await;
        if exit_code == KILLED && !out_of_memory {
            tokio::time::sleep(REASON_DELAY).await;
            out_of_memory = self.is_out_of_memory(id).await;
        }
        Ok(SandboxExit { exit_code, out_of_memory })
    }

    /// What Docker says. A container that is gone was removed by us, and not for its memory.
    async fn is_out_of_memory(&self, id: &str) -> bool {
        let state = self.inspect(id).await.ok().and_then(|found| found.state);
        state.and_then(|state| state.oom_killed).unwrap_or(false)
    }

    async fn read_usage(&self, id: &str) -> Result<Usage, SandboxError> {
        if let Some(usage) = self.samples.recent(id, Instant::now()) {
            return Ok(usage);
        }
        let options = StatsOptions { stream: false, one_shot: true };
        let answer = self.client.ask(QUICK, async |docker| {
            let answer = docker.stats(id, Some(options)).boxed().next().await;
            answer.unwrap_or_else(|| Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()))
        });
        let stats = answer.await.map_err(self.failed("tell what the container uses"))?;
        let counters = usage::counters(&stats).ok_or_else(|| SandboxError::Failed {
            engine: ENGINE,
            action: "tell what the container uses",
            source: "the container does not run".into(),
        })?;
        Ok(self.samples.add(id, Instant::now(), counters))
    }

    fn own_filter(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{INSTANCE_LABEL}={}", self.instance)])])
    }

    async fn list_own(&self) -> Result<Vec<FoundSandbox>, SandboxError> {
        let options =
            ListContainersOptions { all: true, filters: Some(self.own_filter()), ..ListContainersOptions::default() };
        let found = self.client.ask(QUICK, async |docker| docker.list_containers(Some(options)).await).await;
        let found = found.map_err(self.failed("list containers"))?;
        let own = found.into_iter().filter_map(|container| {
            let labels = container.labels.unwrap_or_default();
            // An engine that ignores the filter must not make us remove what belongs to others.
            let is_own = labels.get(INSTANCE_LABEL) == Some(&self.instance);
            let id = container.id.filter(|_| is_own)?;
            let session = labels.get(SESSION_LABEL).and_then(|text| text.parse().ok());
            let paused = container.state == Some(ContainerSummaryStateEnum::PAUSED);
            let running = paused || container.state == Some(ContainerSummaryStateEnum::RUNNING);
            Some(FoundSandbox { id, session, paused, running })
        });
        Ok(own.collect())
    }

    async fn watch(&self) -> Result<BoxStream<'static, SandboxEvent>, SandboxError> {
        let failed = self.failed("tell of events");
        // Events are asked for when the stream is first read; who is not there is told now.
        self.client.ask(QUICK, async |docker| docker.ping().await).await.map_err(&failed)?;
        let mut filters = self.own_filter();
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
        let docker = self.client.connect().map_err(&failed)?;
        Ok(until_gone(&docker, options))
    }
}

/// Events until the first error, which means that the engine is gone.
fn until_gone(docker: &Docker, options: EventsOptions) -> BoxStream<'static, SandboxEvent> {
    let events = docker.events(Some(options));
    let whole = events.take_while(|event| std::future::ready(event.is_ok())).filter_map(|event| {
        std::future::ready(event.ok().and_then(|event| {
            let id = event.actor.and_then(|actor| actor.id)?;
            Some(SandboxEvent { id, what: event.action.unwrap_or_default() })
        }))
    });
    whole.boxed()
}

/// Whose fault it is: Docker has something to say where it could not keep its promise.
fn ended_at_once(state: &ContainerState) -> SandboxError {
    let error = state.error.as_deref().filter(|error| !error.is_empty());
    match (state.exit_code, error) {
        (Some(exit_code), None) => {
            let out_of_memory = state.oom_killed.unwrap_or(false);
            SandboxError::EndedAtOnce(SandboxExit { exit_code, out_of_memory })
        }
        (_, error) => SandboxError::Failed {
            engine: ENGINE,
            action: "keep the container running",
            source: error.unwrap_or("it ended at once, and nobody knows how").into(),
        },
    }
}

impl Sandbox for DockerEngine {
    fn isolation(&self) -> Option<Isolation> {
        Some(Isolation::Docker)
    }

    fn probe(&self) -> EngineFuture<'_, EngineInfo> {
        async { Ok(self.probe_now().await?.info) }.boxed()
    }

    fn plan<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, Value> {
        async {
            let machine = self.machine().await?;
            let (image_id, _) = self.image(&spec.image).await?;
            Ok(config::readable(&config::create_body(spec, &image_id, machine, &self.settings)))
        }
        .boxed()
    }

    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, RunningSandbox> {
        self.start_sandbox(spec).boxed()
    }

    fn pace<'a>(&'a self, id: &'a str, spec: &'a SandboxSpec, pace: Pace) -> EngineFuture<'a, ()> {
        self.set_pace(id, spec, pace).boxed()
    }

    fn check_report(&self, spec: &SandboxSpec, report: &Value) -> Result<(), SandboxError> {
        let Some((_, probed)) = self.last_probe() else {
            return Err(SandboxError::Weaker { differences: vec!["nothing is known about the engine yet".to_owned()] });
        };
        let machine = probed.machine;
        let cgroup = ExpectedCgroup {
            memory: inside::memory_bytes(spec),
            limits_swap: machine.limits_swap,
            pids: inside::pids(spec),
            // The shim looks while its plugin starts.
            nano_cpus: inside::processors(spec, machine.cpus, Pace::Hurried).nano,
        };
        // A folder that is bound in has the flags of its disk; Docker can ask for no others.
        let expected = Expected { cgroup: Some(cgroup), data_is_noexec: false };
        let differences = report::differences(spec, &expected, report);
        if differences.is_empty() { Ok(()) } else { Err(SandboxError::Weaker { differences }) }
    }

    fn wait<'a>(&'a self, id: &'a str) -> EngineFuture<'a, SandboxExit> {
        self.wait_for(id).boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        self.remove_container(id).boxed()
    }

    fn pause<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        self.pause_container(id).boxed()
    }

    fn resume<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        self.resume_container(id).boxed()
    }

    fn usage<'a>(&'a self, id: &'a str) -> EngineFuture<'a, Usage> {
        self.read_usage(id).boxed()
    }

    fn list(&self) -> EngineFuture<'_, Vec<FoundSandbox>> {
        self.list_own().boxed()
    }

    fn events(&self) -> EngineFuture<'_, BoxStream<'static, SandboxEvent>> {
        self.watch().boxed()
    }
}
