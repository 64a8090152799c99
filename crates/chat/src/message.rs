//! Messages as plugins are shown them, and what of them a plugin may change. Pure.

use plugbay_dialects::{ChatMessage, ChatRequest, Content, Role, ToolCall};
use serde_json::{Map, Value, json};

use crate::said::{self, Said, Span};

/// Bytes of a text inside a part that is no text, such as a picture, from which on it does not travel.
const MAX_PART_BYTES: usize = 64 * 1024;

/// The member that stands in the place of data that does not travel.
const PART: &str = "$part";

/// Data that plugins get no copy of, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    data: Vec<String>,
    /// Bytes that one answer may put back: a plugin can name the same part a thousand times.
    most: usize,
}

impl Parts {
    /// With the bytes that one answer may put back.
    pub(crate) fn up_to(most: usize) -> Self {
        Self { data: Vec::new(), most }
    }

    /// The part as it travels.
    fn lay_off(&mut self, part: &Value) -> Value {
        match part {
            Value::String(text) if text.len() > MAX_PART_BYTES => {
                let number = self.data.iter().position(|known| known == text).unwrap_or_else(|| {
                    self.data.push(text.clone());
                    self.data.len() - 1
                });
                json!({ PART: format!("p{number}"), "media_type": media_type(text), "bytes": text.len() })
            }
            Value::Array(items) => items.iter().map(|item| self.lay_off(item)).collect(),
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.clone(), self.lay_off(value)));
                Value::Object(members.collect())
            }
            other => other.clone(),
        }
    }

    /// The same with the data in their places again.
    pub(crate) fn restore(&self, value: Value) -> Result<Value, String> {
        self.restore_within(value, &mut self.most.clone())
    }

    fn restore_within(&self, value: Value, left: &mut usize) -> Result<Value, String> {
        match value {
            Value::Array(items) => items.into_iter().map(|item| self.restore_within(item, left)).collect(),
            Value::Object(members) => {
                if let Some(name) = members.get(PART) {
                    let number = name.as_str().and_then(|name| name.strip_prefix('p')?.parse::<usize>().ok());
                    let data = number.and_then(|number| self.data.get(number));
                    let data = data.ok_or_else(|| format!("there is no part {name}"))?;
                    let too_much = || format!("the parts that it names have more than {} bytes together", self.most);
                    *left = left.checked_sub(data.len()).ok_or_else(too_much)?;
                    return Ok(Value::String(data.clone()));
                }
                let members = members.into_iter().map(|(name, value)| Ok((name, self.restore_within(value, left)?)));
                Ok(Value::Object(members.collect::<Result<Map<_, _>, String>>()?))
            }
            other => Ok(other),
        }
    }
}

/// The media type of a data URL.
fn media_type(text: &str) -> Option<&str> {
    text.strip_prefix("data:")?.split([';', ',']).next().filter(|kind| !kind.is_empty() && kind.len() <= 127)
}

/// Whether processors get a message: guards get those too that a caller may have put into another's mouth.
pub(crate) fn is_for_processor(kept: &Kept, is_guard: bool) -> bool {
    !kept.is_past && (is_guard || matches!(kept.message.role, Role::User | Role::Tool | Role::Function))
}

/// One message of an exchange, with what plugins have noted about it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) message: ChatMessage,
    pub(crate) metadata: Map<String, Value>,
    /// It was said before in the conversation, and passed then.
    pub(crate) is_past: bool,
}

impl Kept {
    /// As a plugin is shown it.
    pub(crate) fn shown(&self, at: &str, parts: &mut Parts) -> Value {
        let ChatMessage { role: of, content, name, tool_calls, tool_call_id, .. } = &self.message;
        let content = match content {
            Content::None => Value::Null,
            Content::Text(text) => Value::String(text.clone()),
            Content::Parts(items) => {
                let travel = |part: &Value| if is_text(part) { part.clone() } else { parts.lay_off(part) };
                items.iter().map(travel).collect()
            }
        };
        let mut shown = json!({
            "id": self.id, "role": of.as_str(), "content": content, "timestamp": at, "metadata": self.metadata,
        });
        if let Some(name) = name {
            shown["name"] = name.as_str().into();
        }
        if !tool_calls.is_empty() {
            shown["tool_calls"] = tool_calls.iter().map(shown_call).collect();
        }
        if let Some(id) = tool_call_id {
            shown["tool_call_id"] = id.as_str().into();
        }
        shown
    }

