//! What reading the code of plugins said.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use plugbay_operations as operations;
use plugbay_wire::ScanShown;

use super::openapi::{ChangeProblems, LookProblems};
use super::permit::{NoBody, Operate, Permit, Read};
use super::problem::Problem;
use super::{App, view};

/// Shows what reading the code of a plugin said.
#[utoipa::path(get, path = "/api/plugins/{id}/scan", operation_id = "showScan", tag = "plugins", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "Verdict and hits", body = ScanShown), LookProblems))]
pub(super) async fn show(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = operations::show_scan(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::scan(&found)))
}

/// Reads the code of a plugin again, by the present rules.
#[utoipa::path(post, path = "/api/plugins/{id}/scan", operation_id = "scanPlugin", tag = "plugins", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "Verdict and hits", body = ScanShown), ChangeProblems))]
pub(super) async fn again(
    permit: Permit<Operate>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let service = Arc::clone(&app.service);
    let scan = async move { operations::scan_again(&service, &permit.0, &id).await };
    let found = app.service.to_the_end("scan", scan).await?;
    Ok(HttpResponse::Ok().json(view::scan(&found)))
}
