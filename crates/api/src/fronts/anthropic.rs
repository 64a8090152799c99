//! Anthropic's messages.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use plugbay_chat::NewExchange;
use plugbay_dialects::anthropic::{self, Stream};
use plugbay_dialects::{Answer, Event};
use plugbay_domain::Code;
use serde_json::{Value, json};

use super::given::{Form, give};
use super::{Asked, NoAnswer, body_of, connection_of, errors, gone, refuse};
use crate::App;
use crate::openapi::{AsAnthropic, RunProblems};
use crate::permit::{Chat, Permit};
use crate::problem::Problem;
use crate::request;

/// The routes, as exchanges are shown with them.
const FRONT: &str = "/v1/messages";
const COUNT: &str = "/v1/messages/count_tokens";

/// One answer.
struct Message {
    stream: Stream,
    id: String,
    model: String,
}

impl Form for Message {
    const PING: &'static str = Stream::PING;

    fn write(&mut self, event: &Event, out: &mut String) {
        self.stream.write(event, out);
    }

    fn done(&mut self, out: &mut String) {
        self.stream.done(out);
    }

    fn error(&self, problem: &Problem, out: &mut String) {
        Stream::error(&errors::anthropic(problem.code(), problem.detail()), out);
    }

    fn whole(&self, answer: &Answer) -> Value {
        anthropic::whole(answer, &self.id, &self.model)
    }
}

/// Asks a model, by way of all plugins of the chat. Request and answer are Anthropic's.
#[utoipa::path(post, path = "/v1/messages", operation_id = "createMessage", tag = "models", request_body = Value,
    responses((status = 200, content((Value = "application/json"), (Value = "text/event-stream")),
        description = "The answer; with `stream: true` as Anthropic's events. Errors have Anthropic's form"), AsAnthropic<RunProblems>))]
pub(crate) async fn create(
    permit: Permit<Chat>,
    app: Data<App>,
    http: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (bytes, place) = body_of(&app, &http, &permit.0, payload).await?;
    let request = anthropic::parse(&bytes)?;
    drop(bytes);
    let model = request.model.clone();
    let asked = Asked { front: FRONT, caller: permit.0, conversation: None, request, place };
    give(&app, &http, asked, |hex| {
        let id = format!("msg_{hex}");
        Message { stream: Stream::new(id.clone(), model.clone()), id, model }
    })
    .await
}

/// Counts what a request says, after all plugins have had their say about it.
#[utoipa::path(post, path = "/v1/messages/count_tokens", operation_id = "countMessageTokens", tag = "models", request_body = Value,
    responses((status = 200, description = "The tokens; `estimated` where the backend does not count", body = Value), AsAnthropic<RunProblems>))]
pub(crate) async fn count(
    permit: Permit<Chat>,
    app: Data<App>,
    http: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (bytes, _place) = body_of(&app, &http, &permit.0, payload).await?;
    let request = anthropic::parse_count(&bytes)?;
    drop(bytes);
    let (caller, trace) = (permit.0, request::traceparent(&http));
    let new = NewExchange { front: COUNT, caller: caller.clone(), trace, conversation: None, request };
    let counted = tokio::select! {
        counted = app.chat.count(new) => counted.map_err(Problem::from)?,
        () = gone(connection_of(&http)) => return Err(Problem::new(Code::BadRequest, "the caller has gone")),
    };
    match counted {
        Ok(counted) if counted.is_estimated => {
            Ok(HttpResponse::Ok().json(json!({ "input_tokens": counted.tokens, "estimated": true })))
        }
        Ok(counted) => Ok(HttpResponse::Ok().json(json!({ "input_tokens": counted.tokens }))),
        Err(unanswered) => Ok(refuse(NoAnswer::Unanswered(caller, unanswered))),
    }
}
