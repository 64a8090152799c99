//! `sandbox.engine: auto`: Docker when it answers, else bubblewrap. Chosen once, as plugins must not move between them
//! while the service runs, and told with the reason.

use std::sync::{Arc, OnceLock};

use futures_util::future::FutureExt as _;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tracing::{info, warn};

use super::{
    EngineFuture, EngineInfo, FoundSandbox, Pace, RunningSandbox, Sandbox, SandboxError, SandboxEvent, SandboxExit,
    SandboxSpec, Usage,
};
use plugbay_domain::{Chain, Isolation, Refusal as _};

/// The strongest engine that works.
#[derive(Debug)]
pub struct AutoEngine {
    docker: Arc<dyn Sandbox>,
    process: Arc<dyn Sandbox>,
    chosen: OnceLock<Arc<dyn Sandbox>>,
}

impl AutoEngine {
    /// Nothing is chosen yet.
    pub fn new(docker: Arc<dyn Sandbox>, process: Arc<dyn Sandbox>) -> Self {
        Self { docker, process, chosen: OnceLock::new() }
    }

    /// The chosen engine with what it says of itself, chosen now if none was.
    async fn probe_chosen(&self) -> Result<EngineInfo, SandboxError> {
        if let Some(chosen) = self.chosen.get() {
            return chosen.probe().await;
        }
        let docker_problem = match self.docker.probe().await {
            Ok(info) => {
                info!(engine = %info.name, "Plugins run in containers: {} answers", info.name);
                self.chosen.set(Arc::clone(&self.docker)).ok();
                return Ok(info);
            }
            Err(problem) => problem,
        };
        match self.process.probe().await {
            Ok(info) => {
                let why = Chain(&docker_problem).to_string();
                warn!(engine = %info.name, "Plugins run under {}, which is weaker than a container: {why}", info.name);
                self.chosen.set(Arc::clone(&self.process)).ok();
                Ok(info)
            }
            Err(process_problem) => {
                Err(SandboxError::NoEngine { docker: Box::new(docker_problem), process: Box::new(process_problem) })
            }
        }
    }

    async fn chosen(&self) -> Result<&Arc<dyn Sandbox>, SandboxError> {
        if self.chosen.get().is_none() {
            self.probe_chosen().await?;
        }
        Ok(self.chosen.get().expect("a successful probe chooses"))
    }
}

impl Sandbox for AutoEngine {
    fn isolation(&self) -> Option<Isolation> {
        self.chosen.get().and_then(|chosen| chosen.isolation())
    }

    fn probe(&self) -> EngineFuture<'_, EngineInfo> {
        self.probe_chosen().boxed()
    }

    fn plan<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, Value> {
        async { self.chosen().await?.plan(spec).await }.boxed()
    }

    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> EngineFuture<'a, RunningSandbox> {
        async { self.chosen().await?.start(spec).await }.boxed()
    }

    fn pace<'a>(&'a self, id: &'a str, spec: &'a SandboxSpec, pace: Pace) -> EngineFuture<'a, ()> {
        async move { self.chosen().await?.pace(id, spec, pace).await }.boxed()
    }

    fn check_report(&self, spec: &SandboxSpec, report: &Value) -> Result<(), SandboxError> {
        match self.chosen.get() {
            Some(chosen) => chosen.check_report(spec, report),
            None => Err(SandboxError::Weaker { differences: vec!["no engine was chosen yet".to_owned()] }),
        }
    }

    fn wait<'a>(&'a self, id: &'a str) -> EngineFuture<'a, SandboxExit> {
        async { self.chosen().await?.wait(id).await }.boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        async { self.chosen().await?.remove(id).await }.boxed()
    }

    fn pause<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        async { self.chosen().await?.pause(id).await }.boxed()
    }

    fn resume<'a>(&'a self, id: &'a str) -> EngineFuture<'a, ()> {
        async { self.chosen().await?.resume(id).await }.boxed()
    }

    fn usage<'a>(&'a self, id: &'a str) -> EngineFuture<'a, Usage> {
        async { self.chosen().await?.usage(id).await }.boxed()
    }

    fn list(&self) -> EngineFuture<'_, Vec<FoundSandbox>> {
        async { self.chosen().await?.list().await }.boxed()
    }

    fn events(&self) -> EngineFuture<'_, BoxStream<'static, SandboxEvent>> {
        async { self.chosen().await?.events().await }.boxed()
    }
}

impl SandboxError {
    /// What helps with both.
    pub(super) fn how_of_both(docker: &Self, process: &Self) -> String {
        let how = |error: &Self| error.how().unwrap_or_else(|| error.code().how().to_owned());
        format!("for Docker: {}; for the process engine: {}", how(docker), how(process))
    }
}
