//! An answer as a whole, and the list of models.

use serde_json::{Value, json};

use crate::{Answer, Choice, Finish, Usage};

/// An answer to a caller who asked for `model`.
pub fn whole(answer: &Answer, id: &str, created: i64, model: &str) -> Value {
    let usage = answer.usage.unwrap_or_default();
    json!({
        "id": id, "object": "chat.completion", "created": created, "model": model,
        "choices": answer.choices.iter().map(choice).collect::<Vec<_>>(), "usage": self::usage(&usage),
    })
}

fn choice(choice: &Choice) -> Value {
    let mut message = json!({ "role": "assistant", "content": choice.text, "refusal": choice.refusal });
    if let Some(reasoning) = &choice.reasoning {
        message["reasoning_content"] = reasoning.as_str().into();
    }
    if !choice.tool_calls.is_empty() {
        let calls = choice.tool_calls.iter().map(|call| {
            json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
        });
        message["tool_calls"] = calls.collect();
    }
    let finish = choice.finish.as_ref().map_or(Finish::Stop.as_str(), Finish::as_str);
    json!({ "index": choice.index, "message": message, "logprobs": choice.logprobs, "finish_reason": finish })
}

/// What an answer has taken.
pub(super) fn usage(usage: &Usage) -> Value {
    let Usage { prompt, completion, cached, reasoning } = usage;
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt.saturating_add(*completion),
        "prompt_tokens_details": { "cached_tokens": cached.unwrap_or_default() },
        "completion_tokens_details": { "reasoning_tokens": reasoning.unwrap_or_default() },
    })
}

/// Models that can be asked for, each with its owner.
pub fn models<'a>(models: impl IntoIterator<Item = (&'a str, &'a str)>, created: i64) -> Value {
    let data: Vec<Value> = models.into_iter().map(|(id, owner)| model(id, owner, created)).collect();
    json!({ "object": "list", "data": data })
}

/// One model.
pub fn model(id: &str, owner: &str, created: i64) -> Value {
    json!({ "id": id, "object": "model", "created": created, "owned_by": owner })
}
