//! What backends answer, in their formats.

mod anthropic;
mod failure;
mod json;
mod ollama;
mod openai;

use serde_json::{Value, json};

pub use failure::failure_of;

use crate::sse::{Events, Lines};
use crate::{Event, UpstreamFailure};

/// Bytes of an answer that comes as a whole.
const MAX_WHOLE_BYTES: usize = 16 * 1024 * 1024;

/// A format of backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenAI's chat completions, which most servers speak.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's chat.
    Ollama,
}

impl Format {
    /// The format of this name.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "openai" => Some(Self::OpenAi),
            "anthropic" => Some(Self::Anthropic),
            "ollama" => Some(Self::Ollama),
            _ => None,
        }
    }
}

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// As server-sent events.
    Events,
    /// As lines of JSON.
    Lines,
    /// As one JSON object.
    Whole,
}

impl Shape {
    /// What the media type of an answer says, whatever was asked for. Nothing for what is no answer, such as a web page.
    pub fn of(content_type: Option<&str>, format: Format) -> Option<Self> {
        let streamed = if format == Format::Ollama { Self::Lines } else { Self::Events };
        let Some(kind) = content_type else { return Some(streamed) };
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/event-stream" => Some(Self::Events),
            "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => Some(Self::Lines),
            "application/json" => Some(Self::Whole),
            "text/plain" | "application/octet-stream" => Some(streamed),
            _ => None,
        }
    }
}

/// The answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct DecodeError {
    /// What is wrong with it.
    pub problem: String,
}

/// Reads one answer.
#[derive(Debug)]
pub struct Decoder {
    reader: Reader,
    format: Box<State>,
    /// Nothing is read after the end.
    has_ended: bool,
}

#[derive(Debug)]
enum Reader {
    Events(Events),
    Lines(Lines),
    Whole(Vec<u8>),
}

#[derive(Debug)]
enum State {
    OpenAi(openai::State),
    Anthropic(anthropic::State),
    Ollama(ollama::State),
}

impl Decoder {
    /// For an answer of this format that comes so.
    pub fn new(format: Format, shape: Shape) -> Self {
        let reader = match shape {
            Shape::Events => Reader::Events(Events::default()),
            Shape::Lines => Reader::Lines(Lines::default()),
            Shape::Whole => Reader::Whole(Vec::new()),
        };
        let state = match format {
            Format::OpenAi => State::OpenAi(openai::State::default()),
            Format::Anthropic => State::Anthropic(anthropic::State::default()),
            Format::Ollama => State::Ollama(ollama::State::default()),
        };
        Self { reader, format: Box::new(state), has_ended: false }
    }

    /// Takes bytes as they come, and gives what they say.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, DecodeError> {
        let mut read = Read { events: Vec::new(), error: None, has_ended: self.has_ended, state: &mut self.format };
        let is_within = match &mut self.reader {
            Reader::Events(events) => events.push(bytes, |data| read.data(data)).is_ok(),
            Reader::Lines(lines) => lines.push(bytes, |line| read.data(&String::from_utf8_lossy(line))).is_ok(),
            Reader::Whole(whole) => {
                whole.extend_from_slice(bytes);
                whole.len() <= MAX_WHOLE_BYTES
            }
        };
        self.has_ended = read.has_ended;
        read.outcome(is_within)
    }

    /// The connection has ended. What is missing then is a failure.
    pub fn finish(&mut self) -> Result<Vec<Event>, DecodeError> {
        let mut read = Read { events: Vec::new(), error: None, has_ended: self.has_ended, state: &mut self.format };
        match &mut self.reader {
            Reader::Events(events) => events.finish(|data| read.data(data)),
            Reader::Lines(lines) => lines.finish(|line| read.data(&String::from_utf8_lossy(line))),
            Reader::Whole(whole) => read.whole(&String::from_utf8_lossy(whole)),
        }
        if !read.has_ended && read.error.is_none() {
            let ended_well = match read.state {
                State::OpenAi(state) => state.has_finished(),
                State::Anthropic(state) => state.has_finished(),
                State::Ollama(_) => false,
            };
            let last = if ended_well {
                Event::End
            } else {
                Event::Failed(UpstreamFailure::new("the answer ended in the middle"))
            };
            read.events.push(last);
            read.has_ended = true;
        }
        self.has_ended = read.has_ended;
        read.outcome(true)
    }
}

/// One reading, and what has come of it.
struct Read<'a> {
    events: Vec<Event>,
    error: Option<DecodeError>,
    has_ended: bool,
    state: &'a mut State,
}

impl Read<'_> {
    fn data(&mut self, text: &str) {
        if self.has_ended || self.error.is_some() || text.trim().is_empty() {
            return;
        }
        if text.starts_with("[DONE]") {
            return self.add(vec![Event::End]);
        }
        match json::read(text) {
            Ok(value) => {
                let events = match self.state {
                    State::OpenAi(state) => state.chunk(&value),
                    State::Anthropic(state) => state.event(&value),
                    State::Ollama(state) => state.line(&value),
                };
                self.add(events);
            }
            Err(problem) => self.error = Some(DecodeError { problem }),
        }
    }

    fn whole(&mut self, text: &str) {
        match json::read(text) {
            Ok(value) => {
                let events = match self.state {
                    State::OpenAi(state) => state.whole(&value),
                    State::Anthropic(state) => state.whole(&value),
                    State::Ollama(state) => state.line(&value),
                };
                self.add(events);
            }
            Err(problem) => self.error = Some(DecodeError { problem }),
        }
    }

    fn add(&mut self, events: Vec<Event>) {
        for event in events {
            if self.has_ended {
                return;
            }
            self.has_ended = matches!(event, Event::End | Event::Failed(_));
            self.events.push(event);
        }
    }

    fn outcome(self, is_within: bool) -> Result<Vec<Event>, DecodeError> {
        match self.error {
            None if is_within => Ok(self.events),
            None => Err(DecodeError { problem: "an event is longer than is read".to_owned() }),
            Some(error) => Err(error),
        }
    }
}

/// The body of a request as it is sent: for a stream or not, with what makes the backend count.
pub fn prepare(format: Format, mut body: Value, stream: bool) -> Value {
    let Some(members) = body.as_object_mut() else { return body };
    members.insert("stream".to_owned(), stream.into());
    if format == Format::OpenAi {
        if stream {
            let options = members.entry("stream_options").or_insert_with(|| json!({}));
            if let Some(options) = options.as_object_mut() {
                options.insert("include_usage".to_owned(), true.into());
            } else {
                *options = json!({ "include_usage": true });
            }
        } else {
            members.remove("stream_options");
        }
    }
    body
}
