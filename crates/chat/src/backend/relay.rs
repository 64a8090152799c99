//! A backend's answer that the service asks for itself: the plugin said what to ask, and is not in the way of the words.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use plugbay_dialects::{Decoder, Event, FailureClass, Format, Kind, Shape, UpstreamFailure, failure_of, prepare};
use plugbay_domain::{Masker, escape};
use plugbay_operations::{RelayAnswer, RelayBody, RelayError, RelayRequest};
use plugbay_runtime::shutdown::Shutdown;
use serde::Deserialize;
use serde_json::Value;

use super::Failed;
use crate::course::Course;
use crate::models::Candidate;

/// Bytes of an answer that is an error.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// How long the end of a body may take after the last word in it.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// The longest wait that a backend may ask for.
const MAX_WAIT: Duration = Duration::from_hours(1);

/// What a backend wants to be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relay {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Value,
    #[serde(default)]
    format: Option<String>,
    /// The model, for the backend's own eyes.
    #[serde(default, rename = "model")]
    _model: Option<Value>,
}

/// An answer on its way.
pub(super) struct Relayed {
    /// Nothing once the last word was said.
    body: Option<RelayBody>,
    shutdown: Shutdown,
    decoder: Decoder,
    masked: Masked,
}

/// Asks, and waits for the head of the answer.
pub(super) async fn open(course: &Course, candidate: &Candidate, relay: Relay) -> Result<Relayed, Failed> {
    let Relay { url, method, headers, body, format, .. } = relay;
    let wrong = |text: String| Failed::new(FailureClass::Other, text);
    let format = match format.as_deref() {
        None => Format::OpenAi,
        Some(name) => Format::find(name).ok_or_else(|| {
            wrong(format!("the relay's format `{}` is none of openai, anthropic, ollama", escape(name)))
        })?,
    };
    let config = &course.state.service.config().chat;
    // The caller's form of delivery is the front's; the way in between is always a stream.
    let body = prepare(format, course.parts.restore(body).map_err(wrong)?, true);
    let body = serde_json::to_vec(&body).map_err(|error| wrong(error.to_string()))?;
    if body.len() > config.request_bytes {
        return Err(wrong(format!("the request has {} bytes; at most {} are sent", body.len(), config.request_bytes)));
    }
    let session = course.state.service.fleet().member(candidate.backend.id, &candidate.backend.name).session();
    let session = session.ok_or_else(|| wrong("the backend does not run any more".to_owned()))?;
    let mut headers = headers;
    if !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
        headers.insert("content-type".to_owned(), "application/json".to_owned());
    }
    let method = method.unwrap_or_else(|| "POST".to_owned());
    let request = RelayRequest { url, method, headers, body: Bytes::from(body), idle: config.idle };
    let answer = session.relay(request).await.map_err(|error| refused(&error))?;
    if !(200..300).contains(&answer.status) {
        return Err(failed(answer).await);
    }
    let kind = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
    let shape = Shape::of(kind, format).ok_or_else(|| {
        let kind = answer.hidden.mask_text(kind.unwrap_or_default());
        wrong(format!("it answered with `{}`, which is no answer of a model", escape(&kind)))
    })?;
    let masked = Masked { maskers: BTreeMap::new(), empty: Masker::new(&answer.hidden) };
    let shutdown = course.state.service.shutdown();
    Ok(Relayed { body: Some(answer.body), shutdown, decoder: Decoder::new(format, shape), masked })
}

fn refused(error: &RelayError) -> Failed {
    let mut failed = Failed::new(FailureClass::Other, format!("{}; {}", error.text, error.how));
    failed.failure.code = Some(error.rule.to_owned());
    failed
}