    /// Does with the message what a member has said. True when it is another one now.
    pub(crate) fn put(&mut self, said: Said, parts: &Parts) -> Result<bool, String> {
        match said {
            Said::Unchanged | Said::Blocked(_) => Ok(false),
            Said::Masked(spans) => self.mask(&spans),
            Said::Changed(members) => {
                for (name, value) in members {
                    self.change(&name, parts.restore(value)?)?;
                }
                Ok(true)
            }
        }
    }

    fn change(&mut self, name: &str, value: Value) -> Result<(), String> {
        match name {
            "content" => self.message.content = content_of(value)?,
            "name" => self.message.name = optional_text(name, value)?,
            "tool_calls" => self.message.tool_calls = calls_of(value)?,
            _ => {
                let Value::Object(metadata) = value else { return Err("`metadata` is an object".to_owned()) };
                self.metadata = metadata;
            }
        }
        Ok(())
    }

    fn mask(&mut self, spans: &[Span]) -> Result<bool, String> {
        let before = self.message.content.clone();
        match &mut self.message.content {
            Content::None => {}
            Content::Text(text) => *text = said::mask(text, spans)?,
            Content::Parts(parts) => mask_parts(parts, spans)?,
        }
        Ok(self.message.content != before)
    }
}

fn is_text(part: &Value) -> bool {
    part.get("type").and_then(Value::as_str) == Some("text")
}

/// Masks texts that stand in several parts, as if they were one.
fn mask_parts(parts: &mut [Value], spans: &[Span]) -> Result<(), String> {
    let mut at = 0;
    for part in parts.iter_mut().filter(|part| is_text(part)) {
        let Some(text) = part.get("text").and_then(Value::as_str) else { continue };
        let length = text.chars().count();
        let own: Vec<Span> = spans.iter().filter_map(|span| span.within(at, length)).collect();
        part["text"] = said::mask(text, &own)?.into();
        at += length;
    }
    match spans.iter().find(|span| span.ends_after(at)) {
        Some(_) => Err(format!("a span is not in a text of {at} characters")),
        None => Ok(()),
    }
}

fn content_of(value: Value) -> Result<Content, String> {
    match value {
        Value::Null => Ok(Content::None),
        Value::String(text) => Ok(Content::Text(text)),
        Value::Array(parts) if parts.iter().all(Value::is_object) => Ok(Content::Parts(parts)),
        other => Err(format!("`content` is a text or a list of parts, not {}", said::kind_of(&other))),
    }
}

fn optional_text(name: &str, value: Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(format!("`{name}` is a text, not {}", said::kind_of(&other))),
    }
}

/// A call of a tool, as formats write it.
pub(crate) fn shown_call(call: &ToolCall) -> Value {
    json!({
        "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments },
    })
}

fn calls_of(value: Value) -> Result<Vec<ToolCall>, String> {
    let Value::Array(calls) = value else { return Err("`tool_calls` is a list".to_owned()) };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(ToOwned::to_owned);
    let call = |call: &Value| {
        let function = call.get("function")?;
        let arguments = match function.get("arguments")? {
            Value::String(text) => text.clone(),
            object => object.to_string(),
        };
        Some(ToolCall { id: text(call.get("id"))?, name: text(function.get("name"))?, arguments })
    };
    calls.iter().map(|value| call(value).ok_or_else(|| "a call of a tool has `id` and `function`".to_owned())).collect()
}

