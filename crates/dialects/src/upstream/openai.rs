//! OpenAI's chunks, as all the servers write them that say that they speak its format.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::failure;
use super::json::{count, index, text};
use crate::{Event, Finish, Kind, Usage};

/// Calls of tools in one answer that are followed.
const MAX_TOOLS: usize = 1_024;

/// Bytes of arguments that came before the name of their tool.
const MAX_EARLY_BYTES: usize = 64 * 1024;

/// What is known of an answer so far.
#[derive(Debug, Default)]
pub(super) struct State {
    has_model: bool,
    finished: BTreeSet<u32>,
    tools: Vec<Tool>,
    /// Where in `tools` the last call is that has this number in its choice.
    last: BTreeMap<(u32, u32), usize>,
    /// How many calls each choice has.
    counts: BTreeMap<u32, u32>,
}

#[derive(Debug)]
struct Tool {
    choice: u32,
    index: u32,
    id: String,
    name: String,
    /// Arguments that came before the name.
    early: String,
    is_told: bool,
}

impl State {
    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// One chunk of a stream.
    pub(super) fn chunk(&mut self, value: &Value) -> Vec<Event> {
        self.read(value, "delta")
    }

    /// An answer as a whole.
    pub(super) fn whole(&mut self, value: &Value) -> Vec<Event> {
        let mut events = self.read(value, "message");
        if !events.iter().any(|event| matches!(event, Event::Failed(_))) && self.has_finished() {
            events.push(Event::End);
        }
        events
    }

    fn read(&mut self, value: &Value, part: &str) -> Vec<Event> {
        if let Some(failed) = failure::in_answer(value) {
            return vec![failed];
        }
        let mut events = Vec::new();
        if let Some(model) = text(value, "model").filter(|_| !self.has_model) {
            self.has_model = true;
            events.push(Event::Model(model.to_owned()));
        }
        for choice in value.get("choices").and_then(Value::as_array).into_iter().flatten() {
            self.choice(choice, part, &mut events);
        }
        events.extend(value.get("usage").and_then(usage).map(Event::Usage));
        events
    }

    fn choice(&mut self, value: &Value, part: &str, events: &mut Vec<Event>) {
        let choice = index(value, "index");
        // Some servers send a whole message where a delta belongs.
        let said = value.get(part).or_else(|| value.get("message")).or_else(|| value.get("delta"));
        if let Some(said) = said {
            let names =
                [("reasoning_content", Kind::Reasoning), ("reasoning", Kind::Reasoning), ("refusal", Kind::Refusal)];
            let mut has_reasoning = false;
            for (name, kind) in names {
                let Some(found) = text(said, name).filter(|_| kind != Kind::Reasoning || !has_reasoning) else {
                    continue;
                };
                has_reasoning |= kind == Kind::Reasoning;
                events.push(Event::Text { choice, kind, text: found.to_owned() });
            }
            events.extend(content(said).map(|text| Event::Text { choice, kind: Kind::Content, text }));
            for call in said.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                self.tool(choice, call, events);
            }
        }
        if let Some(value) = value.get("logprobs").filter(|value| value.is_object()) {
            events.push(Event::Logprobs { choice, value: value.clone() });
        }
        if let Some(reason) = text(value, "finish_reason")
            && self.finished.insert(choice)
        {
            self.tell_unnamed(choice, events);
            events.push(Event::Finish { choice, reason: Finish::read(reason) });
        }
    }

    fn tool(&mut self, choice: u32, call: &Value, events: &mut Vec<Event>) {
        let number = index(call, "index");
        let function = call.get("function").unwrap_or(&Value::Null);
        let (id, name) = (text(call, "id"), text(function, "name"));
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(object @ Value::Object(_)) => object.to_string(),
            _ => String::new(),
        };
        let known = self.last.get(&(choice, number)).copied();
        // Servers that give every call the same number tell a new one by its id.
        let is_new =
            known.is_none_or(|at| id.is_some_and(|id| !self.tools[at].id.is_empty() && self.tools[at].id != id));
        let at = if is_new {
            if self.tools.len() >= MAX_TOOLS {
                return;
            }
            let own = self.counts.entry(choice).or_default();
            let id = id.map_or_else(|| format!("call_{choice}_{own}"), ToOwned::to_owned);
            let tool = Tool { choice, index: *own, id, name: String::new(), early: String::new(), is_told: false };
            *own += 1;
            self.tools.push(tool);
            let at = self.tools.len() - 1;
            self.last.insert((choice, number), at);
            at
        } else {
            known.unwrap_or_default()
        };
        let tool = &mut self.tools[at];
        if let Some(name) = name.filter(|_| tool.name.is_empty()) {
            name.clone_into(&mut tool.name);
        }
        if tool.name.is_empty() {
            if tool.early.len() + arguments.len() <= MAX_EARLY_BYTES {
                tool.early.push_str(&arguments);
            }
            return;
        }
        tool.tell(events);
        if !arguments.is_empty() {
            events.push(Event::ToolArguments { choice, index: tool.index, text: arguments });
        }
    }

    /// Tells of calls that were never given a name.
    fn tell_unnamed(&mut self, choice: u32, events: &mut Vec<Event>) {
        self.tools.iter_mut().filter(|tool| tool.choice == choice).for_each(|tool| tool.tell(events));
    }
}

impl Tool {
    fn tell(&mut self, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let (choice, index) = (self.choice, self.index);
        events.push(Event::ToolBegin { choice, index, id: self.id.clone(), name: self.name.clone() });
        let early = std::mem::take(&mut self.early);
        if !early.is_empty() {
            events.push(Event::ToolArguments { choice, index, text: early });
        }
    }
}

/// What is said: a text, or parts of which some are texts.
fn content(said: &Value) -> Option<String> {
    let text: String = match said.get("content")? {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

fn usage(value: &Value) -> Option<Usage> {
    let details = |name: &str, member: &str| value.get(name).and_then(|details| count(details, member));
    Some(Usage {
        prompt: count(value, "prompt_tokens")?,
        completion: count(value, "completion_tokens").unwrap_or_default(),
        cached: details("prompt_tokens_details", "cached_tokens"),
        reasoning: details("completion_tokens_details", "reasoning_tokens"),
    })
}
