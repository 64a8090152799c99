//! Update: as install, for a plugin that is there; and the way back.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_operations as operations;
use plugbay_operations::Downgrade;
use plugbay_wire::{InstallFromUrl, RollbackRequest, RolledBack, Updated};
use serde::Deserialize;
use utoipa::IntoParams;

use super::install::{UploadForm, carry_out};
use super::keys::Fields;
use super::openapi::{SendProblems, UploadProblems};
use super::paging::query;
use super::permit::{Install, Permit};
use super::problem::Problem;
use super::{App, body, view};

/// How to update.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UpdateQuery {
    /// Accept a version lower than one that has served.
    allow_downgrade: Option<bool>,
}

/// Updates a plugin.
#[utoipa::path(post, path = "/api/plugins/{id}/update", operation_id = "updatePlugin", tag = "plugins",
    params(("id" = String, Path, description = "Id or name"), UpdateQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Repeating the request with the same key gives the first answer again")),
    request_body(content((UploadForm = "multipart/form-data"), (InstallFromUrl = "application/json"))),
    responses((status = 200, description = "What became of the new version", body = Updated), UploadProblems))]
pub(super) async fn update(
    permit: Permit<Install>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = permit.0;
    let UpdateQuery { allow_downgrade } = query(&request)?;
    let downgrade = if allow_downgrade == Some(true) { Downgrade::Allow } else { Downgrade::Refuse };
    // Asked first, so that no caller uploads 64 MiB to learn that the name is wrong.
    operations::find_plugin(&app.service, &caller, &id).await?;
    carry_out(&app, &caller.clone(), &request, payload, StatusCode::OK, move |service, incoming| async move {
        Ok(view::updated(&Box::pin(operations::update(&service, &caller, &id, incoming, downgrade)).await?))
    })
    .await
}

/// Lets an earlier version serve again.
#[utoipa::path(post, path = "/api/plugins/{id}/rollback", operation_id = "rollbackPlugin", tag = "plugins",
    params(("id" = String, Path, description = "Id or name")), request_body = RollbackRequest,
    responses((status = 200, description = "The version that serves now", body = RolledBack), SendProblems))]
pub(super) async fn rollback(
    permit: Permit<Install>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let RollbackRequest { version, restore_data } =
        body::optional_json(&request, payload, app.service.config(), body::MAX_JSON_BYTES).await?;
    let mut fields = Fields::default();
    let version = fields.parse("/version", version.as_deref());
    fields.finish()?;
    let service = Arc::clone(&app.service);
    let rollback = async move { operations::rollback(&service, &permit.0, &id, version, restore_data).await };
    let outcome = app.service.to_the_end("plugin.rollback", rollback).await?;
    Ok(HttpResponse::Ok().json(view::rolled_back(&outcome)))
}
