//! Running plugins, as they are shown.

use plugbay_domain::Isolation;
use plugbay_fleet::{BreakerView, CallRecord, Execution, LastFailure, Metrics, StateEvent};
use plugbay_operations::{HealthView, LimitsView, MetricsView, SandboxSpec, SandboxView, StatsView};
use plugbay_wire as wire;
use serde_json::{Map, Value, json};

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn execution(execution: Execution) -> wire::ExecuteAnswer {
    let Execution { call, took, answer } = execution;
    let result = match answer.result {
        // Who succeeds without a result is told so.
        None if answer.success => Some(null()),
        result => result,
    };
    wire::ExecuteAnswer {
        success: answer.success,
        result,
        error: answer.error,
        error_kind: answer.error_kind,
        message: answer.message,
        execution_time: took.as_secs_f64(),
        call_id: call.to_string(),
    }
}

fn null() -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::NULL.to_owned()
}

pub(crate) fn breaker(breaker: BreakerView) -> wire::Breaker {
    wire::Breaker {
        state: breaker.state.as_str().to_owned(),
        failures: breaker.failures,
        opened_at: breaker.opened_at.map(|at| at.to_string()),
    }
}

pub(crate) fn failure(failure: &LastFailure) -> wire::FailureView {
    wire::FailureView {
        kind: failure.kind.to_owned(),
        at: failure.at.to_string(),
        text: failure.text.clone(),
        exit_code: failure.exit_code,
    }
}

/// The word a plugin uses for its health, as one of three.
pub(crate) fn word(said: &Map<String, Value>) -> &'static str {
    match said.get("status").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase().as_str() {
        "healthy" | "ok" => "healthy",
        "degraded" | "initializing" | "warning" => "degraded",
        _ => "unhealthy",
    }
}

pub(crate) fn health(view: &HealthView) -> wire::PluginHealthView {
    wire::PluginHealthView {
        state: view.state.to_string(),
        health: view.report.as_ref().map(|report| {
            let mut said = report.health.clone();
            said.insert("status".to_owned(), word(&report.health).into());
            Value::Object(said)
        }),
        checked_at: view.report.as_ref().map(|report| report.at.to_string()),
        failures: view
            .failures
            .iter()
            .map(|failure| wire::FailureCount {
                kind: failure.kind.to_owned(),
                count: failure.count,
                first: failure.first.to_string(),
                last: failure.last.to_string(),
                text: failure.text.clone(),
            })
            .collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes as MiB, rounded for people")]
fn mib(bytes: u64) -> f64 {
    (bytes as f64 / MIB * 10.0).round() / 10.0
}

pub(crate) fn stats(view: &StatsView) -> wire::Stats {
    let cpu = view.usage.map(|usage| (usage.cpu_percent * 10.0).round() / 10.0);
    let memory = view.usage.map(|usage| mib(usage.memory_bytes));
    wire::Stats {
        status: view.state.to_string(),
        cpu_percent: cpu,
        cpu_usage: cpu,
        memory_mb: memory,
        memory_usage_mb: memory,
        memory_limit_mb: view.limits.memory_mb,
        pids: view.usage.map(|usage| usage.pids),
        network_connections: view.usage.map(|_| view.connections),
        network_rx_bytes: view.usage.map(|_| view.received_bytes),
        network_tx_bytes: view.usage.map(|_| view.sent_bytes),
        data_used_mb: view.data_bytes.map(mib),
        data_limit_mb: view.limits.data_mb,
        data_quota: Some(view.data_quota.as_str().to_owned()),
    }
}

pub(crate) fn metrics(view: &MetricsView) -> wire::PluginMetrics {
    wire::PluginMetrics {
        in_flight: view.in_flight as u64,
        queued: view.queued as u64,
        late_answers: view.late_answers,
        ..figures(&view.metrics)
    }
}

/// Figures about calls that have ended.
pub(crate) fn figures(metrics: &Metrics) -> wire::PluginMetrics {
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1_000.0;
    #[expect(clippy::cast_precision_loss, reason = "a rate and a mean of counted calls")]
    let share = |part: f64| (metrics.invocations > 0).then(|| part / metrics.invocations as f64);
    #[expect(clippy::cast_precision_loss, reason = "a rate of counted calls")]
    let successes = metrics.successes as f64;
    wire::PluginMetrics {
        invocations: metrics.invocations,
        successes: metrics.successes,
        failures: metrics.failures,
        success_rate: share(successes),
        avg_execution_time_ms: share(ms(metrics.total)),
        min_execution_time_ms: share(0.0).map(|_| ms(metrics.min)),
        max_execution_time_ms: share(0.0).map(|_| ms(metrics.max)),
        last_execution: metrics.last.map(|at| at.to_string()),
        ..wire::PluginMetrics::default()
    }
}

pub(crate) fn call(call: &CallRecord) -> wire::CallView {
    wire::CallView {
        call_id: call.call.to_string(),
        method: call.method.to_string(),
        started_at: call.started_at.to_string(),
        duration_ms: Some(call.duration.as_secs_f64() * 1_000.0),
        outcome: call.outcome.as_str().to_owned(),
    }
}

pub(crate) fn sandbox(engine: &str, view: Option<SandboxView>) -> wire::SandboxView {
    let engine = engine.to_owned();
    match view {
        None => wire::SandboxView { engine, ..wire::SandboxView::default() },
        Some(SandboxView { isolation, container, image, weaker, spec: wanted, report }) => wire::SandboxView {
            engine,
            isolation: isolation.map(|isolation| isolation.to_string()),
            container_id: Some(container),
            image: Some(image),
            spec: Some(spec(&wanted, isolation)),
            report: Some(report),
            weaker,
        },
    }
}

/// The specification in the words of the documentation.
fn spec(spec: &SandboxSpec, isolation: Option<Isolation>) -> Value {
    json!({
        "session": spec.session,
        // The process engine has none.
        "image": (isolation != Some(Isolation::Process)).then_some(&spec.image),
        "uid": spec.uid,
        "limits": wire::Limits::from(spec.limits),
        "network": "none",
        "package": spec.package,
        "runtime": spec.runtime,
        "instance_dir": spec.instance_dir,
        "data": spec.data.as_ref().map(|data| &data.source),
        "data_quota": spec.data.as_ref().map(|data| data.quota.as_str()),
        "folders": spec.folders.iter().map(|folder| &folder.name).collect::<Vec<_>>(),
    })
}

pub(crate) fn limits(view: &LimitsView) -> wire::LimitsView {
    wire::LimitsView {
        limits: view.limits.into(),
        overridden: view.set.into(),
        manifest: view.manifest.into(),
        ceiling: view.ceiling.into(),
    }
}

pub(crate) fn state_event(event: &StateEvent) -> wire::StateEvent {
    wire::StateEvent {
        plugin: event.plugin.to_string(),
        from: event.from.to_string(),
        to: event.to.to_string(),
        at: event.at.to_string(),
    }
}
