//! Reads a request into the form that belongs to no front: what the system says is its first message, results of tools are
//! messages of their own, tools and choices are written as most backends take them.

use serde_json::{Map, Value, json};

use crate::{ChatMessage, ChatRequest, Content, FrontError, Role, ToolCall};

/// Messages of one request.
const MAX_MESSAGES: usize = 10_000;

/// Blocks of one message.
const MAX_BLOCKS: usize = 10_000;

/// Stop words.
const MAX_STOPS: usize = 16;

/// Reads a request for an answer.
pub fn parse(bytes: &[u8]) -> Result<ChatRequest, FrontError> {
    let mut request = read(bytes)?;
    let limit = request.parameters.remove("max_tokens").filter(|value| !value.is_null());
    let limit = limit.ok_or_else(|| FrontError::new("max_tokens", "`max_tokens` is missing"))?;
    let wrong = || FrontError::new("max_tokens", "`max_tokens` is a whole number, at least 1");
    request.max_tokens = Some(limit.as_u64().filter(|limit| *limit > 0).ok_or_else(wrong)?);
    Ok(request)
}

/// Reads a request to count what it says.
pub fn parse_count(bytes: &[u8]) -> Result<ChatRequest, FrontError> {
    let mut request = read(bytes)?;
    request.parameters.remove("max_tokens");
    request.stream = false;
    Ok(request)
}

fn read(bytes: &[u8]) -> Result<ChatRequest, FrontError> {
    let mut members: Map<String, Value> = serde_json::from_slice(bytes)
        .map_err(|error| FrontError::whole(format!("the body is not a JSON object: {error}")))?;
    let mut take = |name: &str| members.remove(name).filter(|value| !value.is_null());
    let model = match take("model") {
        Some(Value::String(model)) if !model.is_empty() => model,
        _ => return Err(FrontError::new("model", "`model` is the name of a model; GET /v1/models lists them")),
    };
    let stream = match take("stream") {
        None => false,
        Some(Value::Bool(stream)) => stream,
        Some(_) => return Err(FrontError::new("stream", "`stream` is true or false")),
    };
    let temperature = match take("temperature") {
        None => None,
        Some(value) => {
            let found = value.as_f64().filter(|value| (0.0..=1.0).contains(value));
            Some(found.ok_or_else(|| FrontError::new("temperature", "`temperature` is a number from 0 to 1"))?)
        }
    };
    let user = take("metadata").and_then(|metadata| Some(metadata.get("user_id")?.as_str()?.to_owned()));
    let mut messages: Vec<ChatMessage> = system(take("system"))?.into_iter().collect();
    let Some(Value::Array(listed)) = take("messages") else {
        return Err(FrontError::new("messages", "`messages` is a list"));
    };
    if listed.is_empty() || listed.len() > MAX_MESSAGES {
        return Err(FrontError::new("messages", format!("`messages` has 1 to {MAX_MESSAGES} of them")));
    }
    for (index, message) in listed.into_iter().enumerate() {
        read_message(index, &message, &mut messages)?;
    }
    let tools = take("tools").map(tools).transpose()?;
    let choice = take("tool_choice").map(|choice| tool_choice(&choice)).transpose()?;
    let stops = take("stop_sequences").map(stops).transpose()?;
    members.extend(choice.into_iter().flatten());
    members.extend(stops.map(|stops| ("stop".to_owned(), stops)));
    Ok(ChatRequest {
        model,
        messages,
        temperature,
        max_tokens: None,
        stream,
        include_usage: true,
        tools,
        user,
        parameters: members,
    })
}

fn system(found: Option<Value>) -> Result<Option<ChatMessage>, FrontError> {
    let wrong = || FrontError::new("system", "`system` is a text or a list of texts");
    let content = match found {
        None => return Ok(None),
        Some(Value::String(text)) => Content::Text(text),
        Some(Value::Array(blocks)) => {
            let text = |block: &Value| Some(text_part(block.get("text")?.as_str()?));
            Content::Parts(blocks.iter().map(|block| text(block).ok_or_else(wrong)).collect::<Result<_, _>>()?)
        }
        Some(_) => return Err(wrong()),
    };
    Ok(Some(said(Role::System, content)))
}

fn said(role: Role, content: Content) -> ChatMessage {
    ChatMessage { role, content, name: None, tool_calls: Vec::new(), tool_call_id: None, extra: Map::new() }
}

fn text_part(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn read_message(index: usize, message: &Value, messages: &mut Vec<ChatMessage>) -> Result<(), FrontError> {
    let at = |name: &str| format!("messages.{index}.{name}");
    let role = match message.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => return Err(FrontError::new(at("role"), "`role` is user or assistant; the system's words are `system`")),
    };
    let blocks = match message.get("content") {
        Some(Value::String(text)) => {
            messages.push(said(role, Content::Text(text.clone())));
            return Ok(());
        }
        Some(Value::Array(blocks)) if blocks.len() <= MAX_BLOCKS => blocks,
        Some(Value::Array(_)) => {
            return Err(FrontError::new(at("content"), format!("a message has at most {MAX_BLOCKS} blocks")));
        }
        _ => return Err(FrontError::new(at("content"), "`content` is a text or a list of blocks")),
    };
    let mut own = said(role, Content::None);
    let mut parts = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let wrong = |text: String| FrontError::new(at(&format!("content.{number}")), text);
        match Block::read(block).map_err(wrong)? {
            Block::Part(part) => parts.push(part),
            Block::Call(call) => own.tool_calls.push(call),
            // They answer the message before, so they come first.
            Block::Result(result) => messages.push(result),
            Block::Thought => {}
        }
    }
    if !parts.is_empty() {
        own.content = Content::Parts(parts);
    }
    if own.content != Content::None || !own.tool_calls.is_empty() {
        messages.push(own);
    }
    Ok(())
}

