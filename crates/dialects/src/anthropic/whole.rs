//! An answer as a whole.

use serde_json::{Value, json};

use super::stop_reason;
use crate::{Answer, Choice, Finish, Usage};

/// An answer to a caller who asked for `model`. There is one: of several the first.
pub fn whole(answer: &Answer, id: &str, model: &str) -> Value {
    let choice = answer.choices.first().cloned().unwrap_or_default();
    let finish = choice.finish.clone().unwrap_or(Finish::Stop);
    json!({
        "id": id, "type": "message", "role": "assistant", "model": model, "content": blocks(&choice),
        "stop_reason": stop_reason(&finish), "stop_sequence": null, "usage": usage(&answer.usage.unwrap_or_default()),
    })
}

fn blocks(choice: &Choice) -> Vec<Value> {
    let mut blocks = Vec::new();
    if let Some(thought) = choice.reasoning.as_ref().filter(|text| !text.is_empty()) {
        blocks.push(json!({ "type": "thinking", "thinking": thought, "signature": "" }));
    }
    for text in [&choice.text, &choice.refusal].into_iter().flatten().filter(|text| !text.is_empty()) {
        blocks.push(json!({ "type": "text", "text": text }));
    }
    for call in &choice.tool_calls {
        blocks.push(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input(&call.arguments) }));
    }
    blocks
}

/// What a tool is called with. What is no object cannot be told in this form.
fn input(arguments: &str) -> Value {
    serde_json::from_str(arguments).ok().filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// What an answer has taken.
pub(super) fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt, "output_tokens": usage.completion, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached.unwrap_or_default(),
    })
}
