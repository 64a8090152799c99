//! Figures for Prometheus.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::{PluginName, Scope};
use plugbay_fleet::meters;
use plugbay_runtime::metrics::Page;

use super::App;
use super::openapi::LookProblems;
use super::permit::{NoBody, authenticate};
use super::problem::Problem;

/// Tells how much was done and is being done, in the text format of Prometheus. Without a token where only this machine
/// can connect; a token for some plugins sees those.
#[utoipa::path(get, path = "/metrics", operation_id = "scrapeMetrics", tag = "system", security((), ("token" = [])),
    responses((status = 200, description = "The figures", body = String, content_type = "text/plain"), LookProblems))]
pub(super) async fn metrics(request: HttpRequest, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let caller = if app.is_local { None } else { Some(authenticate(&request, Scope::Read)?) };
    let mut page = Page::default();
    let may_see = |name: &PluginName| caller.as_ref().is_none_or(|caller| caller.may_see(name));
    meters::write_metrics(app.service.fleet(), &mut page, may_see).await?;
    let is_there = |name: &PluginName| app.service.fleet().known_plugin(name.as_str()).is_some();
    app.chat.write_metrics(&mut page, |name| may_see(name) && is_there(name));
    app.meters.write(&mut page);
    Ok(HttpResponse::Ok().content_type(Page::MEDIA_TYPE).body(page.into_text()))
}
