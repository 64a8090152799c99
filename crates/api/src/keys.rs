//! Signing keys.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::{FieldError, PublicKey};
use plugbay_operations as operations;
use plugbay_operations::{NewTrustedKey, ServiceError};
use plugbay_wire::{KeyList, KeyView, NewKey};
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::{ChangeProblems, LookProblems, SendProblems};
use super::paging::query;
use super::permit::{NoBody, Permit, Trust};
use super::problem::Problem;
use super::{App, body, view};

/// Longest label and reason.
const MAX_LABEL_CHARACTERS: usize = 200;

/// Lists keys.
#[utoipa::path(get, path = "/api/keys", operation_id = "listKeys", tag = "keys",
    responses((status = 200, description = "Every key, revoked ones included", body = KeyList), LookProblems))]
pub(super) async fn list(_permit: Permit<Trust>, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let keys: Vec<_> = operations::list_keys(&app.service).await?.iter().map(view::key).collect();
    Ok(HttpResponse::Ok().json(KeyList { total: keys.len(), keys }))
}

/// Registers a key.
#[utoipa::path(post, path = "/api/keys", operation_id = "addKey", tag = "keys", request_body = NewKey,
    responses((status = 201, description = "It is trusted", body = KeyView), SendProblems))]
pub(super) async fn add(
    permit: Permit<Trust>,
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let new: NewKey = body::json(&request, payload, app.service.config()).await?;
    let new = checked(new)?;
    let service = Arc::clone(&app.service);
    let key =
        app.service.to_the_end("key.add", async move { operations::add_key(&service, &permit.0, new).await }).await?;
    Ok(HttpResponse::Created().json(view::key(&key)))
}

fn checked(new: NewKey) -> Result<NewTrustedKey, Problem> {
    let key: PublicKey = new.public_key.parse().map_err(ServiceError::Key)?;
    let mut fields = Fields::default();
    let label = fields.label("/label", new.label);
    if new.names.is_empty() {
        fields.0.push(FieldError::at("/names", "at least one name pattern is needed; say `*` for every plugin"));
    }
    let names = fields.parse_all("/names", &new.names);
    let not_before = fields.parse("/not_before", new.not_before.as_deref());
    let not_after = fields.parse("/not_after", new.not_after.as_deref());
    fields.finish()?;
    Ok(NewTrustedKey { key, label, names, not_before, not_after })
}

/// Collects every wrong value of a request before it is refused.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) Vec<FieldError>);

impl Fields {
    /// A name of the operator's: some text on one line.
    pub(super) fn label(&mut self, pointer: &str, text: String) -> String {
        let characters = text.chars().count();
        if text.trim().is_empty() || characters > MAX_LABEL_CHARACTERS || text.contains(char::is_control) {
            let message = format!("expected 1 to {MAX_LABEL_CHARACTERS} characters on one line");
            self.0.push(FieldError::at(pointer, message));
        }
        text
    }

    /// An optional value.
    pub(super) fn parse<T: std::str::FromStr>(&mut self, pointer: &str, text: Option<&str>) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        text?.parse().map_err(|error: T::Err| self.0.push(FieldError::at(pointer, error.to_string()))).ok()
    }

    /// A list of values.
    pub(super) fn parse_all<T: std::str::FromStr>(&mut self, pointer: &str, texts: &[String]) -> Vec<T>
    where
        T::Err: std::fmt::Display,
    {
        let parse = |(index, text): (usize, &String)| self.parse(&format!("{pointer}/{index}"), Some(text));
        texts.iter().enumerate().filter_map(parse).collect()
    }

    /// Refuses the request if any value was wrong.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.0)) }
    }
}

/// Why a key is revoked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevokeQuery {
    /// Why, for whoever asks later.
    reason: Option<String>,
}

/// Revokes a key and quarantines what it signed.
#[utoipa::path(delete, path = "/api/keys/{key_id}", operation_id = "revokeKey", tag = "keys",
    params(("key_id" = String, Path, description = "16 hex digits"), RevokeQuery),
    responses((status = 200, description = "The key, revoked", body = KeyView), ChangeProblems))]
pub(super) async fn revoke(
    permit: Permit<Trust>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let RevokeQuery { reason } = query(&request)?;
    let mut fields = Fields::default();
    let reason = reason.map(|reason| fields.label("/reason", reason));
    fields.finish()?;
    let service = Arc::clone(&app.service);
    let key =
        app.service
            .to_the_end("key.revoke", async move {
                operations::revoke_key(&service, &permit.0, &id, reason.as_deref()).await
            })
            .await?;
    Ok(HttpResponse::Ok().json(view::key(&key)))
}
