//! Plugins as chat applications show them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use actix_web::web::Data;
use plugbay_domain::Priority;
use plugbay_operations::{Listing, PluginView, list_plugins};
use plugbay_wire::{ChatPluginMetrics, ChatPluginView, ChatPlugins, PluginMetrics};

use crate::openapi::LookProblems;
use crate::permit::{NoBody, Permit, Read};
use crate::problem::Problem;
use crate::{App, view};

const EVERY: Listing = Listing { quarantined: None, statuses: Vec::new(), search: None };

/// Lists every plugin with its state, its health and its circuit breaker, by name.
#[utoipa::path(get, path = "/plugins", operation_id = "listChatPlugins", tag = "chat",
    responses((status = 200, description = "The plugins", body = ChatPlugins), LookProblems))]
pub(crate) async fn plugins(permit: Permit<Read>, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let listed = list_plugins(&app.service, &permit.0, &EVERY).await?;
    let plugins: BTreeMap<_, _> =
        listed.iter().map(|plugin| (plugin.plugin.name.to_string(), shown(&app, plugin))).collect();
    Ok(HttpResponse::Ok().json(ChatPlugins { total: plugins.len(), plugins }))
}

fn shown(app: &App, plugin: &PluginView) -> ChatPluginView {
    let member = app.service.fleet().member(plugin.plugin.id, &plugin.plugin.name);
    let report = member.session().and_then(|session| session.health());
    let priority = plugin.manifest.chat.as_ref().map_or(Priority::Normal, |chat| chat.priority);
    ChatPluginView {
        name: plugin.plugin.name.to_string(),
        version: plugin.serving.version.to_string(),
        kind: plugin.manifest.kind.to_string(),
        state: plugin.runtime.state.as_str().to_ascii_uppercase(),
        priority: priority.to_string(),
        health: report.map(|report| report.health.into()),
        circuit_breaker: view::breaker(plugin.runtime.breaker),
        hooks: plugin.manifest.hooks.iter().map(|hook| hook.name.to_string()).collect(),
    }
}

/// Figures about every plugin since the service started, by name.
#[utoipa::path(get, path = "/plugins/metrics", operation_id = "showChatMetrics", tag = "chat",
    responses((status = 200, description = "The figures", body = BTreeMap<String, ChatPluginMetrics>), LookProblems))]
pub(crate) async fn metrics(permit: Permit<Read>, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let listed = list_plugins(&app.service, &permit.0, &EVERY).await?;
    let figures = listed.iter().map(|plugin| (plugin.plugin.name.to_string(), figures(&app, plugin)));
    Ok(HttpResponse::Ok().json(figures.collect::<BTreeMap<_, _>>()))
}

fn figures(app: &App, plugin: &PluginView) -> ChatPluginMetrics {
    let member = app.service.fleet().member(plugin.plugin.id, &plugin.plugin.name);
    let of_chat = member.record.metrics_of_chat().into_iter();
    ChatPluginMetrics {
        all: PluginMetrics {
            in_flight: member.running.load(Ordering::Relaxed) as u64,
            queued: member.queued.load(Ordering::Relaxed) as u64,
            late_answers: member.session().map_or(0, |session| session.late_answers()),
            ..view::figures(&member.record.metrics())
        },
        hooks: of_chat.map(|(method, metrics)| (method.to_owned(), view::figures(&metrics))).collect(),
    }
}
