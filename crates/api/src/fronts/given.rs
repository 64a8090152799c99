//! How an answer is given in any form: as a whole, or part by part with a ping where there is nothing to say.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use plugbay_dialects::{Answer, Event, FrontError, UpstreamFailure};
use plugbay_domain::{Code, ExchangeId, FieldError};
use serde_json::Value;

use super::{Asked, Begun, NoAnswer, add_head, begin, gone, problem_of, refuse};
use crate::App;
use crate::problem::Problem;
use crate::stream::KEEP_ALIVE;

/// How nginx and its like are told not to collect an answer before they pass it on.
const ACCEL_BUFFERING: (&str, &str) = ("x-accel-buffering", "no");

/// A form in which one answer is written.
pub(super) trait Form: Send + 'static {
    /// What clients pass over.
    const PING: &'static str;

    /// Adds a part of a stream, if it is shown.
    fn write(&mut self, event: &Event, out: &mut String);

    /// Adds the end of a stream.
    fn done(&mut self, out: &mut String);

    /// Adds an error to a stream, after which nothing follows.
    fn error(&self, problem: &Problem, out: &mut String);

    /// The answer as a whole.
    fn whole(&self, answer: &Answer) -> Value;
}

impl From<FrontError> for Problem {
    fn from(error: FrontError) -> Self {
        let problem = Self::new(Code::BadRequest, error.message.clone());
        match error.param {
            Some(param) => problem.about(FieldError::at(param, error.message)),
            None => problem,
        }
    }
}

/// Begins an exchange and gives its answer. The form is made for the id of the exchange, in hexadecimal digits.
pub(super) async fn give<F: Form>(
    app: &App,
    http: &HttpRequest,
    asked: Asked,
    form: impl FnOnce(&str) -> F,
) -> Result<HttpResponse, Problem> {
    let streamed = asked.request.stream;
    let begun = match begin(app, http, asked).await {
        Ok(begun) => begun,
        Err(no_answer) => return Ok(refuse(no_answer)),
    };
    let mut response = HttpResponse::Ok();
    if let Some(head) = &begun.head {
        add_head(&mut response, head, &begun.caller);
    }
    let id = begun.head.as_ref().map_or_else(ExchangeId::generate, |head| head.exchange).to_string();
    let form = form(id.strip_prefix("exchange_").unwrap_or(&id));
    if streamed {
        return Ok(response
            .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header(ACCEL_BUFFERING)
            .streaming(frames(begun, form).map(Ok::<_, std::convert::Infallible>)));
    }
    let Begun { exchange, connection, place: _place, .. } = begun;
    let answered = tokio::select! {
        answered = exchange.answer(app.service.config().chat.answer_bytes) => answered,
        () = gone(connection) => return Err(Problem::new(Code::BadRequest, "the caller has gone")),
    };
    match answered {
        Ok(answer) => Ok(response.json(form.whole(&answer))),
        Err(failure) => Ok(refuse(NoAnswer::Problem(broken_off(&failure)))),
    }
}

/// An answer that ended in the middle.
fn broken_off(failure: &UpstreamFailure) -> Problem {
    let code = failure.code.as_deref().and_then(Code::find).unwrap_or(Code::BackendFailed);
    Problem::new(code, failure.message.clone())
}

/// The frames of a stream.
fn frames<F: Form>(begun: Begun, form: F) -> impl futures_util::Stream<Item = Bytes> {
    stream::unfold(Some((begun, form)), |state| async move {
        let (mut begun, mut form) = state?;
        let mut out = String::new();
        let ping = || Bytes::from_static(F::PING.as_bytes());
        if begun.head.is_none() {
            // The answer has taken so long that the stream was begun without it.
            let head = tokio::select! {
                biased;
                head = begun.exchange.head() => head,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some((ping(), Some((begun, form)))),
                () = gone(begun.connection.clone()) => return None,
            };
            match head {
                Ok(head) => begun.head = Some(head),
                Err(unanswered) => {
                    form.error(&problem_of(&begun.caller, &unanswered), &mut out);
                    return Some((Bytes::from(out), None));
                }
            }
        }
        let events = tokio::select! {
            biased;
            events = begun.exchange.next() => events,
            () = tokio::time::sleep(KEEP_ALIVE) => return Some((ping(), Some((begun, form)))),
            () = gone(begun.connection.clone()) => return None,
        };
        let Some(events) = events else {
            // It ended without its last word.
            form.error(&Problem::new(Code::PluginStopping, "the service is being stopped"), &mut out);
            return Some((Bytes::from(out), None));
        };
        for event in &events {
            match event {
                Event::End => {
                    form.done(&mut out);
                    return Some((Bytes::from(out), None));
                }
                Event::Failed(failure) => {
                    form.error(&broken_off(failure), &mut out);
                    return Some((Bytes::from(out), None));
                }
                event => form.write(event, &mut out),
            }
        }
        Some((Bytes::from(out), Some((begun, form))))
    })
}
