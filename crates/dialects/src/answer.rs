//! An answer as a whole.

use serde_json::Value;

use crate::{ChatMessage, Event, Finish, Kind, ToolCall, Usage};

/// Everything that a backend answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The model, as the backend calls it.
    pub model: String,
    /// The answers, by their numbers.
    pub choices: Vec<Choice>,
    /// What it has taken.
    pub usage: Option<Usage>,
}

/// One of the answers that were asked for; nearly always the only one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Its number.
    pub index: u32,
    /// What is said.
    pub text: Option<String>,
    /// What was thought before.
    pub reasoning: Option<String>,
    /// Why nothing is said.
    pub refusal: Option<String>,
    /// Tools that are called.
    pub tool_calls: Vec<ToolCall>,
    /// How likely the words were.
    pub logprobs: Option<Value>,
    /// Why it ended.
    pub finish: Option<Finish>,
}

impl Answer {
    /// One message as an answer.
    pub fn of_message(model: String, message: ChatMessage) -> Self {
        let text: String = message.content.texts().collect();
        let finish = if message.tool_calls.is_empty() { Finish::Stop } else { Finish::ToolCalls };
        let is_said = !text.is_empty() || message.tool_calls.is_empty();
        let choice = Choice {
            text: is_said.then_some(text),
            tool_calls: message.tool_calls,
            finish: Some(finish),
            ..Choice::default()
        };
        Self { model, choices: vec![choice], usage: None }
    }

    /// The same part by part, for a caller who wanted it as it comes.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if !self.model.is_empty() {
            events.push(Event::Model(self.model.clone()));
        }
        for choice in &self.choices {
            let number = choice.index;
            let texts =
                [(Kind::Reasoning, &choice.reasoning), (Kind::Content, &choice.text), (Kind::Refusal, &choice.refusal)];
            for (kind, text) in texts {
                events.extend(text.iter().map(|text| Event::Text { choice: number, kind, text: text.clone() }));
            }
            for (index, call) in (0_u32..).zip(&choice.tool_calls) {
                let (id, name) = (call.id.clone(), call.name.clone());
                events.push(Event::ToolBegin { choice: number, index, id, name });
                events.push(Event::ToolArguments { choice: number, index, text: call.arguments.clone() });
            }
            events.extend(choice.logprobs.iter().map(|value| Event::Logprobs { choice: number, value: value.clone() }));
            let reason = choice.finish.clone().unwrap_or(Finish::Stop);
            events.push(Event::Finish { choice: number, reason });
        }
        events.extend(self.usage.map(Event::Usage));
        events.push(Event::End);
        events
    }
}
