//! What reading the code of plugins said.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use plugbay_operations as operations;
use plugbay_wire::{AdvisoriesImported, ScanShown};
use utoipa::ToSchema;

use super::body::{BodyLimits, Paced, broken};
use super::openapi::{ChangeProblems, LookProblems, SendProblems};
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

/// Bytes of all advisories together. Those of `PyPI` have 20 MiB.
const MAX_ADVISORIES: u64 = 64 * 1024 * 1024;

/// Records of OSV, one in each line. Generators of clients know no media type for lines of JSON.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub(super) struct AdvisoryLines(Vec<u8>);

/// Brings in known holes of packages, in the place of what was brought in before. All scans compare them with
/// `vendor.lock`, and what is installed is read again.
#[utoipa::path(post, path = "/api/advisories", operation_id = "importAdvisories", tag = "system",
    request_body(content = AdvisoryLines, content_type = "application/octet-stream", description = "Records of OSV, one in each line"),
    responses((status = 200, description = "They are there", body = AdvisoriesImported), SendProblems))]
pub(super) async fn import(
    permit: Permit<Operate>,
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let limits = BodyLimits::new(app.service.config(), MAX_ADVISORIES);
    let mut body = Paced::new(&request, payload, limits)?;
    let mut import = operations::begin_advisories(&app.service, &permit.0).await?;
    while let Some(bytes) = body.next().await {
        import.write(&bytes.map_err(|error| broken(&error, &limits))?).await?;
    }
    let service = Arc::clone(&app.service);
    let finish = async move { import.finish(&service, &permit.0).await };
    let imported = app.service.to_the_end("advisories", finish).await?;
    let shown = AdvisoriesImported { advisories: imported.advisories, digest: imported.digest.to_string() };
    Ok(HttpResponse::Ok().json(shown))
}
