//! Permissions: what is asked for, granting, denying, taking back.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::{FieldError, PermissionRequest};
use plugbay_operations as operations;
use plugbay_operations::Approval;
use plugbay_wire::{ApproveRequest, PermissionItem, PermissionsDecided, PermissionsShown, RevokeRequest};

use super::keys::Fields;
use super::openapi::{LookProblems, SendProblems};
use super::permit::{Approve, NoBody, Permit};
use super::problem::Problem;
use super::{App, body, view};

/// Shows what a plugin asks for, and who decided what about it.
#[utoipa::path(get, path = "/api/plugins/{id}/permissions", operation_id = "showPermissions", tag = "permissions", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "What it asks for and what was decided", body = PermissionsShown), LookProblems))]
pub(super) async fn show(
    permit: Permit<Approve>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = operations::show_permissions(&app.service, &permit.0, &id).await?;
    Ok(HttpResponse::Ok().json(view::permissions_of(&found)))
}

/// Grants and denies permissions, and accepts risks. The last decision that a waiting version needs starts the update.
#[utoipa::path(post, path = "/api/plugins/{id}/permissions/approve", operation_id = "approvePermissions", tag = "permissions", params(("id" = String, Path, description = "Id or name")),
    request_body = ApproveRequest,
    responses((status = 200, description = "What was decided", body = PermissionsDecided), SendProblems))]
pub(super) async fn approve(
    permit: Permit<Approve>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let request: ApproveRequest =
        body::optional_json(&request, payload, app.service.config(), body::MAX_JSON_BYTES).await?;
    let approval = checked(request)?;
    let service = Arc::clone(&app.service);
    let approve = async move { operations::approve(&service, &permit.0, &id, approval).await };
    let outcome = app.service.to_the_end("permissions.approve", approve).await?;
    Ok(HttpResponse::Ok().json(view::decided(&outcome)))
}

/// Takes permissions back, at once also from a plugin that runs.
#[utoipa::path(post, path = "/api/plugins/{id}/permissions/revoke", operation_id = "revokePermissions", tag = "permissions", params(("id" = String, Path, description = "Id or name")),
    request_body = RevokeRequest,
    responses((status = 200, description = "What was taken back", body = PermissionsDecided), SendProblems))]
pub(super) async fn revoke(
    permit: Permit<Approve>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let RevokeRequest { permissions, note } = body::json(&request, payload, app.service.config()).await?;
    let mut fields = Fields::default();
    let permissions = items(&mut fields, "/permissions", permissions);
    fields.finish()?;
    let service = Arc::clone(&app.service);
    let revoke = async move { operations::revoke_permissions(&service, &permit.0, &id, &permissions, note).await };
    let outcome = app.service.to_the_end("permissions.revoke", revoke).await?;
    Ok(HttpResponse::Ok().json(view::decided(&outcome)))
}

fn checked(request: ApproveRequest) -> Result<Approval, Problem> {
    let ApproveRequest { grant, deny, accept_risks, note, expires_at, digest } = request;
    let mut fields = Fields::default();
    let approval = Approval {
        grant: items(&mut fields, "/grant", grant),
        deny: items(&mut fields, "/deny", deny),
        accept_risks: fields.parse_all("/accept_risks", &accept_risks),
        note,
        expires_at: fields.parse("/expires_at", expires_at.as_deref()),
        digest: fields.parse("/digest", digest.as_deref()),
    };
    fields.finish()?;
    Ok(approval)
}

fn items(fields: &mut Fields, pointer: &str, items: Vec<PermissionItem>) -> Vec<PermissionRequest> {
    let mut found = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let (permission, scope) = match item {
            PermissionItem::Whole(permission) => (permission, Vec::new()),
            PermissionItem::Scoped { permission, scope } => (permission, scope),
        };
        match permission.parse() {
            Ok(permission) => found.push(PermissionRequest { permission, scope }),
            Err(error) => {
                let error: plugbay_domain::UnknownPermission = error;
                fields.0.push(FieldError::at(format!("{pointer}/{at}"), error.to_string()));
            }
        }
    }
    found
}
