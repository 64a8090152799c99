//! `POST /chat`: one message, one answer, for those who want nothing else.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use plugbay_chat::{Outcome, Record, Step};
use plugbay_dialects::{Answer, ChatMessage, ChatRequest, Collector, Content, Event, Kind, Role};
use plugbay_domain::{Code, ConversationId, ExchangeId, FieldError, Scope, escape};
use plugbay_registry::Caller;
use plugbay_wire::{
    ChatMessageAnswer, ChatMessageRequest, ExchangeList, ExchangeView, PartCounts, PartView, SkippedView, StepView,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::{Asked, Begun, NoAnswer, PING, add_head, begin, body_of, gone, problem_of, refuse};
use crate::openapi::{LookProblems, RunProblems};
use crate::paging::{invalid, query};
use crate::permit::{Chat, NoBody, Permit, Read};
use crate::problem::Problem;
use crate::stream::{KEEP_ALIVE, event, response};
use crate::{App, body, request_id};

/// The route, as exchanges are shown with it.
const FRONT: &str = "/chat";

/// Exchanges on a page.
const MAX_LISTED: usize = 1_000;

/// Asks a model, by way of all plugins of the chat.
#[utoipa::path(post, path = "/chat", operation_id = "sendChat", tag = "models", request_body = ChatMessageRequest,
    responses((status = 200, content((ChatMessageAnswer = "application/json"), (Value = "text/event-stream")),
        description = "The answer; with `stream: true` the events `delta` with `text`, then `result` or `error`"), RunProblems))]
pub(crate) async fn chat(
    permit: Permit<Chat>,
    app: Data<App>,
    http: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let config = app.service.config();
    let (bytes, place) = body_of(&app, &http, &permit.0, payload).await?;
    let asked: ChatMessageRequest = body::parse(&bytes)?;
    drop(bytes);
    let (request, conversation) = request_of(asked)?;
    let conversation = match conversation {
        Some(wanted) => Some(app.chat.conversation(&wanted).await?),
        None => None,
    };
    let (model, streamed) = (request.model.clone(), request.stream);
    let asked = Asked { front: FRONT, caller: permit.0, conversation, request, place };
    let begun = match begin(&app, &http, asked).await {
        Ok(begun) => begun,
        Err(no_answer) => return Ok(refuse(no_answer)),
    };
    if streamed {
        return Ok(response(events(begun, model, config.chat.answer_bytes)));
    }
    let mut answer = HttpResponse::Ok();
    let Begun { exchange, head, caller, connection, place: _place, .. } = begun;
    let answered = tokio::select! {
        answered = exchange.answer(config.chat.answer_bytes) => answered,
        () = gone(connection) => return Err(Problem::new(Code::BadRequest, "the caller has gone")),
    };
    let steps = head.as_ref().map(|head| head.steps.clone()).unwrap_or_default();
    if let Some(head) = &head {
        add_head(&mut answer, head, &caller);
    }
    match answered {
        Ok(found) => {
            Ok(answer.json(view(&found, &model, head.and_then(|head| head.backend), &steps, (&caller, conversation))))
        }
        Err(failure) => Ok(refuse(NoAnswer::Problem(Problem::new(Code::BackendFailed, failure.message)))),
    }
}

/// The request, and the conversation that it belongs to.
fn request_of(asked: ChatMessageRequest) -> Result<(ChatRequest, Option<String>), Problem> {
    let ChatMessageRequest { message, model, conversation, user, temperature, max_tokens, stream } = asked;
    let mut wrong = Vec::new();
    if message.trim().is_empty() {
        wrong.push(FieldError::at("/message", "expected a text"));
    }
    if model.is_empty() {
        wrong.push(FieldError::at("/model", "expected the name of a model; GET /v1/models lists them"));
    }
    if temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        wrong.push(FieldError::at("/temperature", "expected 0 to 2"));
    }
    if max_tokens == Some(0) {
        wrong.push(FieldError::at("/max_tokens", "expected at least 1"));
    }
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong));
    }
    let message = ChatMessage {
        role: Role::User,
        content: Content::Text(message),
        name: None,
        tool_calls: Vec::new(),
        tool_call_id: None,
        extra: Map::new(),
    };
    let request = ChatRequest {
        model,
        messages: vec![message],
        temperature,
        max_tokens,
        stream,
        include_usage: false,
        tools: None,
        user,
        parameters: Map::new(),
    };
    Ok((request, conversation))
}

