//! What can be seen of a running plugin: health, usage, logs, sandbox, calls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plugbay_domain::{Isolation, PluginName, PluginState, ResourceLimits, Timestamp};
use plugbay_fleet::{CallRecord, Failure, Member, Metrics, order, start};
use plugbay_registry::Caller;
use plugbay_sandbox::{DataQuota, SandboxSpec, Usage};
use plugbay_session::{HealthReport, LogLine};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::{Service, ServiceError, find, plugins};

/// Lines of a plugin's log that are read for one question.
const MOST_LINES: usize = 100_000;

/// Longest wait for the engine to count what a plugin uses.
const USAGE_WAIT: Duration = Duration::from_secs(2);

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

async fn member_of(service: &Service, caller: &Caller, wanted: &str) -> Result<Arc<Member>, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    Ok(service.fleet.member(plugin.id, &plugin.name))
}

/// How a plugin is.
pub async fn plugin_health(service: &Service, caller: &Caller, wanted: &str) -> Result<HealthView, ServiceError> {
    let member = member_of(service, caller, wanted).await?;
    Ok(HealthView {
        state: member.state(),
        report: member.session().and_then(|session| session.health()),
        failures: member.record.failures(),
    })
}

/// What should be known of the operator's databases.
pub fn database_notices(service: &Service) -> Vec<String> {
    service.databases.notices()
}

/// How each plugin is that should run.
pub fn plugins_health(service: &Service) -> Vec<(PluginName, PluginState, Option<HealthReport>)> {
    let members = service.fleet.members();
    let mut found: Vec<_> = members
        .iter()
        .filter(|member| member.is_supervised())
        .map(|member| (member.name.clone(), member.state(), member.session().and_then(|session| session.health())))
        .collect();
    found.sort_by(|(one, ..), (other, ..)| one.as_str().cmp(other.as_str()));
    found
}

/// What a plugin uses.
pub async fn plugin_stats(service: &Service, caller: &Caller, wanted: &str) -> Result<StatsView, ServiceError> {
    let view = plugins::show_plugin(service, caller, wanted).await?;
    let member = service.fleet.member(view.plugin.id, &view.plugin.name);
    let mut limits = view.limits;
    let mut usage = None;
    if let Some(session) = member.session() {
        limits = session.spec().limits;
        // A sandbox that ends just now uses nothing, and an engine that hangs is not waited for.
        let counted = service.fleet.engine().usage(&session.sandbox().id);
        usage = tokio::time::timeout(USAGE_WAIT, counted).await.ok().and_then(Result::ok);
    }
    let (volumes, data, data_mb) = (service.volumes.clone(), view.plugin.data(), limits.data_mb);
    let looking = move || Ok((volumes.used_bytes(data, data_mb), volumes.quota().0));
    let (data_bytes, data_quota) = service.look("volume size", looking).await?;
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
pub async fn plugin_metrics(service: &Service, caller: &Caller, wanted: &str) -> Result<MetricsView, ServiceError> {
    let member = member_of(service, caller, wanted).await?;
    Ok(MetricsView {
        metrics: member.record.metrics(),
        in_flight: member.running.load(Ordering::Relaxed),
        queued: member.queued.load(Ordering::Relaxed),
        late_answers: member.session().map_or(0, |session| session.late_answers()),
    })
}

/// The last calls of a plugin, latest first.
pub async fn plugin_calls(service: &Service, caller: &Caller, wanted: &str) -> Result<Vec<CallRecord>, ServiceError> {
    Ok(member_of(service, caller, wanted).await?.record.calls())
}

/// The last lines of a plugin's log that are not older than `since`, and the lines from now on.
pub async fn plugin_logs(
    service: &Service,
    caller: &Caller,
    wanted: &str,
    tail: Option<usize>,
    since: Option<Timestamp>,
) -> Result<(Vec<LogLine>, broadcast::Receiver<Arc<LogLine>>), ServiceError> {
    let member = member_of(service, caller, wanted).await?;
    // First, so that no line falls between.
    let following = member.log.follow();
    let log = Arc::clone(&member.log);
    let lines = service
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
pub async fn plugin_sandbox(
    service: &Service,
    caller: &Caller,
    wanted: &str,
) -> Result<Option<SandboxView>, ServiceError> {
    let member = member_of(service, caller, wanted).await?;
    Ok(member.session().map(|session| SandboxView {
        isolation: service.fleet.isolation(),
        container: session.sandbox().id.clone(),
        weaker: session.sandbox().weaker.clone(),
        image: session.sandbox().image.clone(),
        spec: session.spec().clone(),
        report: session.report().clone(),
    }))
}

/// What would be sent to the engine to start a plugin now.
pub async fn plan(service: &Service, caller: &Caller, wanted: &str) -> Result<Value, ServiceError> {
    let member = member_of(service, caller, wanted).await?;
    let subject = start::subject(&service.fleet, &member).await?;
    let mut order = order::launch_order(&service.fleet, &member, &subject).await?;
    order.spec.instance_dir = service.config.server.run_dir.join(order.spec.session.to_string());
    let plan = service.fleet.engine().plan(&order.spec).await;
    plan.map_err(|error| plugbay_fleet::PluginProblem::of_launch(&member.name, error.into()).into())
}
