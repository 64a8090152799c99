//! An answer part by part.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{ErrorBody, frame};
use crate::{Event, Kind, Usage};

/// What ends a stream.
const DONE: &str = "data: [DONE]\n\n";

/// One stream, from its first frame to `[DONE]`.
#[derive(Debug)]
pub struct Stream {
    id: String,
    created: i64,
    model: String,
    include_usage: bool,
    /// Answers that have begun.
    begun: BTreeSet<u32>,
    /// Those that have ended: each ends once.
    ended: BTreeSet<u32>,
    usage: Option<Usage>,
}

impl Stream {
    /// A stream for a caller who asked for `model`.
    pub fn new(id: impl Into<String>, created: i64, model: impl Into<String>, include_usage: bool) -> Self {
        Self {
            id: id.into(),
            created,
            model: model.into(),
            include_usage,
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            usage: None,
        }
    }

    /// Adds the frames of an event, if it is shown.
    pub fn write(&mut self, event: &Event, out: &mut String) {
        match event {
            Event::Text { choice, kind, text } => {
                self.begin(*choice, out);
                if text.is_empty() {
                    return;
                }
                let name = match kind {
                    Kind::Content => "content",
                    Kind::Reasoning => "reasoning_content",
                    Kind::Refusal => "refusal",
                };
                self.delta(*choice, &json!({ name: text }), out);
            }
            Event::ToolBegin { choice, index, id, name } => {
                self.begin(*choice, out);
                let function = json!({ "name": name, "arguments": "" });
                let call = json!({ "index": index, "id": id, "type": "function", "function": function });
                self.delta(*choice, &json!({ "tool_calls": [call] }), out);
            }
            Event::ToolArguments { choice, index, text } => {
                self.begin(*choice, out);
                if !text.is_empty() {
                    let call = json!({ "index": index, "function": { "arguments": text } });
                    self.delta(*choice, &json!({ "tool_calls": [call] }), out);
                }
            }
            Event::Logprobs { choice, value } => {
                self.begin(*choice, out);
                let choice = json!({ "index": choice, "delta": {}, "logprobs": value, "finish_reason": null });
                self.chunk(&json!([choice]), None, out);
            }
            Event::Finish { choice, reason } => {
                self.begin(*choice, out);
                if self.ended.insert(*choice) {
                    let choice =
                        json!({ "index": choice, "delta": {}, "logprobs": null, "finish_reason": reason.as_str() });
                    self.chunk(&json!([choice]), None, out);
                }
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Model(_) | Event::Failed(_) | Event::End => {}
        }
    }

    /// Adds the end: what it has taken, where that was asked for, and `[DONE]`.
    pub fn done(&mut self, out: &mut String) {
        if self.include_usage {
            let usage = self.usage.unwrap_or_default();
            self.chunk(&json!([]), Some(super::whole::usage(&usage)), out);
        }
        out.push_str(DONE);
    }

    /// Adds an error, after which nothing follows.
    pub fn error(error: &ErrorBody, out: &mut String) {
        out.push_str(&frame(&error.to_json()));
    }

    fn begin(&mut self, choice: u32, out: &mut String) {
        if self.begun.insert(choice) {
            self.delta(choice, &json!({ "role": "assistant", "content": "" }), out);
        }
    }

    fn delta(&self, choice: u32, delta: &Value, out: &mut String) {
        let choice = json!({ "index": choice, "delta": delta, "logprobs": null, "finish_reason": null });
        self.chunk(&json!([choice]), None, out);
    }

    fn chunk(&self, choices: &Value, usage: Option<Value>, out: &mut String) {
        let mut chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        });
        if self.include_usage {
            chunk["usage"] = usage.unwrap_or(Value::Null);
        }
        out.push_str(&frame(&chunk));
    }
}
