//! Configuration of plugins: read, replaced as a whole, tried out. Secrets go in and never come out.

use std::fmt;
use std::sync::Arc;

use actix_web::guard::GuardContext;
use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_domain::{Code, escape};
use plugbay_operations as operations;
use plugbay_operations::{ConfigView, IfMatch};
use plugbay_wire as wire;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::openapi::{ConditionProblems, LookProblems, SendProblems};
use super::permit::{NoBody, Operate, Permit};
use super::problem::Problem;
use super::{App, body, view};

/// Longest configuration. It is sent to the plugin in one message, beside much else.
const MAX_BYTES: u64 = 256 * 1024;

/// A configuration as it is sent: each field once. Of two values for one field, one would be lost without a word.
struct Fields(Map<String, Value>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Fields, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if fields.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom("a field stands here twice"));
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

/// Reads a configuration. No answer repeats any of it: some of it may be secret, also where it is not an object.
async fn fields(request: &HttpRequest, payload: Payload, app: &App) -> Result<Map<String, Value>, Problem> {
    let raw: Box<RawValue> = body::json_up_to(request, payload, app.service.config(), MAX_BYTES).await?;
    if !raw.get().starts_with('{') {
        return Err(Problem::new(Code::BadRequest, "expected an object of fields"));
    }
    let fields = serde_json::from_str(raw.get());
    fields.map(|Fields(fields)| fields).map_err(|error| Problem::new(Code::BadRequest, escape(&error.to_string())))
}

fn answer(view: ConfigView) -> HttpResponse {
    let tag = format!("\"{}\"", view.revision);
    HttpResponse::Ok().insert_header((ETAG, tag)).json(view::config(view))
}

/// Shows the configuration of a plugin, what may be set, and what is missing. Secrets are not shown.
#[utoipa::path(get, path = "/api/plugins/{id}/config", operation_id = "showConfig", tag = "configuration", params(("id" = String, Path, description = "Id or name")),
    responses((status = 200, description = "The configuration", body = wire::ConfigView,
        headers(("ETag" = String, description = "Counts the changes"))), LookProblems))]
pub(super) async fn show(
    permit: Permit<Operate>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    Ok(answer(operations::show_config(&app.service, &permit.0, &id).await?))
}

/// Replaces the configuration of a plugin. `null` keeps a secret; fields that are left out have their defaults again. A plugin that
/// runs gets it at once, and a version that waited for it starts to serve.
#[utoipa::path(put, path = "/api/plugins/{id}/config", operation_id = "replaceConfig", tag = "configuration",
    params(("id" = String, Path, description = "Id or name"),
        ("If-Match" = String, Header, description = "The ETag that was read, or `*`")),
    request_body(content = Object, example = json!({"endpoint": "https://e.example", "api_key": null})),
    responses((status = 200, description = "The configuration now", body = wire::ConfigView,
        headers(("ETag" = String, description = "Counts the changes"))), ConditionProblems))]
pub(super) async fn replace(
    permit: Permit<Operate>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let condition = condition(&request)?;
    let fields = fields(&request, payload, &app).await?;
    let service = Arc::clone(&app.service);
    let set = async move { operations::set_config(&service, &permit.0, &id, &condition, fields).await };
    Ok(answer(app.service.to_the_end("config.set", set).await?))
}

/// Forgets what is set for one field: its default holds again, a secret is removed.
#[utoipa::path(delete, path = "/api/plugins/{id}/config/{field}", operation_id = "unsetConfigField", tag = "configuration",
    params(("id" = String, Path, description = "Id or name"), ("field" = String, Path, description = "The field"),
        ("If-Match" = String, Header, description = "The ETag that was read, or `*`")),
    responses((status = 200, description = "The configuration now", body = wire::ConfigView,
        headers(("ETag" = String, description = "Counts the changes"))), ConditionProblems))]
pub(super) async fn unset(
    permit: Permit<Operate>,
    _body: NoBody,
    app: Data<App>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let condition = condition(&request)?;
    let (id, field) = path.into_inner();
    let service = Arc::clone(&app.service);
    let unset = async move { operations::unset_config(&service, &permit.0, &id, &condition, field).await };
    Ok(answer(app.service.to_the_end("config.unset", unset).await?))
}

/// Answers as replacing the configuration would, and changes nothing.
#[utoipa::path(post, path = "/api/plugins/{id}/config/validate", operation_id = "validateConfig", tag = "configuration",
    params(("id" = String, Path, description = "Id or name")),
    request_body(content = Object, example = json!({"endpoint": "https://e.example", "api_key": null})),
    responses((status = 200, description = "The configuration as it would be", body = wire::ConfigView), SendProblems))]
pub(super) async fn validate(
    permit: Permit<Operate>,
    app: Data<App>,
    path: Path<(String, String)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let fields = fields(&request, payload, &app).await?;
    let found = operations::validate_config(&app.service, &permit.0, &path.0, fields).await?;
    Ok(HttpResponse::Ok().json(view::config(found)))
}

/// Tells validating from what else could stand below `config`.
pub(super) fn is_validate(context: &GuardContext<'_>) -> bool {
    context.head().uri.path().ends_with("/config/validate")
}

/// What the caller has seen. Without it two operators would undo each other's changes without a word.
fn condition(request: &HttpRequest) -> Result<IfMatch, Problem> {
    let mut tags = Vec::new();
    for value in request.headers().get_all(IF_MATCH) {
        let text = value.to_str().unwrap_or_default();
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            if tag == "*" {
                return Ok(IfMatch::Any);
            }
            // A weak tag never matches here, nor does anything that is no tag.
            let strong = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            tags.push(strong.unwrap_or_default().to_owned());
        }
    }
    if tags.is_empty() {
        return Err(Problem::new(Code::IfMatchRequired, "the request has no If-Match"));
    }
    Ok(IfMatch::Tags(tags))
}
