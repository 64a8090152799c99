//! The audit log.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use plugbay_operations as operations;
use plugbay_operations::{AuditFilter, VerifiedAudit};
use plugbay_wire::{AuditList, AuditVerified};
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::LookProblems;
use super::paging::{Page, invalid, query};
use super::permit::{Audit, NoBody, Permit};
use super::problem::Problem;
use super::{App, view};

/// Which rows to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Only rows about this plugin, by name.
    plugin: Option<String>,
    /// Only rows of this token, or of `service`.
    actor: Option<String>,
    /// Only rows from this time on.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Rows on a page, 1 to 1000; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists rows of the audit log, newest first.
#[utoipa::path(get, path = "/api/audit", operation_id = "listAudit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "The rows", body = AuditList), LookProblems))]
pub(super) async fn list(
    permit: Permit<Audit>,
    _body: NoBody,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let AuditQuery { plugin, actor, since, limit, cursor } = query(&request)?;
    let page = Page::parse(limit, cursor.as_deref())?;
    let filter = AuditFilter {
        plugin: plugin.map(|name| name.parse()).transpose().map_err(|error| bad("plugin", &error))?,
        actor,
        since: since.map(|time| time.parse()).transpose().map_err(|error| bad("since", &error))?,
        before: page.after.map(|seq| seq.parse()).transpose().map_err(|error| bad("cursor", &error))?,
    };
    // One more than asked for tells whether there is another page.
    let wanted = i64::try_from(page.limit + 1).unwrap_or(i64::MAX);
    let mut found = operations::list_audit(&app.service, &permit.0, &filter, wanted).await?;
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next_cursor = found.last().filter(|_| more).map(|last| Page::cursor(&last.seq.to_string()));
    let entries = found.into_iter().map(view::audit_entry).collect();
    Ok(HttpResponse::Ok().json(AuditList { entries, next_cursor }))
}

fn bad(parameter: &str, error: &dyn std::fmt::Display) -> Problem {
    invalid(parameter, error.to_string())
}

/// Verifies the whole chain.
#[utoipa::path(get, path = "/api/audit/verify", operation_id = "verifyAudit", tag = "audit",
    responses((status = 200, description = "Nobody changed it", body = AuditVerified),
        (status = 409, description = "It was changed", body = plugbay_wire::ProblemBody, content_type = "application/problem+json"),
        LookProblems))]
pub(super) async fn verify(_permit: Permit<Audit>, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let VerifiedAudit { head, taken_over } = operations::verify_audit(&app.service, None).await?;
    Ok(HttpResponse::Ok().json(AuditVerified { ok: true, entries: head.seq, taken_over, head: head.to_string() }))
}
