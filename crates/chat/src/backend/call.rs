//! The `chat` call of a backend: an answer as a whole, in parts as the plugin has them, or as a request that the service
//! makes for it.

use plugbay_dialects::{Event, FailureClass, Finish, Kind, UpstreamFailure, Usage};
use plugbay_domain::{Chain, Refusal as _, escape};
use plugbay_fleet::{CallRequest, Executing, calls};
use plugbay_operations::StreamEvent;
use serde_json::{Value, json};

use super::Failed;
use super::relay::{self, Relay, Relayed};
use crate::course::Course;
use crate::message;
use crate::models::Candidate;
use crate::said::kind_of;

/// Where the parts of an answer come from.
pub(crate) enum Source {
    /// A plugin that has them itself.
    Plugin(Box<Parts>),
    /// A request that the plugin wanted to be made.
    Relay(Box<Relayed>),
}

/// The parts of a running call.
pub(crate) struct Parts {
    executing: Option<Executing>,
    /// What came before it was known that there is no relay.
    first: Option<Vec<Event>>,
    /// Calls of tools so far.
    tools: u32,
    has_finish: bool,
}

impl Source {
    /// What comes next; the last of it is an end or a failure.
    pub(crate) async fn next(&mut self) -> Vec<Event> {
        match self {
            Self::Plugin(parts) => parts.next().await,
            Self::Relay(relayed) => relayed.next().await,
        }
    }
}

/// Begins the call.
pub(crate) async fn open(course: &mut Course, candidate: &Candidate) -> Result<Source, Failed> {
    let at = course.at.to_string();
    let shown: Vec<Value> = course.messages.iter().map(|kept| kept.shown(&at, &mut course.parts)).collect();
    let mut context = message::context(&course.request, &shown, &course.metadata);
    context["model"] = candidate.model.as_str().into();
    let params = json!({ "context": context });
    let longest = course.state.service.config().chat.first_token;
    let request = CallRequest::of_service(&candidate.backend.name, "chat", &params, None)
        .with_origin(course.origin())
        .with_trace(course.trace.as_deref())
        .without_deadline(longest)
        .without_blame();
    if request.bytes() > course.state.most_bytes() {
        let text = format!("the request has {} bytes, which do not fit a message to a plugin", request.bytes());
        return Err(Failed::new(FailureClass::Invalid, text));
    }
    match calls::call(course.state.service.fleet(), request).await {
        Ok(executing) => {
            let mut parts = Parts { executing: Some(executing), first: None, tools: 0, has_finish: false };
            match parts.begin().await {
                Some(relay) => Ok(Source::Relay(Box::new(relay::open(course, candidate, relay).await?))),
                None => Ok(Source::Plugin(Box::new(parts))),
            }
        }
        Err(error) => {
            let plugin = error.plugin();
            let mut failed = Failed::new(FailureClass::Other, Chain(&error).to_string());
            failed.retry_after = plugin.and_then(|problem| problem.retry_after);
            failed.failure.code = Some(error.code().as_str().to_owned());
            Err(failed)
        }
    }
}

impl Parts {
    /// Waits for the first part. It may be that the plugin has none, and only says what to ask.
    async fn begin(&mut self) -> Option<Relay> {
        let executing = self.executing.as_mut()?;
        let first = loop {
            match executing.next_event().await {
                Some(StreamEvent::Progress(_)) => {}
                other => break other,
            }
        };
        if let Some(StreamEvent::Chunk { data, .. }) = first {
            self.first = Some(self.chunk(data.get()));
            return None;
        }
        match self.result().await {
            Ok(Value::Object(mut members)) if members.contains_key("relay") => {
                match serde_json::from_value(members.remove("relay").unwrap_or_default()) {
                    Ok(relay) => return Some(relay),
                    Err(error) => self.first = Some(failed(format!("its relay cannot be read: {error}"))),
                }
            }
            Ok(value) => self.first = Some(self.last(value)),
            Err(text) => self.first = Some(failed(text)),
        }
        None
    }

    async fn next(&mut self) -> Vec<Event> {
        if let Some(first) = self.first.take() {
            return first;
        }
        let Some(executing) = &mut self.executing else { return vec![Event::End] };
        match executing.next_event().await {
            Some(StreamEvent::Chunk { data, .. }) => self.chunk(data.get()),
            Some(StreamEvent::Progress(_)) => Vec::new(),
            None => match self.result().await {
                Ok(value) => self.last(value),
                Err(text) => failed(text),
            },
        }
    }