/// Why a backend refused: its own words, as far as they are a message.
async fn failed(mut answer: RelayAnswer) -> Failed {
    let mut body = Vec::new();
    while body.len() < MAX_ERROR_BYTES
        && let Some(Ok(piece)) = answer.body.next().await
    {
        let room = MAX_ERROR_BYTES - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    let mut failure = failure_of(answer.status, &body);
    failure.message = answer.hidden.mask_text(&failure.message);
    failure.code = failure.code.map(|code| answer.hidden.mask_text(&code));
    let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let milliseconds = text("retry-after-ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
    let seconds = text("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let retry_after = milliseconds.or(seconds).map(|wait| wait.min(MAX_WAIT));
    Failed { failure, timed_out: false, retry_after }
}

impl Relayed {
    /// What comes next; the last of it is an end or a failure.
    pub(super) async fn next(&mut self) -> Vec<Event> {
        let Some(body) = &mut self.body else { return vec![Event::End] };
        let decoded = match body.next().await {
            Some(Ok(piece)) => self.decoder.push(&piece),
            Some(Err(error)) => return self.end(failure(error.text)),
            None => self.decoder.finish(),
        };
        match decoded {
            Ok(events) => {
                match events.last() {
                    Some(Event::End) => self.read_out(),
                    Some(Event::Failed(_)) => self.body = None,
                    _ => {}
                }
                self.masked.events(events)
            }
            Err(error) => self.end(failure(error.to_string())),
        }
    }

    fn end(&mut self, last: Event) -> Vec<Event> {
        self.body = None;
        self.masked.events(vec![last])
    }

    /// Reads what comes after the last word, which nearly always is there: so the connection can be used again.
    fn read_out(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        if !matches!(body.next().now_or_never(), Some(None | Some(Err(_)))) {
            self.shutdown.spawn("chat.read_out", |stop| async move {
                let rest = tokio::time::timeout(LAST_BYTES, body.next());
                stop.run_until_cancelled(rest).await;
            });
        }
    }
}

fn failure(text: String) -> Event {
    Event::Failed(UpstreamFailure::new(text))
}

/// A text of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strand {
    Text(Kind),
    Tool(u32),
}

/// Keeps secrets of the backend out of all its texts.
struct Masked {
    maskers: BTreeMap<(u32, Strand), Masker>,
    empty: Masker,
}

impl Masked {
    fn events(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            self.event(event, &mut shown);
        }
        shown
    }

    fn event(&mut self, event: Event, shown: &mut Vec<Event>) {
        match event {
            Event::Text { choice, kind, text } => {
                let text = self.push(choice, Strand::Text(kind), &text);
                if !text.is_empty() {
                    shown.push(Event::Text { choice, kind, text });
                }
            }
            Event::ToolArguments { choice, index, text } => {
                let text = self.push(choice, Strand::Tool(index), &text);
                if !text.is_empty() {
                    shown.push(Event::ToolArguments { choice, index, text });
                }
            }
            Event::ToolBegin { choice, index, id, name } => {
                self.flush(Some(choice), shown);
                shown.push(Event::ToolBegin { choice, index, id: self.whole(&id), name: self.whole(&name) });
            }
            Event::Finish { choice, reason } => {
                self.flush(Some(choice), shown);
                shown.push(Event::Finish { choice, reason });
            }
            Event::Failed(mut failure) => {
                self.flush(None, shown);
                failure.message = self.whole(&failure.message);
                failure.code = failure.code.map(|code| self.whole(&code));
                shown.push(Event::Failed(failure));
            }
            Event::End => {
                self.flush(None, shown);
                shown.push(Event::End);
            }
            Event::Model(model) => shown.push(Event::Model(self.whole(&model))),
            Event::Logprobs { choice, value } => {
                let masked = serde_json::from_str(&self.whole(&value.to_string())).unwrap_or_default();
                shown.push(Event::Logprobs { choice, value: masked });
            }
            event @ Event::Usage(_) => shown.push(event),
        }
    }

    fn push(&mut self, choice: u32, strand: Strand, text: &str) -> String {
        let empty = &self.empty;
        self.maskers.entry((choice, strand)).or_insert_with(|| empty.clone()).push(text)
    }

    fn whole(&self, text: &str) -> String {
        let mut masker = self.empty.clone();
        let mut masked = masker.push(text);
        masked.push_str(&masker.finish());
        masked
    }

    /// What was held back, of one answer or of all.
    fn flush(&mut self, wanted: Option<u32>, shown: &mut Vec<Event>) {
        for ((choice, strand), masker) in &mut self.maskers {
            if wanted.is_some_and(|wanted| wanted != *choice) {
                continue;
            }
            let text = masker.finish();
            if text.is_empty() {
                continue;
            }
            shown.push(match strand {
                Strand::Text(kind) => Event::Text { choice: *choice, kind: *kind, text },
                Strand::Tool(index) => Event::ToolArguments { choice: *choice, index: *index, text },
            });
        }
    }
}
