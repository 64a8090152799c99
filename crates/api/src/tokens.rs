//! Tokens.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::{FieldError, RequestRate, Scope, ScopeSet, Timestamp};
use plugbay_operations as operations;
use plugbay_operations::NewTokenRequest;
use plugbay_wire::{NewToken, TokenCreated, TokenList, TokenView};

use super::keys::Fields;
use super::openapi::{ChangeProblems, LookProblems, SendProblems};
use super::permit::{Admin, NoBody, Permit};
use super::problem::Problem;
use super::{App, body, view};

/// Patterns of tools of one token.
const MAX_TOOL_PATTERNS: usize = 256;

/// Lists tokens.
#[utoipa::path(get, path = "/api/tokens", operation_id = "listTokens", tag = "tokens",
    responses((status = 200, description = "Every token, revoked ones included", body = TokenList), LookProblems))]
pub(super) async fn list(_permit: Permit<Admin>, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let tokens: Vec<_> = operations::list_tokens(&app.service).await?.iter().map(view::token).collect();
    Ok(HttpResponse::Ok().json(TokenList { total: tokens.len(), tokens }))
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/tokens", operation_id = "createToken", tag = "tokens", request_body = NewToken,
    responses((status = 201, description = "The token with its secret", body = TokenCreated), SendProblems))]
pub(super) async fn create(
    permit: Permit<Admin>,
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let new: NewToken = body::json(&request, payload, app.service.config()).await?;
    let new = checked(new, app.service.now())?;
    let service = Arc::clone(&app.service);
    let (secret, record) = app
        .service
        .to_the_end("token.create", async move { operations::create_token(&service, &permit.0, new).await })
        .await?;
    Ok(HttpResponse::Created().json(TokenCreated { token: secret, view: view::token(&record) }))
}

fn checked(new: NewToken, now: Timestamp) -> Result<NewTokenRequest, Problem> {
    let mut fields = Fields::default();
    let label = fields.label("/label", new.label);
    let scopes = ScopeSet::new(fields.parse_all("/scopes", &new.scopes));
    if new.scopes.is_empty() {
        fields.0.push(FieldError::at("/scopes", "at least one scope is needed"));
    }
    let plugins = new.plugins.map(|patterns| fields.parse_all("/plugins", &patterns));
    if plugins.as_ref().is_some_and(Vec::is_empty) {
        fields.0.push(FieldError::at("/plugins", "at least one name pattern is needed; leave it out for all plugins"));
    }
    let tools = new.tools.map(|patterns| fields.parse_all("/tools", &patterns));
    if tools.as_ref().is_some_and(|tools| tools.is_empty() || tools.len() > MAX_TOOL_PATTERNS) {
        let message = format!("expected 1 to {MAX_TOOL_PATTERNS} patterns; leave it out for every method");
        fields.0.push(FieldError::at("/tools", message));
    }
    if tools.is_some() || new.read_only {
        let more = |scope: &&Scope| !matches!(scope, Scope::Read | Scope::Execute);
        if let Some(scope) = scopes.as_ref().and_then(|scopes| scopes.as_slice().iter().find(more)) {
            let message =
                format!("a token for tools has the scopes read and execute alone; `{scope}` leads around them");
            fields.0.push(FieldError::at("/scopes", message));
        }
    }
    let expires_at: Option<Timestamp> = fields.parse("/expires_at", new.expires_at.as_deref());
    if expires_at.is_some_and(|end| end <= now) {
        fields.0.push(FieldError::at("/expires_at", "expected a time to come"));
    }
    let rate = new.rate.map(|rate| RequestRate::try_from(i64::from(rate))).transpose();
    let rate = rate.map_err(|error| fields.0.push(FieldError::at("/rate", error.to_string()))).ok().flatten();
    fields.finish()?;
    let scopes =
        scopes.ok_or_else(|| Problem::fields(vec![FieldError::at("/scopes", "at least one scope is needed")]))?;
    Ok(NewTokenRequest { label, scopes, plugins, tools, read_only: new.read_only, expires_at, rate })
}

/// Revokes a token at once.
#[utoipa::path(delete, path = "/api/tokens/{id}", operation_id = "revokeToken", tag = "tokens", params(("id" = String, Path, description = "Id of the token")),
    responses((status = 200, description = "The token, revoked", body = TokenView), ChangeProblems))]
pub(super) async fn revoke(
    permit: Permit<Admin>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let service = Arc::clone(&app.service);
    let token = app
        .service
        .to_the_end("token.revoke", async move { operations::revoke_token(&service, &permit.0, &id).await })
        .await?;
    Ok(HttpResponse::Ok().json(view::token(&token)))
}
