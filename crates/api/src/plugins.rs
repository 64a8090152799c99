//! Looking plugins up, and uninstalling them.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::PluginStatus;
use plugbay_operations as operations;
use plugbay_operations::{KeptData, Listing};
use plugbay_wire::{PluginDetail, PluginList, StatusFilter, VersionList};
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::{ChangeProblems, LookProblems};
use super::paging::{Page, query};
use super::permit::{Install, NoBody, Permit, Read};
use super::problem::Problem;
use super::{App, view};

/// Which plugins to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only plugins of this status; `disabled` means not enabled.
    status: Option<StatusFilter>,
    /// Only plugins whose name, description or tags contain this text.
    q: Option<String>,
    /// Plugins on a page, 1 to 1000; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists plugins.
#[utoipa::path(get, path = "/api/plugins", operation_id = "listPlugins", tag = "plugins", params(ListQuery),
    responses((status = 200, description = "The plugins, by name", body = PluginList), LookProblems))]
pub(super) async fn list(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let ListQuery { status, q, limit, cursor } = query(&request)?;
    let page = Page::parse(limit, cursor.as_deref())?;
    let found = operations::list_plugins(&app.service, &permit.0, &listing(status.unwrap_or_default(), q)).await?;
    let total = found.len();
    let mut rest =
        found.iter().filter(|view| page.after.as_deref().is_none_or(|after| view.plugin.name.as_str() > after));
    let plugins: Vec<_> = rest.by_ref().take(page.limit).map(view::summary).collect();
    let next_cursor = rest.next().and(plugins.last()).map(|last| Page::cursor(&last.name));
    Ok(HttpResponse::Ok().json(PluginList { plugins, total, next_cursor }))
}

fn listing(status: StatusFilter, search: Option<String>) -> Listing {
    let (quarantined, statuses) = match status {
        StatusFilter::All => (None, vec![]),
        StatusFilter::Installed => (Some(false), vec![PluginStatus::Installed]),
        StatusFilter::Enabled => (Some(false), vec![PluginStatus::Enabled]),
        StatusFilter::Disabled => (Some(false), vec![PluginStatus::Installed, PluginStatus::Disabled]),
        StatusFilter::Quarantined => (Some(true), vec![]),
    };
    Listing { quarantined, statuses, search }
}

/// Shows one plugin.
#[utoipa::path(get, path = "/api/plugins/{id}", operation_id = "showPlugin", tag = "plugins", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The plugin", body = PluginDetail), LookProblems))]
pub(super) async fn show(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = operations::show_plugin(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::detail(&found, app.service.now())))
}

/// Shows the manifest of the serving version.
#[utoipa::path(get, path = "/api/plugins/{id}/manifest", operation_id = "showManifest", tag = "plugins", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "plugin.yaml as JSON", body = Object), LookProblems))]
pub(super) async fn manifest(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = operations::show_plugin(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(&*found.manifest))
}

/// Lists the versions of a plugin.
#[utoipa::path(get, path = "/api/plugins/{id}/versions", operation_id = "listVersions", tag = "plugins", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The versions", body = VersionList), LookProblems))]
pub(super) async fn versions(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = operations::list_versions(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::versions(&found)))
}

/// How to uninstall.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UninstallQuery {
    /// Remove what the plugin kept, too.
    purge: Option<bool>,
}

/// Uninstalls a plugin.
#[utoipa::path(delete, path = "/api/plugins/{id}", operation_id = "uninstallPlugin", tag = "plugins",
    params(("id" = String, Path, description = "Id or name"), UninstallQuery),
    responses((status = 204, description = "It is gone"), ChangeProblems))]
pub(super) async fn uninstall(
    permit: Permit<Install>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let UninstallQuery { purge } = query(&request)?;
    let data = if purge.unwrap_or(false) { KeptData::Purge } else { KeptData::Keep };
    let service = std::sync::Arc::clone(&app.service);
    app.service
        .to_the_end("uninstall", async move { operations::uninstall(&service, &permit.0, &id, data).await })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