/// A message that a plugin made.
pub(crate) fn made_by_plugin(value: Value, parts: &Parts) -> Result<(ChatMessage, Map<String, Value>), String> {
    let members = match value {
        Value::Object(members) => members,
        Value::String(text) => Map::from_iter([("content".to_owned(), text.into())]),
        other => return Err(format!("expected a message, found {}", said::kind_of(&other))),
    };
    let of = members.get("role").and_then(Value::as_str).unwrap_or("assistant");
    let of = Role::find(of).ok_or_else(|| format!("`{}` is no role", plugbay_domain::escape(of)))?;
    let mut kept = Kept {
        id: String::new(),
        message: ChatMessage {
            role: of,
            content: Content::None,
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            extra: Map::new(),
        },
        metadata: Map::new(),
        is_past: false,
    };
    for (name, value) in members {
        match name.as_str() {
            "content" | "name" => kept.change(&name, parts.restore(value)?)?,
            "tool_calls" | "metadata" if !value.is_null() => kept.change(&name, parts.restore(value)?)?,
            "tool_call_id" => kept.message.tool_call_id = optional_text(&name, value)?,
            _ => {}
        }
    }
    Ok((kept.message, kept.metadata))
}

/// What a plugin is told about the request beside its messages.
pub(crate) fn context(request: &ChatRequest, messages: &[Value], metadata: &Map<String, Value>) -> Value {
    let tools: Option<Value> = request.tools.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
    json!({
        "messages": messages, "model": request.model, "temperature": request.temperature,
        "max_tokens": request.max_tokens, "stream": request.stream, "tools": tools, "user": request.user,
        "conversation": metadata.get("conversation"), "parameters": request.parameters, "metadata": metadata,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(bytes: usize) -> Value {
        json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{}", "A".repeat(bytes)) } })
    }

    fn kept(content: Content) -> Kept {
        let (role, extra) = (Role::User, Map::new());
        let message = ChatMessage { role, content, name: None, tool_calls: Vec::new(), tool_call_id: None, extra };
        Kept { id: "m0".to_owned(), message, metadata: Map::new(), is_past: false }
    }

    #[test]
    fn large_data_stays_outside_and_comes_back() {
        let (mut parts, text) = (Parts::up_to(1 << 20), json!({ "type": "text", "text": "what is it" }));
        let mut message = kept(Content::Parts(vec![text.clone(), picture(MAX_PART_BYTES), picture(10)]));
        let before = message.message.clone();
        let shown = message.shown("t", &mut parts);
        let laid_off = &shown["content"][1]["image_url"]["url"];
        assert_eq!((&laid_off["$part"], &laid_off["media_type"]), (&json!("p0"), &json!("image/png")));
        assert_eq!(shown["content"][2], picture(10));
        let said = said::read(shown.clone(), &shown, plugbay_domain::Effect::Transform).unwrap();
        assert_eq!((message.put(said, &parts), &message.message), (Ok(false), &before));
        let mut turned = shown.clone();
        turned["content"][0]["text"] = json!("what is that");
        let said = said::read(turned, &shown, plugbay_domain::Effect::Transform).unwrap();
        assert_eq!(message.put(said, &parts), Ok(true));
        let Content::Parts(after) = &message.message.content else { panic!("parts") };
        assert_eq!(after[1], picture(MAX_PART_BYTES));
    }

    #[test]
    fn a_part_cannot_be_named_a_thousand_times_nor_one_that_is_not_there() {
        let mut parts = Parts::up_to(1 << 20);
        let message = kept(Content::Parts(vec![picture(MAX_PART_BYTES)]));
        let url = message.shown("t", &mut parts)["content"][0]["image_url"]["url"].take();
        assert!(parts.restore(json!([url, url])).is_ok());
        assert!(parts.restore(vec![url; 1_000].into()).unwrap_err().contains("more than 1048576 bytes"));
        for name in [json!("p1"), json!("p-1"), json!("x"), json!(0)] {
            assert!(parts.restore(json!({ PART: name })).unwrap_err().contains("no part"));
        }
    }

    #[test]
    fn texts_of_several_parts_are_masked_as_one() {
        let text = |text: &str| json!({ "type": "text", "text": text });
        let mut message = kept(Content::Parts(vec![text("ab"), picture(3), text("cd")]));
        let spans = json!({ "action": "mask", "spans": [{ "start": 1, "end": 3, "replacement": "#" }] });
        let said = said::read(spans, &json!({}), plugbay_domain::Effect::Decide).unwrap();
        assert_eq!(message.put(said, &Parts::default()), Ok(true));
        assert_eq!(message.message.content, Content::Parts(vec![text("a#"), picture(3), text("d")]));
    }
}
