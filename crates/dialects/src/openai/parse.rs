//! Reads a request. What is not known is kept and sent on as it came; what is known is checked.

use serde_json::{Map, Value};

use crate::{ChatMessage, ChatRequest, Content, FrontError, Role, ToolCall};

/// Messages of one request.
const MAX_MESSAGES: usize = 10_000;

/// Answers to one request.
const MAX_CHOICES: u64 = 128;

/// Stop words.
const MAX_STOPS: usize = 4;

/// Reads a request.
pub fn parse(bytes: &[u8]) -> Result<ChatRequest, FrontError> {
    let members: Map<String, Value> = serde_json::from_slice(bytes)
        .map_err(|error| FrontError::whole(format!("the body is not a JSON object: {error}")))?;
    read(members)
}

fn read(mut members: Map<String, Value>) -> Result<ChatRequest, FrontError> {
    let mut take = |name: &str| members.remove(name).filter(|value| !value.is_null());
    let model = match take("model") {
        Some(Value::String(model)) if !model.is_empty() => model,
        Some(_) => return Err(FrontError::new("model", "`model` is the name of a model")),
        None => return Err(FrontError::new("model", "`model` is missing; GET /v1/models lists the models")),
    };
    let temperature = number("temperature", take("temperature"), 0.0, 2.0)?;
    let stream = boolean("stream", take("stream").as_ref())?.unwrap_or(false);
    let include_usage = read_stream_options(take("stream_options"), stream)?;
    let (limit, older) = (take("max_completion_tokens"), take("max_tokens"));
    let max_tokens = match (limit, older) {
        (Some(limit), _) => Some(count("max_completion_tokens", &limit)?),
        (None, Some(limit)) => Some(count("max_tokens", &limit)?),
        (None, None) => None,
    };
    let user = match take("user") {
        None => None,
        Some(Value::String(user)) => Some(user),
        Some(_) => return Err(FrontError::new("user", "`user` is a text")),
    };
    let tools = match take("tools") {
        None => None,
        Some(tools @ Value::Array(_)) => {
            let raw = serde_json::value::to_raw_value(&tools);
            Some(raw.map_err(|error| FrontError::new("tools", error.to_string()))?)
        }
        Some(_) => return Err(FrontError::new("tools", "`tools` is a list")),
    };
    let messages = read_messages(take("messages"))?;
    check_known(&members)?;
    Ok(ChatRequest {
        model,
        messages,
        temperature,
        max_tokens,
        stream,
        include_usage,
        tools,
        user,
        parameters: members,
    })
}

/// Members that are sent on, and still have a form.
fn check_known(parameters: &Map<String, Value>) -> Result<(), FrontError> {
    number("top_p", parameters.get("top_p").cloned(), 0.0, 1.0)?;
    for name in ["presence_penalty", "frequency_penalty"] {
        number(name, parameters.get(name).cloned(), -2.0, 2.0)?;
    }
    match parameters.get("n") {
        None | Some(Value::Null) => {}
        Some(found) if found.as_u64().is_some_and(|n| (1..=MAX_CHOICES).contains(&n)) => {}
        Some(_) => return Err(FrontError::new("n", format!("`n` is 1 to {MAX_CHOICES}"))),
    }
    match parameters.get("stop") {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(Value::Array(stops)) if stops.len() <= MAX_STOPS && stops.iter().all(Value::is_string) => Ok(()),
        Some(_) => Err(FrontError::new("stop", format!("`stop` is a text or a list of at most {MAX_STOPS} texts"))),
    }
}

fn read_stream_options(options: Option<Value>, stream: bool) -> Result<bool, FrontError> {
    let wrong = |message: &str| FrontError::new("stream_options", message);
    match options {
        None | Some(Value::Null) => Ok(false),
        Some(_) if !stream => Err(wrong("`stream_options` is allowed with `stream: true` only")),
        Some(Value::Object(options)) => {
            boolean("stream_options.include_usage", options.get("include_usage")).map(|asked| asked == Some(true))
        }
        Some(_) => Err(wrong("`stream_options` is an object")),
    }
}

fn number(name: &str, found: Option<Value>, least: f64, most: f64) -> Result<Option<f64>, FrontError> {
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(found) => match found.as_f64().filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(FrontError::new(name, format!("`{name}` is a number from {least} to {most}"))),
        },
    }
}

