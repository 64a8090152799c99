//! An answer part by part. Its blocks follow each other and never mix: a second tool is told once the first has ended.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{stop_reason, whole};
use crate::{Event, Finish, Kind, ToolCall, Usage};

/// One stream, from `message_start` to `message_stop`.
#[derive(Debug)]
pub struct Stream {
    id: String,
    model: String,
    has_begun: bool,
    /// The block that is open, and the number of the next one.
    open: Option<Open>,
    next: u32,
    /// Tools that wait for the one that is being told.
    later: BTreeMap<u32, ToolCall>,
    finish: Option<Finish>,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Thought,
    Tool(u32),
}

impl Stream {
    /// A stream for a caller who asked for `model`.
    pub fn new(id: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            model: model.into(),
            has_begun: false,
            open: None,
            next: 0,
            later: BTreeMap::new(),
            finish: None,
            usage: Usage::default(),
        }
    }

    /// Adds the events of a part, if it is shown. There is one answer: parts of others are passed over.
    pub fn write(&mut self, event: &Event, out: &mut String) {
        match event {
            Event::Text { choice: 0, kind, text } if !text.is_empty() => {
                let (open, delta) = match kind {
                    Kind::Content | Kind::Refusal => (Open::Text, json!({ "type": "text_delta", "text": text })),
                    Kind::Reasoning => (Open::Thought, json!({ "type": "thinking_delta", "thinking": text })),
                };
                self.open(open, None, out);
                self.delta(&delta, out);
            }
            Event::ToolBegin { choice: 0, index, id, name } => {
                let call = ToolCall { id: id.clone(), name: name.clone(), arguments: String::new() };
                if matches!(self.open, Some(Open::Tool(_))) {
                    self.later.insert(*index, call);
                } else {
                    self.open(Open::Tool(*index), Some(&call), out);
                }
            }
            Event::ToolArguments { choice: 0, index, text } => {
                if self.open == Some(Open::Tool(*index)) {
                    self.arguments(text, out);
                } else if let Some(call) = self.later.get_mut(index) {
                    call.arguments.push_str(text);
                }
            }
            Event::Finish { choice: 0, reason } => self.finish = Some(reason.clone()),
            Event::Usage(usage) => self.usage = *usage,
            _ => {}
        }
    }

    /// Adds the end: the tools that waited, why it ended, and what it has taken.
    pub fn done(&mut self, out: &mut String) {
        self.begin(out);
        for (index, call) in std::mem::take(&mut self.later) {
            self.open(Open::Tool(index), Some(&call), out);
            self.arguments(&call.arguments, out);
        }
        self.close(out);
        let reason = self.finish.clone().unwrap_or(Finish::Stop);
        let delta = json!({ "stop_reason": stop_reason(&reason), "stop_sequence": null });
        frame(&json!({ "type": "message_delta", "delta": delta, "usage": whole::usage(&self.usage) }), out);
        frame(&json!({ "type": "message_stop" }), out);
    }

    /// Adds an error, after which nothing follows.
    pub fn error(error: &Value, out: &mut String) {
        frame(error, out);
    }

    /// What is said while there is nothing to say.
    pub const PING: &str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

    fn begin(&mut self, out: &mut String) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let message = json!({
                "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": whole::usage(&self.usage),
            });
            frame(&json!({ "type": "message_start", "message": message }), out);
        }
    }

    fn open(&mut self, wanted: Open, call: Option<&ToolCall>, out: &mut String) {
        self.begin(out);
        if self.open == Some(wanted) {
            return;
        }
        self.close(out);
        let block = match call {
            Some(call) => json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": {} }),
            None if wanted == Open::Thought => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            None => json!({ "type": "text", "text": "" }),
        };
        self.open = Some(wanted);
        frame(&json!({ "type": "content_block_start", "index": self.next, "content_block": block }), out);
    }

    fn close(&mut self, out: &mut String) {
        if self.open.take().is_some() {
            frame(&json!({ "type": "content_block_stop", "index": self.next }), out);
            self.next += 1;
        }
    }

    fn arguments(&self, text: &str, out: &mut String) {
        if !text.is_empty() {
            self.delta(&json!({ "type": "input_json_delta", "partial_json": text }), out);
        }
    }

    fn delta(&self, delta: &Value, out: &mut String) {
        frame(&json!({ "type": "content_block_delta", "index": self.next, "delta": delta }), out);
    }
}

/// An event of a stream, named as it is.
fn frame(data: &Value, out: &mut String) {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
    out.push_str(&data.to_string());
    out.push_str("\n\n");
}
