//! From the parts of an answer to the whole of it. Linear, and bounded.

use serde_json::Value;

use crate::{Answer, Choice, Event, Kind, ToolCall};

/// Answers to one request. More than a format lets a caller ask for.
const MAX_CHOICES: usize = 256;

/// Calls of tools in one answer.
const MAX_TOOLS: usize = 1_024;

/// The answer is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is longer than {most} bytes")]
pub struct TooLong {
    /// What it may have.
    pub most: usize,
}

/// Puts parts together.
#[derive(Debug)]
pub struct Collector {
    answer: Answer,
    bytes: usize,
    most: usize,
}

impl Collector {
    /// For an answer of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { answer: Answer::default(), bytes: 0, most }
    }

    /// Takes the next part. A failure and an end are none.
    pub fn push(&mut self, event: &Event) -> Result<(), TooLong> {
        match event {
            Event::Model(model) => {
                self.count(model.len())?;
                self.answer.model.clone_from(model);
            }
            Event::Text { choice, kind, text } => {
                self.count(text.len())?;
                let choice = self.choice(*choice)?;
                let place = match kind {
                    Kind::Content => &mut choice.text,
                    Kind::Reasoning => &mut choice.reasoning,
                    Kind::Refusal => &mut choice.refusal,
                };
                place.get_or_insert_default().push_str(text);
            }
            Event::ToolBegin { choice, index, id, name } => {
                self.count(id.len() + name.len())?;
                let call = self.tool(*choice, *index)?;
                call.id.clone_from(id);
                call.name.clone_from(name);
            }
            Event::ToolArguments { choice, index, text } => {
                self.count(text.len())?;
                self.tool(*choice, *index)?.arguments.push_str(text);
            }
            Event::Logprobs { choice, value } => {
                self.count(size_of(value))?;
                add_logprobs(&mut self.choice(*choice)?.logprobs, value);
            }
            Event::Finish { choice, reason } => self.choice(*choice)?.finish = Some(reason.clone()),
            Event::Usage(usage) => self.answer.usage = Some(*usage),
            Event::Failed(_) | Event::End => {}
        }
        Ok(())
    }

    /// The whole answer, its choices by their numbers.
    pub fn finish(mut self) -> Answer {
        self.answer.choices.sort_by_key(|choice| choice.index);
        self.answer
    }

    fn count(&mut self, bytes: usize) -> Result<(), TooLong> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.most { Err(self.too_long()) } else { Ok(()) }
    }

    fn too_long(&self) -> TooLong {
        TooLong { most: self.most }
    }

    fn choice(&mut self, index: u32) -> Result<&mut Choice, TooLong> {
        let found = self.answer.choices.iter().position(|choice| choice.index == index);
        let at = match found {
            Some(at) => at,
            None if self.answer.choices.len() >= MAX_CHOICES => return Err(self.too_long()),
            None => {
                self.answer.choices.push(Choice { index, ..Choice::default() });
                self.answer.choices.len() - 1
            }
        };
        Ok(&mut self.answer.choices[at])
    }

    fn tool(&mut self, choice: u32, index: u32) -> Result<&mut ToolCall, TooLong> {
        let (too_long, index) = (self.too_long(), index as usize);
        let calls = &mut self.choice(choice)?.tool_calls;
        if index >= MAX_TOOLS {
            return Err(too_long);
        }
        while calls.len() <= index {
            calls.push(ToolCall { id: String::new(), name: String::new(), arguments: String::new() });
        }
        Ok(&mut calls[index])
    }
}

/// Lists in it grow, everything else is as it was last.
fn add_logprobs(known: &mut Option<Value>, more: &Value) {
    let Some(Value::Object(known)) = known else {
        *known = Some(more.clone());
        return;
    };
    for (name, value) in more.as_object().into_iter().flatten() {
        match (known.get_mut(name), value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more.iter().cloned()),
            _ => {
                known.insert(name.clone(), value.clone());
            }
        }
    }
}

/// About the bytes that a value takes.
fn size_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 24,
        Value::Array(items) => items.iter().map(size_of).sum::<usize>() + 24,
        Value::Object(members) => {
            members.iter().map(|(name, value)| name.len() + size_of(value) + 24).sum::<usize>() + 24
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Finish, Usage};

    fn text(choice: u32, text: &str) -> Event {
        Event::Text { choice, kind: Kind::Content, text: text.to_owned() }
    }

    #[test]
    fn parts_of_several_answers_find_together() {
        let mut collector = Collector::new(1_000);
        let begin = |index, id: &str| Event::ToolBegin { choice: 0, index, id: id.to_owned(), name: "t".to_owned() };
        let more = |index, text: &str| Event::ToolArguments { choice: 0, index, text: text.to_owned() };
        let usage = Usage { prompt: 1, completion: 2, ..Usage::default() };
        let events = [
            text(1, "b"),
            text(0, "a"),
            begin(0, "x"),
            begin(1, "y"),
            more(1, "{"),
            more(0, "{}"),
            more(1, "}"),
            text(1, "c"),
            Event::Finish { choice: 0, reason: Finish::ToolCalls },
            Event::Usage(usage),
            Event::End,
        ];
        for event in &events {
            collector.push(event).unwrap();
        }
        let answer = collector.finish();
        assert_eq!(answer.choices[0].text.as_deref(), Some("a"));
        assert_eq!(answer.choices[1].text.as_deref(), Some("bc"));
        let calls: Vec<_> = answer.choices[0].tool_calls.iter().map(|call| (&*call.id, &*call.arguments)).collect();
        assert_eq!(calls, [("x", "{}"), ("y", "{}")]);
        let mut again = Collector::new(1_000);
        for event in &answer.events() {
            again.push(event).unwrap();
        }
        let mut expected = answer.clone();
        expected.choices[1].finish = Some(Finish::Stop);
        assert_eq!(again.finish(), expected);
    }

    #[test]
    fn an_answer_is_bounded_in_bytes_choices_and_tools() {
        let mut collector = Collector::new(4);
        assert!(collector.push(&text(0, "abcd")).is_ok() && collector.push(&text(0, "e")).is_err());
        let mut collector = Collector::new(1_000_000);
        assert!((0..1_000).any(|choice| collector.push(&text(choice, "")).is_err()));
        let far = Event::ToolArguments { choice: 0, index: u32::MAX, text: String::new() };
        assert!(Collector::new(1_000_000).push(&far).is_err());
    }
}
