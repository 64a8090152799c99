//! Anthropic's events.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure;
use super::json::{count, index, text};
use crate::{Event, Finish, Kind, Usage};

/// Blocks of one answer that are followed.
const MAX_BLOCKS: usize = 1_024;

/// What is known of an answer so far.
#[derive(Debug, Default)]
pub(super) struct State {
    usage: Usage,
    has_finished: bool,
    blocks: BTreeMap<u32, Block>,
    tools: u32,
}

#[derive(Debug)]
struct Block {
    /// Which call of a tool it is.
    tool: Option<u32>,
    /// What a tool is called with, where it came at once.
    input: Option<String>,
    has_text: bool,
}

impl State {
    pub(super) fn has_finished(&self) -> bool {
        self.has_finished
    }

    /// One event of a stream. Those that are not known are passed over.
    pub(super) fn event(&mut self, value: &Value) -> Vec<Event> {
        let mut events = Vec::new();
        match text(value, "type").unwrap_or_default() {
            "error" => events.extend(failure::in_answer(value)),
            "message_start" => {
                let message = value.get("message").unwrap_or(&Value::Null);
                events.extend(text(message, "model").map(|model| Event::Model(model.to_owned())));
                self.count(message);
            }
            "content_block_start" => {
                let block = value.get("content_block").unwrap_or(&Value::Null);
                self.begin(index(value, "index"), block, &mut events);
            }
            "content_block_delta" => {
                let delta = value.get("delta").unwrap_or(&Value::Null);
                self.delta(index(value, "index"), delta, &mut events);
            }
            "content_block_stop" => self.end(index(value, "index"), &mut events),
            "message_delta" => {
                self.count(value);
                let reason = value.get("delta").and_then(|delta| text(delta, "stop_reason"));
                self.finish(reason, &mut events);
            }
            "message_stop" => {
                self.finish(Some("end_turn"), &mut events);
                events.push(Event::End);
            }
            _ => {}
        }
        events
    }

    /// An answer as a whole.
    pub(super) fn whole(&mut self, value: &Value) -> Vec<Event> {
        if text(value, "type") == Some("error") || value.get("error").is_some_and(|error| !error.is_null()) {
            return failure::in_answer(value).into_iter().collect();
        }
        let Some(blocks) = value.get("content").and_then(Value::as_array) else { return Vec::new() };
        let mut events: Vec<Event> =
            text(value, "model").map(|model| Event::Model(model.to_owned())).into_iter().collect();
        for (number, block) in (0_u32..).zip(blocks) {
            self.begin(number, block, &mut events);
            self.end(number, &mut events);
        }
        self.count(value);
        self.finish(Some(text(value, "stop_reason").unwrap_or("end_turn")), &mut events);
        events.push(Event::End);
        events
    }

    fn count(&mut self, value: &Value) {
        let Some(usage) = value.get("usage") else { return };
        if let Some(prompt) = count(usage, "input_tokens") {
            let cached = count(usage, "cache_read_input_tokens");
            let written = count(usage, "cache_creation_input_tokens").unwrap_or_default();
            self.usage.prompt = prompt.saturating_add(cached.unwrap_or_default()).saturating_add(written);
            self.usage.cached = cached;
        }
        self.usage.completion = count(usage, "output_tokens").unwrap_or(self.usage.completion);
    }

    fn begin(&mut self, number: u32, block: &Value, events: &mut Vec<Event>) {
        if self.blocks.len() >= MAX_BLOCKS {
            return;
        }
        let (mut tool, mut input) = (None, None);
        match text(block, "type").unwrap_or_default() {
            "tool_use" => {
                let own = self.tools;
                self.tools += 1;
                let id = text(block, "id").map_or_else(|| format!("call_{own}"), ToOwned::to_owned);
                let name = text(block, "name").unwrap_or_default().to_owned();
                events.push(Event::ToolBegin { choice: 0, index: own, id, name });
                (tool, input) = (Some(own), block.get("input").filter(|input| input.is_object()).map(Value::to_string));
            }
            "thinking" => events.extend(said(text(block, "thinking"), Kind::Reasoning)),
            _ => events.extend(said(text(block, "text"), Kind::Content)),
        }
        self.blocks.insert(number, Block { tool, input, has_text: false });
    }

    fn delta(&mut self, number: u32, delta: &Value, events: &mut Vec<Event>) {
        match text(delta, "type").unwrap_or_default() {
            "text_delta" => events.extend(said(text(delta, "text"), Kind::Content)),
            "thinking_delta" => events.extend(said(text(delta, "thinking"), Kind::Reasoning)),
            "input_json_delta" => {
                let block = self.blocks.get_mut(&number).and_then(|block| Some((block.tool?, block)));
                if let (Some((index, block)), Some(part)) = (block, text(delta, "partial_json")) {
                    block.has_text = true;
                    events.push(Event::ToolArguments { choice: 0, index, text: part.to_owned() });
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, number: u32, events: &mut Vec<Event>) {
        let Some(block) = self.blocks.get_mut(&number) else { return };
        if let Some(index) = block.tool.filter(|_| !block.has_text) {
            let text = block.input.take().unwrap_or_else(|| "{}".to_owned());
            events.push(Event::ToolArguments { choice: 0, index, text });
        }
        block.has_text = true;
    }

    fn finish(&mut self, reason: Option<&str>, events: &mut Vec<Event>) {
        let Some(reason) = reason.filter(|_| !self.has_finished) else { return };
        self.has_finished = true;
        let reason = match reason {
            "end_turn" | "stop_sequence" | "pause_turn" => Finish::Stop,
            "max_tokens" => Finish::Length,
            "tool_use" => Finish::ToolCalls,
            "refusal" => Finish::ContentFilter,
            other => Finish::Other(other.to_owned()),
        };
        events.push(Event::Finish { choice: 0, reason });
        events.push(Event::Usage(self.usage));
    }
}

fn said(text: Option<&str>, kind: Kind) -> Option<Event> {
    text.map(|text| Event::Text { choice: 0, kind, text: text.to_owned() })
}
