//! OpenAI's chat completions and models.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use plugbay_dialects::openai::{self, FrontError, Stream};
use plugbay_dialects::{Event, UpstreamFailure};
use plugbay_domain::{Code, FieldError, escape};

use super::{Asked, Begun, NoAnswer, PING, add_head, begin, body_of, errors, gone, refuse};
use crate::App;
use crate::openapi::{AsOpenAi, LookProblems, RunProblems};
use crate::permit::{Chat, NoBody, Permit};
use crate::problem::Problem;
use crate::stream::KEEP_ALIVE;

/// The route, as exchanges are shown with it.
const FRONT: &str = "/v1/chat/completions";

/// How nginx and its like are told not to collect an answer before they pass it on.
const ACCEL_BUFFERING: (&str, &str) = ("x-accel-buffering", "no");

impl From<FrontError> for Problem {
    fn from(error: FrontError) -> Self {
        let problem = Self::new(Code::BadRequest, error.message.clone());
        match error.param {
            Some(param) => problem.about(FieldError::at(param, error.message)),
            None => problem,
        }
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
    let (model, streamed, include_usage) = (request.model.clone(), request.stream, request.include_usage);
    let asked = Asked { front: FRONT, caller: permit.0, conversation: None, request, place };
    let begun = match begin(&app, &http, asked).await {
        Ok(begun) => begun,
        Err(no_answer) => return Ok(refuse(no_answer)),
    };
    let created = app.service.now().unix_seconds();
    let mut response = HttpResponse::Ok();
    if let Some(head) = &begun.head {
        add_head(&mut response, head, &begun.caller);
    }
    if streamed {
        let id =
            begun.head.as_ref().map_or_else(|| completion_id(""), |head| completion_id(&head.exchange.to_string()));
        let frames = frames(begun, Stream::new(id, created, model, include_usage));
        return Ok(response
            .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header(ACCEL_BUFFERING)
            .streaming(futures_util::StreamExt::map(frames, Ok::<_, std::convert::Infallible>)));
    }
    let Begun { exchange, head, caller, connection, place: _place, .. } = begun;
    let most = app.service.config().chat.answer_bytes;
    let answered = tokio::select! {
        answered = exchange.answer(most) => answered,
        () = gone(connection) => return Err(Problem::new(Code::BadRequest, "the caller has gone")),
    };
    match answered {
        Ok(answer) => {
            let id = head.map_or_else(|| completion_id(""), |head| completion_id(&head.exchange.to_string()));
            Ok(response.json(openai::whole(&answer, &id, created, &model)))
        }
        Err(failure) => Ok(refuse(NoAnswer::Problem(broken_off(&caller, &failure)))),
    }
}

/// The id of an answer: that of its exchange.
fn completion_id(exchange: &str) -> String {
    let hex = exchange.strip_prefix("exchange_").filter(|hex| !hex.is_empty());
    format!("chatcmpl-{}", hex.map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), ToOwned::to_owned))
}

/// An answer that ended in the middle.
fn broken_off(_caller: &plugbay_registry::Caller, failure: &UpstreamFailure) -> Problem {
    let code = failure.code.as_deref().and_then(Code::find).unwrap_or(Code::BackendFailed);
    Problem::new(code, failure.message.clone())
}

/// The frames of a stream, and a comment where there is nothing to say.
fn frames(begun: Begun, stream: Stream) -> impl futures_util::Stream<Item = Bytes> {
    stream::unfold(Some((begun, stream)), |state| async move {
        let (mut begun, mut stream) = state?;
        let mut out = String::new();
        if begun.head.is_none() {
            // The answer has taken so long that the stream was begun without it.
            let head = tokio::select! {
                biased;
                head = begun.exchange.head() => head,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some((Bytes::from_static(PING.as_bytes()), Some((begun, stream)))),
                () = gone(begun.connection.clone()) => return None,
            };
            match head {
                Ok(head) => begun.head = Some(head),
                Err(unanswered) => {
                    let problem = super::problem_of(&begun.caller, &unanswered);
                    Stream::error(&errors::body_of(problem.code(), problem.detail(), None), &mut out);
                    return Some((Bytes::from(out), None));
                }
            }
        }
        let events = tokio::select! {
            biased;
            events = begun.exchange.next() => events,
            () = tokio::time::sleep(KEEP_ALIVE) => return Some((Bytes::from_static(PING.as_bytes()), Some((begun, stream)))),
            () = gone(begun.connection.clone()) => return None,
        };
        let Some(events) = events else {
            // It ended without its last word: the service is being stopped.
            let error = errors::body_of(Code::PluginStopping, "the service is being stopped", None);
            Stream::error(&error, &mut out);
            return Some((Bytes::from(out), None));
        };
        for event in &events {
            match event {
                Event::End => {
                    stream.done(&mut out);
                    return Some((Bytes::from(out), None));
                }
                Event::Failed(failure) => {
                    let problem = broken_off(&begun.caller, failure);
                    Stream::error(&errors::body_of(problem.code(), problem.detail(), None), &mut out);
                    return Some((Bytes::from(out), None));
                }
                event => stream.write(event, &mut out),
            }
        }
        Some((Bytes::from(out), Some((begun, stream))))
    })
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
