//! Tools of enabled plugins.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use plugbay_operations as operations;
use plugbay_wire::{ToolForm, ToolList};
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::LookProblems;
use super::paging::{Page, query};
use super::permit::{NoBody, Permit, Read};
use super::problem::Problem;
use super::{App, view};

/// Which tools to show, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ToolQuery {
    /// Only in this form; in both when absent.
    form: Option<ToolForm>,
    /// Tools on a page, 1 to 1000; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists tools of enabled plugins that the token may use, with the schemas of their arguments.
#[utoipa::path(get, path = "/api/tools", operation_id = "listTools", tag = "tools", params(ToolQuery),
    responses((status = 200, description = "The tools, by name", body = ToolList), LookProblems))]
pub(super) async fn list(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let ToolQuery { form, limit, cursor } = query(&request)?;
    let page = Page::parse(limit, cursor.as_deref())?;
    let found = operations::list_tools(&app.service, &permit.0).await?;
    // Names of plugins have no dot.
    let after = page.after.as_deref().map(|after| after.split_once('.').unwrap_or((after, "")));
    let mut rest =
        found.iter().filter(|view| after.is_none_or(|after| (view.plugin.as_str(), &*view.tool.name) > after));
    let shown: Vec<_> = rest.by_ref().take(page.limit).collect();
    let key = |view: &&operations::ToolView| format!("{}.{}", view.plugin, view.tool.name);
    let next_cursor = rest.next().and(shown.last()).map(|last| Page::cursor(&key(last)));
    let tools = shown.into_iter().map(|found| view::tool(found, form)).collect();
    Ok(HttpResponse::Ok().json(ToolList { tools, total: found.len(), next_cursor }))
}
