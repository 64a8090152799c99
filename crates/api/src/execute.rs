//! Calls into plugins, answered at once or as a stream.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::ACCEPT;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use plugbay_domain::FieldError;
use plugbay_fleet::{CallRequest, Executing, calls};
use plugbay_operations::{Delivery, StreamEvent};
use plugbay_wire::{ChunkEvent, ExecuteAnswer, ExecuteRequest, ProgressEvent};

use super::called::Called;
use super::connections::Connection;
use super::openapi::RunProblems;
use super::permit::{CallMethod, Permit};
use super::problem::Problem;
use super::stream::{COMMENT, KEEP_ALIVE, event, response};
use super::{App, body, request, request_id, view};

/// Room that a message needs around its payload.
const ENVELOPE_BYTES: usize = 1024;

/// Calls a method of a plugin.
#[utoipa::path(post, path = "/api/plugins/{id}/execute", operation_id = "executePlugin", tag = "running", params(("id" = String, Path, description = "Id or name")),
    request_body = ExecuteRequest,
    responses(
        (status = 200, content((ExecuteAnswer = "application/json"), (ChunkEvent = "text/event-stream")),
            description = "What the plugin answered; with `Accept: text/event-stream` the events `chunk` and `progress` as they come, then `result` or `error`"),
        RunProblems))]
pub(super) async fn execute(
    permit: Permit<CallMethod>,
    app: Data<App>,
    id: Called,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let config = app.service.config();
    if let Err(refusal) = calls::check_room(app.service.fleet(), &permit.0, &id.0) {
        body::discard(&request, payload, config).await;
        return Err(refusal.into());
    }
    let most = config.calls.message_bytes.saturating_sub(ENVELOPE_BYTES) as u64;
    let wanted: ExecuteRequest = body::optional_json(&request, payload, config, most).await?;
    if wanted.timeout_ms == Some(0) {
        return Err(Problem::fields(vec![FieldError::at("/timeout_ms", "expected at least 1")]));
    }
    let delivery = if wants_stream(&request) { Delivery::Stream } else { Delivery::Whole };
    let trace = request::traceparent(&request);
    let timeout = wanted.timeout_ms.map(Duration::from_millis);
    let call = CallRequest::of_caller(&permit.0, &id.0, wanted.method.as_deref(), wanted.context.as_deref())?
        .with_timeout(timeout)
        .with_trace(trace.as_deref())
        .with_delivery(delivery);
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let executing = tokio::select! {
        executing = calls::call(app.service.fleet(), call) => executing?,
        () = gone(connection.clone()) => return Err(nobody()),
    };
    match delivery {
        Delivery::Stream => Ok(response(events(executing, connection))),
        Delivery::Whole => tokio::select! {
            biased;
            execution = executing.answer() => Ok(HttpResponse::Ok().json(view::execution(execution?))),
            () = gone(connection) => Err(nobody()),
        },
    }
}

/// Completes when the client has gone; its call is cancelled by being dropped.
async fn gone(connection: Option<Arc<Connection>>) {
    match connection {
        Some(connection) => connection.gone().await,
        None => std::future::pending().await,
    }
}

/// An answer for a client that is not there any more.
fn nobody() -> Problem {
    Problem::new(plugbay_domain::Code::BadRequest, "the caller has gone")
}

fn wants_stream(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Everything that comes of a call, then its answer.
fn events(executing: Executing, connection: Option<Arc<Connection>>) -> impl futures_util::Stream<Item = Bytes> {
    // The answer must be told to be of this request although it is written after the handler has returned.
    let instance = request_id::current_id();
    stream::unfold(Some((executing, connection, instance)), |state| async move {
        let (mut executing, connection, instance) = state?;
        loop {
            let event = tokio::select! {
                biased;
                event = executing.next_event() => event,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    return Some((Bytes::from_static(COMMENT.as_bytes()), Some((executing, connection, instance))));
                }
                () = gone(connection.clone()) => return None,
            };
            let (name, data) = match event {
                Some(StreamEvent::Chunk { seq, data, .. }) => {
                    ("chunk", serde_json::to_string(&ChunkEvent { seq, data }))
                }
                Some(StreamEvent::Progress(progress)) => {
                    let (percent, message) = (progress.percent, progress.message);
                    ("progress", serde_json::to_string(&ProgressEvent { percent, message }))
                }
                None => {
                    let answered = tokio::select! {
                        answered = executing.answer() => answered,
                        () = gone(connection) => return None,
                    };
                    let (name, data) = match answered {
                        Ok(execution) => ("result", serde_json::to_string(&view::execution(execution))),
                        Err(error) => ("error", serde_json::to_string(&Problem::from(error).body_of(&instance))),
                    };
                    return Some((event_of(name, data)?, None));
                }
            };
            if let Some(bytes) = event_of(name, data) {
                return Some((bytes, Some((executing, connection, instance))));
            }
        }
    })
}

fn event_of(name: &str, data: serde_json::Result<String>) -> Option<Bytes> {
    // Texts and raw JSON always serialise.
    data.ok().map(|data| event(name, &data))
}