fn view(
    answer: &Answer,
    model: &str,
    backend: Option<plugbay_domain::PluginName>,
    steps: &[Step],
    (caller, conversation): (&Caller, Option<ConversationId>),
) -> ChatMessageAnswer {
    let choice = answer.choices.first().cloned().unwrap_or_default();
    let usage = answer.usage.unwrap_or_default();
    let calls: Vec<Value> = choice
        .tool_calls
        .iter()
        .map(|call| json!({ "id": call.id, "name": call.name, "arguments": call.arguments }))
        .collect();
    let mut message = json!({ "role": "assistant", "content": choice.text });
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    if let Some(reasoning) = &choice.reasoning {
        message["reasoning"] = reasoning.as_str().into();
    }
    let may_look = caller.scopes.allows(Scope::Read);
    let left_out = || steps.iter().filter(|step| step.outcome == Outcome::Skipped);
    let part = |step: &Step| PartView {
        name: step.plugin.to_string(),
        stage: step.stage.to_string(),
        outcome: step.outcome.to_string(),
        took_ms: milliseconds(step.took),
    };
    let skipped = |step: &Step| SkippedView {
        name: step.plugin.to_string(),
        why: step.why.as_ref().map(|(code, _)| code.clone()).unwrap_or_default(),
    };
    ChatMessageAnswer {
        response: choice.text.clone().unwrap_or_default(),
        message,
        model: model.to_owned(),
        backend: backend.map(|name| name.to_string()),
        conversation: conversation.map(|id| id.to_string()),
        usage: json!({
            "prompt_tokens": usage.prompt, "completion_tokens": usage.completion,
            "total_tokens": usage.prompt.saturating_add(usage.completion),
        }),
        counts: PartCounts { plugins: steps.len(), skipped: left_out().count() },
        plugins: may_look.then(|| steps.iter().map(part).collect()),
        skipped: may_look.then(|| left_out().map(skipped).collect()),
    }
}

fn milliseconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// An answer as it comes, then as a whole.
fn events(begun: Begun, model: String, most: usize) -> impl futures_util::Stream<Item = Bytes> {
    let instance = request_id::current_id();
    let state = Some((begun, Collector::new(most), model, instance));
    stream::unfold(state, |state| async move {
        let (mut begun, mut collector, model, instance) = state?;
        let failed = |problem: &Problem| {
            let body = serde_json::to_string(&problem.body_of(&instance)).unwrap_or_default();
            Some((event("error", &body), None))
        };
        let ping = Bytes::from_static(PING.as_bytes());
        if begun.head.is_none() {
            let head = tokio::select! {
                biased;
                head = begun.exchange.head() => head,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some((ping, Some((begun, collector, model, instance)))),
                () = gone(begun.connection.clone()) => return None,
            };
            match head {
                Ok(head) => begun.head = Some(head),
                Err(unanswered) => return failed(&problem_of(&begun.caller, &unanswered)),
            }
        }
        let events = tokio::select! {
            biased;
            events = begun.exchange.next() => events,
            () = tokio::time::sleep(KEEP_ALIVE) => return Some((ping, Some((begun, collector, model, instance)))),
            () = gone(begun.connection.clone()) => return None,
        };
        let Some(events) = events else {
            return failed(&Problem::new(Code::PluginStopping, "the service is being stopped"));
        };
        let mut out = Vec::new();
        for next in &events {
            match next {
                Event::Failed(failure) => return failed(&Problem::new(Code::BackendFailed, failure.message.clone())),
                Event::End => {
                    let head = begun.head.as_ref();
                    let steps = head.map(|head| head.steps.clone()).unwrap_or_default();
                    let backend = head.and_then(|head| head.backend.clone());
                    let answer =
                        view(&collector.finish(), &model, backend, &steps, (&begun.caller, begun.conversation));
                    out.extend_from_slice(&event("result", &serde_json::to_string(&answer).unwrap_or_default()));
                    return Some((Bytes::from(out), None));
                }
                next => {
                    if let Event::Text { kind: Kind::Content, text, .. } = next
                        && !text.is_empty()
                    {
                        out.extend_from_slice(&event("delta", &json!({ "text": text }).to_string()));
                    }
                    if collector.push(next).is_err() {
                        return failed(&Problem::new(
                            Code::BackendFailed,
                            "the answer is longer than `chat.answer_mb`",
                        ));
                    }
                }
            }
        }
        Some((Bytes::from(out), Some((begun, collector, model, instance))))
    })
}