/// One block of a message.
enum Block {
    Part(Value),
    Call(ToolCall),
    Result(ChatMessage),
    /// What a model thought before, which is not told to another.
    Thought,
}

impl Block {
    fn read(block: &Value) -> Result<Self, String> {
        let text = |name: &str| block.get(name).and_then(Value::as_str);
        let wanted = |name: &str| text(name).ok_or_else(|| format!("`{name}` of the block is a text"));
        match text("type").ok_or("a block has a `type`")? {
            "text" => Ok(Self::Part(text_part(wanted("text")?))),
            "image" => Ok(Self::Part(image(block.get("source"))?)),
            "tool_use" => {
                let arguments = block.get("input").cloned().unwrap_or_else(|| json!({})).to_string();
                Ok(Self::Call(ToolCall { id: wanted("id")?.to_owned(), name: wanted("name")?.to_owned(), arguments }))
            }
            "tool_result" => {
                let mut result = said(Role::Tool, result_content(block.get("content"))?);
                result.tool_call_id = Some(wanted("tool_use_id")?.to_owned());
                Ok(Self::Result(result))
            }
            "thinking" | "redacted_thinking" => Ok(Self::Thought),
            _ => Err("blocks are text, image, tool_use, tool_result or thinking".to_owned()),
        }
    }
}

fn image(source: Option<&Value>) -> Result<Value, String> {
    let text = |name: &str| source.and_then(|source| source.get(name)?.as_str());
    let url = match (text("type"), text("media_type"), text("data"), text("url")) {
        (Some("base64"), Some(media_type), Some(data), _) => format!("data:{media_type};base64,{data}"),
        (Some("url"), _, _, Some(url)) => url.to_owned(),
        _ => return Err("`source` of a picture is base64 with `media_type` and `data`, or a url".to_owned()),
    };
    Ok(json!({ "type": "image_url", "image_url": { "url": url } }))
}

fn result_content(found: Option<&Value>) -> Result<Content, String> {
    match found {
        None | Some(Value::Null) => Ok(Content::Text(String::new())),
        Some(Value::String(text)) => Ok(Content::Text(text.clone())),
        Some(Value::Array(blocks)) => {
            let part = |block: &Value| match block.get("type").and_then(Value::as_str) {
                Some("text") => {
                    Ok(text_part(block.get("text").and_then(Value::as_str).ok_or("a text block has `text`")?))
                }
                Some("image") => image(block.get("source")),
                _ => Err("a result of a tool has texts and pictures".to_owned()),
            };
            Ok(Content::Parts(blocks.iter().map(part).collect::<Result<_, String>>()?))
        }
        Some(_) => Err("`content` of a result is a text or a list of blocks".to_owned()),
    }
}

fn tools(found: Value) -> Result<Box<serde_json::value::RawValue>, FrontError> {
    let Value::Array(tools) = found else { return Err(FrontError::new("tools", "`tools` is a list")) };
    let tool = |(index, tool): (usize, &Value)| {
        let wrong = |text: &str| FrontError::new(format!("tools.{index}"), text);
        let is_own = tool.get("type").is_none_or(|kind| kind == "custom");
        let name = tool.get("name").and_then(Value::as_str).filter(|_| is_own);
        let name =
            name.ok_or_else(|| wrong("a tool has a `name` and an `input_schema`; those of a server are not taken"))?;
        let schema = tool.get("input_schema").filter(|schema| schema.is_object());
        let schema = schema.ok_or_else(|| wrong("`input_schema` is a JSON Schema"))?;
        let mut function = json!({ "name": name, "parameters": schema });
        if let Some(description) = tool.get("description") {
            function["description"] = description.clone();
        }
        Ok(json!({ "type": "function", "function": function }))
    };
    let tools: Vec<Value> = tools.iter().enumerate().map(tool).collect::<Result<_, FrontError>>()?;
    serde_json::value::to_raw_value(&tools).map_err(|error| FrontError::new("tools", error.to_string()))
}

fn tool_choice(choice: &Value) -> Result<Vec<(String, Value)>, FrontError> {
    let wrong = || FrontError::new("tool_choice", "`tool_choice` is auto, any, none, or tool with a `name`");
    let written = match choice.get("type").and_then(Value::as_str).ok_or_else(wrong)? {
        "auto" => json!("auto"),
        "any" => json!("required"),
        "none" => json!("none"),
        "tool" => {
            let name = choice.get("name").and_then(Value::as_str).ok_or_else(wrong)?;
            json!({ "type": "function", "function": { "name": name } })
        }
        _ => return Err(wrong()),
    };
    let mut found = vec![("tool_choice".to_owned(), written)];
    if choice.get("disable_parallel_tool_use") == Some(&Value::Bool(true)) {
        found.push(("parallel_tool_calls".to_owned(), Value::Bool(false)));
    }
    Ok(found)
}

fn stops(found: Value) -> Result<Value, FrontError> {
    let is_list = |stops: &Vec<Value>| stops.len() <= MAX_STOPS && stops.iter().all(Value::is_string);
    let wrong =
        || FrontError::new("stop_sequences", format!("`stop_sequences` is a list of at most {MAX_STOPS} texts"));
    if found.as_array().is_some_and(is_list) { Ok(found) } else { Err(wrong()) }
}
