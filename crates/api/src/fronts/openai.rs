//! OpenAI's chat completions and models.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_dialects::openai::{self, Stream};
use plugbay_dialects::{Answer, Event};
use plugbay_domain::{Code, escape};
use serde_json::Value;

use super::given::{Form, give};
use super::{Asked, PING, body_of, errors};
use crate::App;
use crate::openapi::{AsOpenAi, LookProblems, RunProblems};
use crate::permit::{Chat, NoBody, Permit};
use crate::problem::Problem;

/// The route, as exchanges are shown with it.
const FRONT: &str = "/v1/chat/completions";

/// One answer.
struct Completion {
    stream: Stream,
    id: String,
    created: i64,
    model: String,
}

impl Form for Completion {
    const PING: &'static str = PING;

    fn write(&mut self, event: &Event, out: &mut String) {
        self.stream.write(event, out);
    }

    fn done(&mut self, out: &mut String) {
        self.stream.done(out);
    }

    fn error(&self, problem: &Problem, out: &mut String) {
        Stream::error(&errors::body_of(problem.code(), problem.detail(), None), out);
    }

    fn whole(&self, answer: &Answer) -> Value {
        openai::whole(answer, &self.id, self.created, &self.model)
    }
}

/// Asks a model, by way of all plugins of the chat. Request and answer are OpenAI's.
#[utoipa::path(post, path = "/v1/chat/completions", operation_id = "createChatCompletion", tag = "models", request_body = Value,
    responses((status = 200, content((Value = "application/json"), (Value = "text/event-stream")),
        description = "The answer; with `stream: true` as OpenAI's chunks. Errors have OpenAI's form"), AsOpenAi<RunProblems>))]
pub(crate) async fn complete(
    permit: Permit<Chat>,
    app: Data<App>,
    http: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (bytes, place) = body_of(&app, &http, &permit.0, payload).await?;
    let request = openai::parse(&bytes)?;
    drop(bytes);
    let (model, include_usage, created) =
        (request.model.clone(), request.include_usage, app.service.now().unix_seconds());
    let asked = Asked { front: FRONT, caller: permit.0, conversation: None, request, place };
    give(&app, &http, asked, |hex| {
        let id = format!("chatcmpl-{hex}");
        Completion { stream: Stream::new(id.clone(), created, model.clone(), include_usage), id, created, model }
    })
    .await
}

/// Lists the models that can be asked for.
#[utoipa::path(get, path = "/v1/models", operation_id = "listModels", tag = "models",
    responses((status = 200, description = "The models, in OpenAI's form", body = Value), AsOpenAi<LookProblems>))]
pub(crate) async fn models(permit: Permit<Chat>, _body: NoBody, app: Data<App>) -> Result<HttpResponse, Problem> {
    let models = app.chat.models(&permit.0).await.map_err(Problem::from)?;
    let created = app.service.started_at().unix_seconds();
    let listed: Vec<(&str, &str)> = models.iter().map(|model| (model.id.as_str(), model.backend.as_str())).collect();
    Ok(HttpResponse::Ok().json(openai::models(listed, created)))
}

/// Shows one model.
#[utoipa::path(get, path = "/v1/models/{id}", operation_id = "showModel", tag = "models",
    params(("id" = String, Path, description = "The model's name, which may hold slashes and colons")),
    responses((status = 200, description = "The model, in OpenAI's form", body = Value), AsOpenAi<LookProblems>))]
pub(crate) async fn model(
    permit: Permit<Chat>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let backend = app.chat.model(&permit.0, &id).await.map_err(Problem::from)?;
    match backend {
        Some(backend) => {
            let created = app.service.started_at().unix_seconds();
            Ok(HttpResponse::Ok().json(openai::model(&id, backend.as_str(), created)))
        }
        None => Err(Problem::new(Code::ModelUnknown, format!("no backend has the model `{}`", escape(&id)))),
    }
}
