//! Running plugins: enable, disable, limits, and what can be seen of them.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_operations as operations;
use plugbay_operations::{Dependents, StatusChange};
use plugbay_wire::{
    CallList, LimitsChange, LimitsView, LogLine, PluginHealthView, PluginMetrics, SandboxPlan, SandboxView, StateEvent,
    Stats, StatusChanged,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::{LookProblems, RunProblems, SendProblems};
use super::paging::{invalid, query};
use super::permit::{NoBody, Operate, Permit, Read};
use super::problem::Problem;
use super::{App, body, stream, view};

/// Most lines of a log in one answer.
const MAX_TAIL: usize = 100_000;

/// Starts a plugin and keeps it running.
#[utoipa::path(post, path = "/api/plugins/{id}/enable", operation_id = "enablePlugin", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "It is active", body = StatusChanged), RunProblems))]
pub(super) async fn enable(
    permit: Permit<Operate>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let service = Arc::clone(&app.service);
    let change =
        app.service.to_the_end("enable", async move { operations::enable(&service, &permit.0, &id).await }).await?;
    let also_enabled = view::texts(&change.also);
    Ok(HttpResponse::Ok().json(StatusChanged { also_enabled, ..changed(&change, "Plugin enabled successfully") }))
}

/// How to disable.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DisableQuery {
    /// Disable enabled plugins that require it before it, instead of refusing.
    cascade: Option<bool>,
}

/// Stops a plugin and keeps it stopped. Calls under way may end.
#[utoipa::path(post, path = "/api/plugins/{id}/disable", operation_id = "disablePlugin", tag = "running",
    params(("id" = String, Path, description = "Id or name"), DisableQuery),
    responses((status = 200, description = "It is stopped", body = StatusChanged), RunProblems))]
pub(super) async fn disable(
    permit: Permit<Operate>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let DisableQuery { cascade } = query(&request)?;
    let dependents = if cascade.unwrap_or(false) { Dependents::Cascade } else { Dependents::Refuse };
    let service = Arc::clone(&app.service);
    let disabling = async move { operations::disable(&service, &permit.0, &id, dependents).await };
    let change = app.service.to_the_end("disable", disabling).await?;
    let also_disabled = view::texts(&change.also);
    Ok(HttpResponse::Ok().json(StatusChanged { also_disabled, ..changed(&change, "Plugin disabled successfully") }))
}

/// Lets calls through again to a plugin that failed too often.
#[utoipa::path(post, path = "/api/plugins/{id}/breaker/reset", operation_id = "resetBreaker", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "Calls are let through", body = StatusChanged), RunProblems))]
pub(super) async fn reset_breaker(
    permit: Permit<Operate>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let change = operations::reset_breaker(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(changed(&change, "Calls are let through")))
}

fn changed(change: &StatusChange, message: &str) -> StatusChanged {
    StatusChanged {
        plugin_id: change.plugin.id.to_string(),
        status: change.plugin.status.as_str().to_owned(),
        state: change.state.to_string(),
        message: message.to_owned(),
        also_enabled: Vec::new(),
        also_disabled: Vec::new(),
    }
}

/// Shows the limits of a plugin and where each comes from.
#[utoipa::path(get, path = "/api/plugins/{id}/limits", operation_id = "showLimits", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The limits", body = LimitsView), LookProblems))]
pub(super) async fn limits(
    permit: Permit<Operate>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let limits = operations::show_limits(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::limits(&limits)))
}

/// Sets the operator's limits of a plugin as a whole; one that runs is started anew with them.
#[utoipa::path(put, path = "/api/plugins/{id}/limits", operation_id = "setLimits", tag = "running", params(("id" = String, Path, description = "Id or name")),
    request_body = LimitsChange,
    responses((status = 200, description = "The limits now", body = LimitsView), SendProblems))]
pub(super) async fn set_limits(
    permit: Permit<Operate>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let change: LimitsChange = body::json(&request, payload, app.service.config()).await?;
    let service = Arc::clone(&app.service);
    let set = async move { operations::set_limits(&service, &permit.0, &id, change.into()).await };
    let limits = app.service.to_the_end("limits.set", set).await?;
    Ok(HttpResponse::Ok().json(view::limits(&limits)))
}

