//! What can be seen of a running plugin: health, usage, logs, sandbox, calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast;

use super::fleet::{BreakerView, CallRecord, Failure, LastFailure, Member, Metrics, StateEvent};
use super::{Caller, Service, ServiceError};
use crate::domain::{Isolation, PluginId, PluginName, PluginState, ResourceLimits, Timestamp};
use crate::sandbox::{DataQuota, SandboxSpec, Usage};
use crate::session::{HealthReport, LogLine};

/// Lines of a plugin's log that are read for one question.
const MOST_LINES: usize = 100_000;

/// Longest wait for the engine to count what a plugin uses.
const USAGE_WAIT: Duration = Duration::from_secs(2);

/// What is true of a plugin now.
#[derive(Clone, Debug)]
pub struct RuntimeView {
    /// What it is doing.
    pub state: PluginState,
    /// What it runs in, while it runs.
    pub isolation: Option<Isolation>,
    /// Since when it answers.
    pub up_since: Option<Timestamp>,
    /// How often it was started again in this process.
    pub restarts: u64,
    /// What went wrong last.
    pub last_failure: Option<LastFailure>,
    /// Whether calls are let through.
    pub breaker: BreakerView,
    /// What it offers, while it answers.
    pub methods: Option<Vec<String>>,
}

/// How a plugin is.
#[derive(Clone, Debug)]
pub struct HealthView {
    /// What it is doing.
    pub state: PluginState,
    /// What it last said.
    pub report: Option<HealthReport>,
    /// What went wrong so far, by kind.
    pub failures: Vec<Failure>,
}

/// What a plugin uses.
#[derive(Clone, Debug)]
pub struct StatsView {
    /// What it is doing.
    pub state: PluginState,
    /// What the engine counts, while something runs.
    pub usage: Option<Usage>,
    /// What it may use.
    pub limits: ResourceLimits,
    /// Bytes received from other hosts since the service started.
    pub received_bytes: u64,
    /// Connections that were opened for it.
    pub connections: u64,
    /// Bytes sent to other hosts since the service started.
    pub sent_bytes: u64,
    /// Bytes in `/data`, if they are known.
    pub data_bytes: Option<u64>,
    /// What limits them.
    pub data_quota: DataQuota,
}

/// The sandbox of a plugin that runs.
#[derive(Clone, Debug)]
pub struct SandboxView {
    /// What it runs in.
    pub isolation: Option<Isolation>,
    /// The engine's id.
    pub container: String,
    /// The image, by content, or the root file system.
    pub image: String,
    /// What the operator allowed to be missing.
    pub weaker: Vec<String>,
    /// What it must be.
    pub spec: SandboxSpec,
    /// What the shim saw inside.
    pub report: Value,
}

/// Figures about the calls of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct MetricsView {
    /// Calls that have ended.
    pub metrics: Metrics,
    /// Calls the plugin works on.
    pub in_flight: usize,
    /// Calls that wait.
    pub queued: usize,
    /// Answers that came after their caller had gone, from the session that runs.
    pub late_answers: u64,
}

