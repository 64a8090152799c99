//! Update: as install, for a plugin that is there.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

use super::install::{Once, UploadForm, answer, once, receive};
use super::openapi::UploadProblems;
use super::paging::query;
use super::permit::{Install, Permit};
use super::problem::Problem;
use super::{App, view};
use crate::service::Downgrade;
use crate::wire::{InstallFromUrl, Updated};

/// How to update.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UpdateQuery {
    /// Accept a version lower than one that has served.
    allow_downgrade: Option<bool>,
}

/// Updates a plugin.
#[utoipa::path(post, path = "/api/plugins/{id}/update", tag = "plugins",
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
    // Asked first, so that nobody uploads 64 MiB to learn that the name is wrong.
    app.service.show_plugin(&caller, &id).await?;
    let incoming = receive(&app.service, &caller, &request, payload).await?;
    let remember = match once(&app.service, &caller, &request, &incoming).await? {
        Once::Replay(answer) => return Ok(answer),
        Once::Run(remember) => remember,
    };
    let service = Arc::clone(&app.service);
    let body = app
        .service
        .to_the_end("update", async move {
            let outcome = service.update(&caller, &id, incoming, downgrade).await?;
            answer(&service, remember, 200, &view::updated(&outcome)).await
        })
        .await?;
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}