/// Tells how a plugin is.
#[utoipa::path(get, path = "/api/plugins/{id}/health", operation_id = "showPluginHealth", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "How it is", body = PluginHealthView), LookProblems))]
pub(super) async fn health(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let health = operations::plugin_health(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::health(&health)))
}

/// Tells what a plugin uses.
#[utoipa::path(get, path = "/api/plugins/{id}/stats", operation_id = "showStats", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "What it uses", body = Stats), LookProblems))]
pub(super) async fn stats(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let stats = operations::plugin_stats(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::stats(&stats)))
}

/// Tells how many calls a plugin had and how they went.
#[utoipa::path(get, path = "/api/plugins/{id}/metrics", operation_id = "showPluginMetrics", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The figures", body = PluginMetrics), LookProblems))]
pub(super) async fn metrics(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let metrics = operations::plugin_metrics(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::metrics(&metrics)))
}

/// Lists the last calls of a plugin, latest first.
#[utoipa::path(get, path = "/api/plugins/{id}/calls", operation_id = "listCalls", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The calls", body = CallList), LookProblems))]
pub(super) async fn calls(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let calls = operations::plugin_calls(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(CallList { calls: calls.iter().map(view::call).collect() }))
}

/// Shows the sandbox a plugin runs in: what was specified, and what the kernel said inside.
#[utoipa::path(get, path = "/api/plugins/{id}/sandbox", operation_id = "showSandbox", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The sandbox", body = SandboxView), LookProblems))]
pub(super) async fn sandbox(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let sandbox = operations::plugin_sandbox(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::sandbox(app.service.fleet().engine_name(), sandbox)))
}

/// Shows exactly what would be sent to the engine to start a plugin now.
#[utoipa::path(get, path = "/api/plugins/{id}/sandbox/plan", operation_id = "planSandbox", tag = "running", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The plan", body = SandboxPlan), RunProblems))]
pub(super) async fn plan(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let body = operations::plan(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(SandboxPlan { engine: app.service.fleet().engine_name().to_owned(), body }))
}

/// Which lines of a log to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Only so many of the last lines, up to 100000; all when absent.
    #[param(maximum = 100_000)]
    tail: Option<usize>,
    /// Only lines from this time on.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Go on with lines as they come, as server-sent events `log`.
    follow: Option<bool>,
}

/// Shows what a plugin printed and logged.
#[utoipa::path(get, path = "/api/plugins/{id}/logs", operation_id = "showLogs", tag = "running",
    params(("id" = String, Path, description = "Id or name"), LogQuery),
    responses((status = 200, content((LogLine = "application/x-ndjson"), (LogLine = "text/event-stream")), description = "The lines"), LookProblems))]
pub(super) async fn logs(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let LogQuery { tail, since, follow } = query(&request)?;
    if tail.is_some_and(|tail| tail > MAX_TAIL) {
        return Err(invalid("tail", format!("expected at most {MAX_TAIL}")));
    }
    let since = since.map(|time| time.parse()).transpose();
    let since = since.map_err(|error: plugbay_domain::TimeError| invalid("since", error.to_string()))?;
    let (lines, following) = operations::plugin_logs(&app.service, &permit.0, &id, tail, since).await?;
    let texts = lines.iter().filter_map(|line| serde_json::to_string(line).ok());
    if follow.unwrap_or(false) {
        return Ok(stream::follow("log", texts.collect(), following, app.service.shutdown(), |line| {
            serde_json::to_string(line).ok()
        }));
    }
    let text: String = texts.map(|line| line + "\n").collect();
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").body(text))
}

/// Streams what happens to plugins, as server-sent events `plugin.state`.
#[utoipa::path(get, path = "/api/events", operation_id = "streamEvents", tag = "running",
    responses((status = 200, body = StateEvent, content_type = "text/event-stream", description = "The events"), LookProblems))]
pub(super) async fn events(permit: Permit<Read>, _body: NoBody, app: Data<App>) -> HttpResponse {
    let caller = permit.0;
    stream::follow(
        "plugin.state",
        Vec::new(),
        app.service.fleet().state_events(),
        app.service.shutdown(),
        move |event| {
            // A token for some plugins hears of these alone.
            let seen = caller.may_see(&event.plugin);
            seen.then(|| serde_json::to_string(&view::state_event(event)).ok()).flatten()
        },
    )
}