fn boolean(name: &str, found: Option<&Value>) -> Result<Option<bool>, FrontError> {
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(found)) => Ok(Some(*found)),
        Some(_) => Err(FrontError::new(name, format!("`{name}` is true or false"))),
    }
}

fn count(name: &str, found: &Value) -> Result<u64, FrontError> {
    let wrong = || FrontError::new(name, format!("`{name}` is a whole number from 1"));
    found.as_u64().filter(|count| *count > 0).ok_or_else(wrong)
}

fn read_messages(found: Option<Value>) -> Result<Vec<ChatMessage>, FrontError> {
    let messages = match found {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        Some(Value::Array(_)) => return Err(FrontError::new("messages", "`messages` holds no message")),
        Some(_) => return Err(FrontError::new("messages", "`messages` is a list")),
        None => return Err(FrontError::new("messages", "`messages` is missing")),
    };
    if messages.len() > MAX_MESSAGES {
        let text = format!("{} messages; at most {MAX_MESSAGES} are accepted", messages.len());
        return Err(FrontError::new("messages", text));
    }
    messages.into_iter().enumerate().map(|(index, message)| read_message(index, message)).collect()
}

fn read_message(index: usize, message: Value) -> Result<ChatMessage, FrontError> {
    let at = |name: &str| format!("messages[{index}].{name}");
    let Value::Object(mut members) = message else {
        return Err(FrontError::new(format!("messages[{index}]"), "a message is an object"));
    };
    let role = match members.remove("role") {
        Some(Value::String(role)) => Role::find(&role),
        _ => None,
    };
    let expected = Role::ALL.map(Role::as_str).join(", ");
    let role = role.ok_or_else(|| FrontError::new(at("role"), format!("`role` is one of {expected}")))?;
    let content = read_content(members.remove("content")).map_err(|text| FrontError::new(at("content"), text))?;
    let name = optional_text(&mut members, "name").map_err(|text| FrontError::new(at("name"), text))?;
    let tool_call_id =
        optional_text(&mut members, "tool_call_id").map_err(|text| FrontError::new(at("tool_call_id"), text))?;
    if role == Role::Tool && tool_call_id.is_none() {
        return Err(FrontError::new(at("tool_call_id"), "the answer of a tool names the call that it answers"));
    }
    let tool_calls =
        read_calls(members.remove("tool_calls")).map_err(|text| FrontError::new(at("tool_calls"), text))?;
    let says_nothing = content == Content::None && tool_calls.is_empty() && !members.contains_key("function_call");
    if says_nothing && !members.contains_key("refusal") {
        return Err(FrontError::new(at("content"), "`content` is a text or a list of parts"));
    }
    Ok(ChatMessage { role, content, name, tool_calls, tool_call_id, extra: members })
}

fn read_content(found: Option<Value>) -> Result<Content, String> {
    match found {
        None | Some(Value::Null) => Ok(Content::None),
        Some(Value::String(text)) => Ok(Content::Text(text)),
        Some(Value::Array(parts)) => {
            let is_part = |part: &Value| part.get("type").is_some_and(Value::is_string);
            let is_whole = |part: &Value| {
                part.get("type").and_then(Value::as_str) != Some("text")
                    || part.get("text").is_some_and(Value::is_string)
            };
            if parts.iter().all(|part| is_part(part) && is_whole(part)) {
                Ok(Content::Parts(parts))
            } else {
                Err("each part of `content` has a `type`, and a text its `text`".to_owned())
            }
        }
        Some(_) => Err("`content` is a text or a list of parts".to_owned()),
    }
}

fn optional_text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is a text")),
    }
}

fn read_calls(found: Option<Value>) -> Result<Vec<ToolCall>, String> {
    let calls = match found {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(calls)) => calls,
        Some(_) => return Err("`tool_calls` is a list".to_owned()),
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(ToOwned::to_owned);
    let call = |call: &Value| {
        let function = call.get("function")?;
        Some(ToolCall {
            id: text(call.get("id"))?,
            name: text(function.get("name"))?,
            arguments: text(function.get("arguments"))?,
        })
    };
    let wrong = || "each of `tool_calls` has `id` and `function` with `name` and `arguments`".to_owned();
    calls.iter().map(|found| call(found).ok_or_else(wrong)).collect()
}
