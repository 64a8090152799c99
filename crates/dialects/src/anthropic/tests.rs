use serde_json::{Value, json};

use super::{Stream, parse, parse_count, whole};
use crate::{Collector, Content, Decoder, Event, Finish, Format, Kind, Role, Shape, Usage};

fn read(body: &Value) -> Result<crate::ChatRequest, String> {
    parse(body.to_string().as_bytes()).map_err(|error| format!("{}: {error}", error.param.clone().unwrap_or_default()))
}

#[test]
fn a_request_is_read_into_messages_that_every_backend_takes() {
    let request = read(&json!({
        "model": "m", "max_tokens": 7, "stream": true, "temperature": 0.5, "top_k": 3, "stop_sequences": ["end"],
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "metadata": {"user_id": "u1"}, "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "tools": [{"name": "add", "description": "Adds", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "I add"},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "2"}]},
                {"type": "text", "text": "and?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
            ]},
        ],
    }))
    .unwrap();
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
    assert_eq!(request.messages[2].tool_calls[0].arguments, r#"{"a":1}"#);
    assert_eq!(request.messages[3].tool_call_id.as_deref(), Some("t1"));
    let Content::Parts(parts) = &request.messages[4].content else { panic!("parts") };
    assert_eq!(parts[1]["image_url"]["url"], "data:image/png;base64,AA==");
    assert_eq!((request.max_tokens, request.user.as_deref(), request.stream), (Some(7), Some("u1"), true));
    let expected = json!({
        "top_k": 3, "stop": ["end"], "tool_choice": "required", "parallel_tool_calls": false,
    });
    assert_eq!(Value::Object(request.parameters), expected);
    let tools: Value = serde_json::from_str(request.tools.unwrap().get()).unwrap();
    assert_eq!(tools[0]["function"]["parameters"], json!({"type": "object"}));
    assert!(parse_count(br#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#).is_ok(), "without a limit");
}

#[test]
fn mistakes_name_the_member() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]});
        body[name] = value;
        read(&body).unwrap_err()
    };
    for (name, value, told) in [
        ("max_tokens", Value::Null, "max_tokens: `max_tokens` is missing"),
        ("max_tokens", json!(0), "at least 1"),
        ("temperature", json!(1.5), "from 0 to 1"),
        ("messages", json!([]), "messages: "),
        ("messages", json!([{"role": "system", "content": "x"}]), "messages.0.role: `role` is user or assistant"),
        ("messages", json!([{"role": "user", "content": [{"type": "video"}]}]), "messages.0.content.0: blocks"),
        ("tools", json!([{"type": "web_search_20250305", "name": "web_search"}]), "tools.0: "),
        ("tool_choice", json!({"type": "tool"}), "tool_choice: "),
        ("stop_sequences", json!("x"), "stop_sequences: "),
        ("system", json!(7), "system: "),
    ] {
        let found = with(name, value);
        assert!(found.contains(told), "{found}");
    }
}

fn text(kind: Kind, text: &str) -> Event {
    Event::Text { choice: 0, kind, text: text.to_owned() }
}

/// Every answer that is written is read again by the decoder for such servers.
#[test]
fn what_is_written_is_what_was_said() {
    let begin = |index, id: &str| Event::ToolBegin { choice: 0, index, id: id.to_owned(), name: "t".to_owned() };
    let more = |index, text: &str| Event::ToolArguments { choice: 0, index, text: text.to_owned() };
    let usage = Usage { prompt: 3, completion: 5, cached: Some(1), reasoning: None };
    let events = [
        text(Kind::Reasoning, "hm"),
        text(Kind::Content, "a"),
        text(Kind::Content, "b"),
        begin(0, "x"),
        more(0, "{\"a\""),
        begin(1, "y"),
        more(1, "{}"),
        more(0, ":1}"),
        Event::Finish { choice: 0, reason: Finish::ToolCalls },
        Event::Usage(usage),
    ];
    let (mut stream, mut out, mut said) = (Stream::new("msg_1", "m"), String::new(), Collector::new(1_000));
    for event in &events {
        stream.write(event, &mut out);
        said.push(event).unwrap();
    }
    stream.done(&mut out);
    let said = said.finish();
    let read = |shape, bytes: &[u8]| {
        let mut decoder = Decoder::new(Format::Anthropic, shape);
        let mut collector = Collector::new(1_000);
        for event in decoder.push(bytes).unwrap().into_iter().chain(decoder.finish().unwrap()) {
            collector.push(&event).unwrap();
        }
        collector.finish()
    };
    let mut expected = said.clone();
    expected.model = "m".to_owned();
    let streamed = read(Shape::Events, out.as_bytes());
    assert_eq!(streamed.choices, expected.choices, "{out}");
    let whole = whole(&said, "msg_1", "m");
    assert_eq!(read(Shape::Whole, whole.to_string().as_bytes()).choices, expected.choices, "{whole}");
    assert_eq!((&whole["stop_reason"], &whole["usage"]["output_tokens"]), (&json!("tool_use"), &json!(5)));
    assert_eq!(out.matches("event: content_block_start").count(), 4);
    assert!(out.starts_with("event: message_start\n") && out.ends_with("{\"type\":\"message_stop\"}\n\n"), "{out}");
}

#[test]
fn an_answer_that_says_nothing_has_its_beginning_and_its_end() {
    let mut out = String::new();
    Stream::new("msg_1", "m").done(&mut out);
    assert_eq!(out.matches("event: ").count(), 3);
}