/// Which exchanges to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExchangeQuery {
    /// Only those in which this plugin took part.
    plugin: Option<String>,
    /// Only those that ended so.
    outcome: Option<String>,
    /// How many, 1 to 1000; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Lists the last exchanges, newest first.
#[utoipa::path(get, path = "/api/chat/exchanges", operation_id = "listExchanges", tag = "chat", params(ExchangeQuery),
    responses((status = 200, description = "The exchanges", body = ExchangeList), LookProblems))]
pub(crate) async fn exchanges(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    http: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let ExchangeQuery { plugin, outcome, limit } = query::<ExchangeQuery>(&http)?;
    let limit = limit.unwrap_or(100);
    if !(1..=MAX_LISTED).contains(&limit) {
        return Err(invalid("limit", format!("expected 1 to {MAX_LISTED}")));
    }
    let wanted = |record: &Record| {
        may_see(&permit.0, record)
            && plugin.as_ref().is_none_or(|name| record.steps.iter().any(|step| step.plugin.as_str() == name))
            && outcome.as_ref().is_none_or(|outcome| record.ending.as_str() == outcome)
    };
    let found = app.chat.records(wanted, limit);
    Ok(HttpResponse::Ok().json(ExchangeList { exchanges: found.iter().map(|record| exchange_view(record)).collect() }))
}

/// Shows one exchange: who took part, what came of it, how long it took.
#[utoipa::path(get, path = "/api/chat/exchanges/{id}", operation_id = "showExchange", tag = "chat",
    params(("id" = String, Path, description = "Id of the exchange")),
    responses((status = 200, description = "The exchange", body = ExchangeView), LookProblems))]
pub(crate) async fn exchange(
    permit: Permit<Read>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let found = id.parse::<ExchangeId>().ok().and_then(|id| app.chat.record(id));
    match found.filter(|record| may_see(&permit.0, record)) {
        Some(record) => Ok(HttpResponse::Ok().json(exchange_view(&record))),
        None => Err(Problem::new(Code::ExchangeUnknown, format!("there is no exchange `{}`", escape(&id)))),
    }
}

/// A token for some plugins sees the exchanges in which no other took part.
fn may_see(caller: &Caller, record: &Record) -> bool {
    record.token == caller.token || record.steps.iter().all(|step| caller.may_see(&step.plugin))
}

fn exchange_view(record: &Record) -> ExchangeView {
    let step = |step: &Step| StepView {
        plugin: step.plugin.to_string(),
        stage: step.stage.to_string(),
        outcome: step.outcome.to_string(),
        took_ms: milliseconds(step.took),
        parts: step.parts.clone(),
        code: step.why.as_ref().map(|(code, _)| code.clone()),
        reason: step.why.as_ref().map(|(_, text)| text.clone()),
    };
    ExchangeView {
        id: record.id.to_string(),
        at: record.at.to_string(),
        token: record.token.to_string(),
        front: record.front.to_owned(),
        model: record.model.clone(),
        backend: record.backend.as_ref().map(ToString::to_string),
        attempts: record.attempts,
        outcome: record.ending.to_string(),
        took_ms: milliseconds(record.took),
        prompt_tokens: record.usage.map(|(prompt, _)| prompt),
        completion_tokens: record.usage.map(|(_, completion)| completion),
        steps: record.steps.iter().map(step).collect(),
    }
}