impl Service {
    async fn member_of(&self, caller: &Caller, wanted: &str) -> Result<Arc<Member>, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        Ok(self.member(plugin.id, &plugin.name))
    }

    /// What is true of a plugin now.
    pub fn runtime_view(&self, id: PluginId, name: &PluginName) -> RuntimeView {
        let member = self.member(id, name);
        let session = member.session();
        RuntimeView {
            state: member.state(),
            isolation: session.as_ref().and_then(|_| self.isolation()),
            up_since: session.as_ref().map(crate::session::Session::started_at),
            restarts: member.record.restarts(),
            last_failure: member.record.last_failure(),
            breaker: member.breaker_view(),
            methods: session.map(|session| session.ready().methods.clone()),
        }
    }

    /// How a plugin is.
    pub async fn plugin_health(&self, caller: &Caller, wanted: &str) -> Result<HealthView, ServiceError> {
        let member = self.member_of(caller, wanted).await?;
        Ok(HealthView {
            state: member.state(),
            report: member.session().and_then(|session| session.health()),
            failures: member.record.failures(),
        })
    }

    /// How plugins are that this process runs, by name.
    /// What should be known of the operator's databases.
    pub fn database_notices(&self) -> Vec<String> {
        self.databases.notices()
    }

    /// How each plugin is that should run.
    pub fn plugins_health(&self) -> Vec<(PluginName, PluginState, Option<HealthReport>)> {
        let members = self.fleet.members();
        let mut found: Vec<_> = members
            .iter()
            .filter(|member| member.is_supervised())
            .map(|member| (member.name.clone(), member.state(), member.session().and_then(|session| session.health())))
            .collect();
        found.sort_by(|(one, ..), (other, ..)| one.as_str().cmp(other.as_str()));
        found
    }

    /// What a plugin uses.
    pub async fn plugin_stats(&self, caller: &Caller, wanted: &str) -> Result<StatsView, ServiceError> {
        let view = self.show_plugin(caller, wanted).await?;
        let member = self.member(view.plugin.id, &view.plugin.name);
        let mut limits = view.limits;
        let mut usage = None;
        if let Some(session) = member.session() {
            limits = session.spec().limits;
            // A sandbox that ends just now uses nothing, and an engine that hangs is not waited for.
            let counted = self.fleet.engine.usage(&session.sandbox().id);
            usage = tokio::time::timeout(USAGE_WAIT, counted).await.ok().and_then(Result::ok);
        }
        let (volumes, data, data_mb) = (self.volumes.clone(), view.plugin.data(), limits.data_mb);
        let looking = move || Ok((volumes.used_bytes(data, data_mb), volumes.quota().0));
        let (data_bytes, data_quota) = self.look("volume size", looking).await?;
        let (received_bytes, sent_bytes) = (member.reach().exit.received_bytes(), member.reach().exit.sent_bytes());
        let connections = member.reach().exit.opened();
        Ok(StatsView {
            state: member.state(),
            usage,
            limits,
            connections,
            received_bytes,
            sent_bytes,
            data_bytes,
            data_quota,
        })
    }

    /// Figures about a plugin's calls.
    pub async fn plugin_metrics(&self, caller: &Caller, wanted: &str) -> Result<MetricsView, ServiceError> {
        let member = self.member_of(caller, wanted).await?;
        Ok(MetricsView {
            metrics: member.record.metrics(),
            in_flight: member.running.load(Ordering::Relaxed),
            queued: member.queued.load(Ordering::Relaxed),
            late_answers: member.session().map_or(0, |session| session.late_answers()),
        })
    }

    /// The last calls of a plugin, latest first.
    pub async fn plugin_calls(&self, caller: &Caller, wanted: &str) -> Result<Vec<CallRecord>, ServiceError> {
        Ok(self.member_of(caller, wanted).await?.record.calls())
    }

    /// The last lines of a plugin's log that are not older than `since`, and the lines from now on.
    pub async fn plugin_logs(
        &self,
        caller: &Caller,
        wanted: &str,
        tail: Option<usize>,
        since: Option<Timestamp>,
    ) -> Result<(Vec<LogLine>, broadcast::Receiver<Arc<LogLine>>), ServiceError> {
        let member = self.member_of(caller, wanted).await?;
        // First, so that no line falls between.
        let following = member.log.follow();
        let log = Arc::clone(&member.log);
        let lines = self
            .look("read log", move || {
                let mut lines = log.tail(MOST_LINES);
                lines.retain(|line| since.is_none_or(|since| line.ts >= since));
                lines.drain(..lines.len().saturating_sub(tail.unwrap_or(usize::MAX)));
                Ok(lines)
            })
            .await?;
        Ok((lines, following))
    }

    /// The sandbox that a plugin runs in.
    pub async fn plugin_sandbox(&self, caller: &Caller, wanted: &str) -> Result<Option<SandboxView>, ServiceError> {
        let member = self.member_of(caller, wanted).await?;
        Ok(member.session().map(|session| SandboxView {
            isolation: self.isolation(),
            container: session.sandbox().id.clone(),
            weaker: session.sandbox().weaker.clone(),
            image: session.sandbox().image.clone(),
            spec: session.spec().clone(),
            report: session.report().clone(),
        }))
    }

    /// What would be sent to the engine to start a plugin now.
    pub async fn plan(&self, caller: &Caller, wanted: &str) -> Result<Value, ServiceError> {
        let member = self.member_of(caller, wanted).await?;
        let subject = self.subject(&member).await?;
        let mut order = self.launch_order(&member, &subject).await?;
        order.spec.instance_dir = self.config.server.run_dir.join(order.spec.session.to_string());
        let plan = self.fleet.engine.plan(&order.spec).await;
        plan.map_err(|error| super::PluginProblem::of_launch(&member.name, error.into()).into())
    }

    /// Changes of state from now on.
    pub fn state_events(&self) -> broadcast::Receiver<StateEvent> {
        self.fleet.events.subscribe()
    }
}
