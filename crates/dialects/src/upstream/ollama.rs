//! Ollama's lines.

use serde_json::Value;

use super::failure;
use super::json::{count, text};
use crate::{Event, Finish, Kind, Usage};

/// What is known of an answer so far.
#[derive(Debug, Default)]
pub(super) struct State {
    has_model: bool,
    tools: u32,
}

impl State {
    /// One line of a stream, or an answer as a whole.
    pub(super) fn line(&mut self, value: &Value) -> Vec<Event> {
        if let Some(failed) = value.get("error").and_then(|_| failure::in_answer(value)) {
            return vec![failed];
        }
        let mut events = Vec::new();
        if let Some(model) = text(value, "model").filter(|_| !self.has_model) {
            self.has_model = true;
            events.push(Event::Model(model.to_owned()));
        }
        let message = value.get("message").unwrap_or(&Value::Null);
        for (name, kind) in [("thinking", Kind::Reasoning), ("content", Kind::Content)] {
            events.extend(text(message, name).map(|text| Event::Text { choice: 0, kind, text: text.to_owned() }));
        }
        for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.tool(call, &mut events);
        }
        if value.get("done") == Some(&Value::Bool(true)) {
            let reason = match text(value, "done_reason") {
                Some("length") => Finish::Length,
                _ if self.tools > 0 => Finish::ToolCalls,
                _ => Finish::Stop,
            };
            events.push(Event::Finish { choice: 0, reason });
            // What the server knew already is not counted by it.
            let (prompt, completion) = (count(value, "prompt_eval_count"), count(value, "eval_count"));
            if prompt.is_some() || completion.is_some() {
                let (prompt, completion) = (prompt.unwrap_or_default(), completion.unwrap_or_default());
                events.push(Event::Usage(Usage { prompt, completion, ..Usage::default() }));
            }
            events.push(Event::End);
        }
        events
    }

    /// Calls come whole, and without an id.
    fn tool(&mut self, call: &Value, events: &mut Vec<Event>) {
        let Some(function) = call.get("function") else { return };
        let Some(name) = text(function, "name") else { return };
        let index = self.tools;
        self.tools += 1;
        let id = text(call, "id").map_or_else(|| format!("call_{index}"), ToOwned::to_owned);
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(object) => object.to_string(),
            None => "{}".to_owned(),
        };
        events.push(Event::ToolBegin { choice: 0, index, id, name: name.to_owned() });
        events.push(Event::ToolArguments { choice: 0, index, text: arguments });
    }
}