    fn chunk(&mut self, data: &str) -> Vec<Event> {
        match serde_json::from_str(data) {
            Ok(value) => self.part(value).unwrap_or_else(failed),
            Err(error) => failed(error.to_string()),
        }
    }

    /// The answer of the call itself.
    async fn result(&mut self) -> Result<Value, String> {
        let Some(executing) = &mut self.executing else { return Ok(Value::Null) };
        // Dropped before it is there, it is waited for again.
        let answered = executing.last().await;
        self.executing = None;
        let answer = answered.map_err(|error| Chain(&error).to_string())?.answer;
        if !answer.success {
            return Err(answer.error.or(answer.message).unwrap_or_else(|| "it did not say why".to_owned()));
        }
        let value = answer.result.map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get()));
        value.map_err(|error| error.to_string())
    }

    /// The last part, and the end.
    fn last(&mut self, value: Value) -> Vec<Event> {
        let mut events = match self.part(value) {
            Ok(events) => events,
            Err(text) => return failed(text),
        };
        if !self.has_finish {
            let reason = if self.tools > 0 { Finish::ToolCalls } else { Finish::Stop };
            events.push(Event::Finish { choice: 0, reason });
        }
        events.push(Event::End);
        events
    }

    /// Reads a part of an answer, or a whole one.
    fn part(&mut self, value: Value) -> Result<Vec<Event>, String> {
        let members = match value {
            Value::String(text) => return Ok(vec![text_of(0, Kind::Content, text)]),
            Value::Object(members) => members,
            Value::Null => return Ok(Vec::new()),
            other => return Err(format!("expected a text, a part or a message, found {}", kind_of(&other))),
        };
        let choice = members.get("choice").and_then(Value::as_u64).unwrap_or(0);
        let choice = u32::try_from(choice).map_err(|_too_many| "`choice` is a small number".to_owned())?;
        let kind = match members.get("kind").and_then(Value::as_str) {
            None | Some("content") => Kind::Content,
            Some("reasoning") => Kind::Reasoning,
            Some("refusal") => Kind::Refusal,
            Some(other) => return Err(format!("`{}` is no kind of content", escape(other))),
        };
        let mut events = Vec::new();
        for name in ["text", "content"] {
            match members.get(name) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => events.push(text_of(choice, kind, text.clone())),
                Some(Value::Array(parts)) => {
                    let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
                    events.push(text_of(choice, kind, texts.collect()));
                }
                Some(other) => return Err(format!("`{name}` is a text, not {}", kind_of(other))),
            }
        }
        for call in members.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            events.extend(self.tool(choice, call)?);
        }
        if let Some(usage) = members.get("usage").filter(|usage| usage.is_object()) {
            let count = |name: &str| usage.get(name).and_then(Value::as_u64);
            let (prompt, completion) = (count("prompt_tokens"), count("completion_tokens"));
            events.push(Event::Usage(Usage {
                prompt: prompt.unwrap_or_default(),
                completion: completion.unwrap_or_default(),
                cached: None,
                reasoning: None,
            }));
        }
        if let Some(reason) = members.get("finish_reason").and_then(Value::as_str) {
            self.has_finish = true;
            events.push(Event::Finish { choice, reason: Finish::read(reason) });
        }
        if events.is_empty() {
            return Err("expected `content`, `text`, `tool_calls`, `usage` or `finish_reason`".to_owned());
        }
        Ok(events)
    }

    fn tool(&mut self, choice: u32, call: &Value) -> Result<[Event; 2], String> {
        let function = call.get("function").ok_or("a call of a tool has `function`")?;
        let name = function.get("name").and_then(Value::as_str).ok_or("a call of a tool has a name")?;
        let text = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "{}".to_owned(),
        };
        let index = self.tools;
        self.tools += 1;
        let id = call.get("id").and_then(Value::as_str).map_or_else(|| format!("call_{index}"), ToOwned::to_owned);
        Ok([
            Event::ToolBegin { choice, index, id, name: name.to_owned() },
            Event::ToolArguments { choice, index, text },
        ])
    }
}

fn text_of(choice: u32, kind: Kind, text: String) -> Event {
    Event::Text { choice, kind, text }
}

fn failed(text: String) -> Vec<Event> {
    vec![Event::Failed(UpstreamFailure::new(text))]
}
