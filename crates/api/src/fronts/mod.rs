//! Fronts: the forms in which an exchange can be asked for. Each is a codec around the one way through the chat, and nothing
//! else.

pub(super) mod anthropic;
pub(super) mod chat;
pub(super) mod errors;
mod given;
pub(super) mod intake;
pub(super) mod listed;
pub(super) mod openai;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::ResponseError as _;
use actix_web::http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use plugbay_chat::{Exchange, Head, NewExchange, Outcome, Unanswered};
use plugbay_dialects::ChatRequest;
use plugbay_domain::{Code, ConversationId, Refusal as _, Scope, escape};
use plugbay_registry::Caller;

use self::intake::Admitted;
use super::body::{self, BodyLimits, Paced};
use super::connections::Connection;
use super::problem::Problem;
use super::stream::KEEP_ALIVE;
use super::{App, request};

const EXCHANGE: HeaderName = HeaderName::from_static("x-plugbay-exchange");
const BACKEND: HeaderName = HeaderName::from_static("x-plugbay-backend");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-plugbay-attempts");
const SKIPPED: HeaderName = HeaderName::from_static("x-plugbay-skipped");
const OVERHEAD: HeaderName = HeaderName::from_static("x-plugbay-overhead-ms");
const CACHE: HeaderName = HeaderName::from_static("x-plugbay-cache");

/// A comment of a stream, which clients pass over.
pub(super) const PING: &str = ": ping\n\n";

/// A request to the chat as it came in.
pub(super) struct Asked {
    pub(super) front: &'static str,
    pub(super) caller: Caller,
    pub(super) conversation: Option<ConversationId>,
    pub(super) request: ChatRequest,
    pub(super) place: Admitted,
}

/// An exchange whose answer has begun, or will.
pub(super) struct Begun {
    pub(super) exchange: Exchange,
    /// Nothing when the answer took longer than a stream is silent.
    pub(super) head: Option<Head>,
    pub(super) caller: Caller,
    pub(super) conversation: Option<ConversationId>,
    pub(super) connection: Option<Arc<Connection>>,
    /// Held until the last byte was sent.
    pub(super) place: Admitted,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The chat says why.
    Unanswered(Caller, Box<Unanswered>),
    /// Something else does.
    Problem(Problem),
}

impl From<Problem> for NoAnswer {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Begins an exchange, and waits for its answer to begin: of one that is streamed only as long as a stream is silent.
pub(super) async fn begin(app: &App, http: &HttpRequest, asked: Asked) -> Result<Begun, NoAnswer> {
    let Asked { front, caller, conversation, request, place } = asked;
    let connection = connection_of(http);
    let streamed = request.stream;
    let trace = request::traceparent(http);
    let new = NewExchange { front, caller: caller.clone(), trace, conversation, request };
    let mut exchange = app.chat.exchange(new).await.map_err(Problem::from)?;
    let patience = async { if streamed { tokio::time::sleep(KEEP_ALIVE).await } else { std::future::pending().await } };
    let head = tokio::select! {
        biased;
        head = exchange.head() => Some(head.map_err(|unanswered| NoAnswer::Unanswered(caller.clone(), unanswered))?),
        () = patience => None,
        () = gone(connection.clone()) => return Err(Problem::new(Code::BadRequest, "the caller has gone").into()),
    };
    Ok(Begun { exchange, head, caller, conversation, connection, place })
}

fn connection_of(http: &HttpRequest) -> Option<Arc<Connection>> {
    http.conn_data::<Arc<Connection>>().cloned()
}

/// Completes when the client has gone.
pub(super) async fn gone(connection: Option<Arc<Connection>>) {
    match connection {
        Some(connection) => connection.gone().await,
        None => std::future::pending().await,
    }
}

/// Reads the JSON body of a front as bytes, which its format reads, and takes a place for the exchange before that: what is
/// too much is refused before it is held.
pub(super) async fn body_of(
    app: &App,
    http: &HttpRequest,
    caller: &Caller,
    payload: Payload,
) -> Result<(Bytes, Admitted), Problem> {
    if body::is_empty(http.headers()) {
        return Err(Problem::new(Code::BadRequest, "this route needs a JSON body"));
    }
    let found = body::media_type(http.headers());
    if found != "application/json" {
        let detail = format!("expected Content-Type application/json, found `{}`", escape(&found));
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let config = app.service.config();
    let announced = http.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let most = config.chat.request_bytes;
    let place = app.intake.admit(caller.token, announced.unwrap_or(most).min(most))?;
    let limits = BodyLimits::new(config, most as u64);
    let mut stream = Paced::new(http, payload, limits)?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| body::broken(&error, &limits))?);
    }
    Ok((bytes.freeze(), place))
}

/// Adds what every answer of the chat says in its head.
pub(super) fn add_head(response: &mut HttpResponseBuilder, head: &Head, caller: &Caller) {
    for (name, value) in headers(head, caller) {
        response.insert_header((name, value));
    }
}

fn headers(head: &Head, caller: &Caller) -> Vec<(HeaderName, HeaderValue)> {
    let text = |text: String| HeaderValue::from_str(&text).ok();
    let backend = head.backend.as_ref().map(ToString::to_string);
    let pairs = [
        (EXCHANGE, text(head.exchange.to_string())),
        (BACKEND, backend.and_then(text)),
        (ATTEMPTS, text(head.attempts.to_string())),
        (SKIPPED, skipped(head, caller).and_then(text)),
        (OVERHEAD, text(milliseconds(head.overhead))),
        (CACHE, Some(HeaderValue::from_static("off"))),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1_000.0)
}

/// Which members were left out: by name for those who may look at plugins, else how many.
fn skipped(head: &Head, caller: &Caller) -> Option<String> {
    let skipped: Vec<_> = head.steps.iter().filter(|step| step.outcome == Outcome::Skipped).collect();
    if skipped.is_empty() {
        return None;
    }
    if !caller.scopes.allows(Scope::Read) {
        return Some(skipped.len().to_string());
    }
    let named = skipped.iter().map(|step| {
        let why = step.why.as_ref().map_or("failed", |(code, _)| code.as_str());
        format!("{};{why}", step.plugin)
    });
    Some(named.collect::<Vec<_>>().join(", "))
}

/// The answer to a request that got none.
pub(super) fn refuse(no_answer: NoAnswer) -> HttpResponse {
    let (caller, unanswered) = match no_answer {
        NoAnswer::Problem(problem) => return problem.error_response(),
        NoAnswer::Unanswered(caller, unanswered) => (caller, unanswered),
    };
    let problem = problem_of(&caller, &unanswered);
    let mut response = problem.error_response();
    for (name, value) in headers(&unanswered.head, &caller) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The cause of a guard's failure is for those who may look at plugins.
pub(super) fn problem_of(caller: &Caller, unanswered: &Unanswered) -> Problem {
    let may_look = caller.scopes.allows(Scope::Read);
    let detail = match unanswered.cause.as_ref().filter(|_| may_look) {
        Some(cause) => format!("{}: {cause}", unanswered.text),
        None => unanswered.text.clone(),
    };
    Problem::new(unanswered.code(), detail).retry_after(unanswered.retry_after)
}
