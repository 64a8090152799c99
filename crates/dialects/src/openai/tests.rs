//! Requests and answers, byte by byte.

use serde_json::{Value, json};

use super::*;
use crate::{Answer, Collector, Content, Event, Finish, Kind, Usage};

fn request(more: &Value) -> Vec<u8> {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}

#[test]
fn what_is_not_known_is_kept_as_it_came() {
    let more = json!({
        "seed": 7, "stop": ["a"], "max_completion_tokens": 9, "max_tokens": 3, "temperature": 1, "tools": [{"type": "function"}],
        "stream": true, "stream_options": {"include_usage": true}, "user": "ada", "x": {"y": [1]},
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "4", "extra": true},
        ],
    });
    let request = parse(&request(&more)).unwrap();
    assert_eq!((request.max_tokens, request.temperature, request.stream), (Some(9), Some(1.0), true));
    assert_eq!(request.user.as_deref(), Some("ada"));
    assert!(request.include_usage && request.tools.unwrap().get() == r#"[{"type":"function"}]"#);
    assert_eq!(Value::Object(request.parameters), json!({"seed": 7, "stop": ["a"], "x": {"y": [1]}}));
    assert_eq!(request.messages[0].content.texts().collect::<Vec<_>>(), ["a"]);
    assert_eq!((&request.messages[1].content, request.messages[1].tool_calls.len()), (&Content::None, 1));
    assert_eq!(Value::Object(request.messages[2].extra.clone()), json!({"extra": true}));
}

#[test]
fn what_is_wrong_is_told_with_its_member() {
    for (more, param) in [
        (json!({"model": null}), "model"),
        (json!({"model": 7}), "model"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": "hi"}), "messages"),
        (json!({"messages": [{"role": "boss", "content": "hi"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}), "messages[0].content"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].tool_call_id"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_completion_tokens": -1}), "max_completion_tokens"),
        (json!({"stream_options": {"include_usage": true}}), "stream_options"),
        (json!({"stream": "yes"}), "stream"),
        (json!({"temperature": 3}), "temperature"),
        (json!({"n": 0}), "n"),
        (json!({"n": 129}), "n"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"tools": {}}), "tools"),
    ] {
        assert_eq!(parse(&request(&more)).unwrap_err().param.as_deref(), Some(param), "{more}");
    }
    for bytes in [&b"{"[..], b"[]", b"\xff", b"{\"model\": \"\\ud800\"}"] {
        assert_eq!(parse(bytes).unwrap_err().param, None);
    }
}

/// An answer in parts: what was thought, what is said, a tool.
fn events() -> Vec<Event> {
    let text = |kind, text: &str| Event::Text { choice: 0, kind, text: text.to_owned() };
    vec![
        Event::Model("other".to_owned()),
        text(Kind::Reasoning, "hm"),
        text(Kind::Content, "He"),
        text(Kind::Content, "llo"),
        Event::ToolBegin { choice: 0, index: 0, id: "c".to_owned(), name: "t".to_owned() },
        Event::ToolArguments { choice: 0, index: 0, text: "{}".to_owned() },
        Event::Finish { choice: 0, reason: Finish::ToolCalls },
        Event::Usage(Usage { prompt: 3, completion: 5, cached: Some(1), reasoning: None }),
        Event::End,
    ]
}

fn streamed(include_usage: bool) -> String {
    let mut stream = Stream::new("chatcmpl-1", 7, "m", include_usage);
    let mut out = String::new();
    for event in &events() {
        stream.write(event, &mut out);
    }
    stream.done(&mut out);
    out
}

#[test]
fn a_stream_is_what_official_clients_read() {
    let expected = [
        r#""choices":[{"delta":{"content":"","role":"assistant"},"finish_reason":null,"index":0,"logprobs":null}]"#,
        r#""choices":[{"delta":{"reasoning_content":"hm"},"finish_reason":null,"index":0,"logprobs":null}]"#,
        r#""choices":[{"delta":{"content":"He"},"finish_reason":null,"index":0,"logprobs":null}]"#,
        r#""choices":[{"delta":{"content":"llo"},"finish_reason":null,"index":0,"logprobs":null}]"#,
        r#""choices":[{"delta":{"tool_calls":[{"function":{"arguments":"","name":"t"},"id":"c","index":0,"type":"function"}]},"finish_reason":null,"index":0,"logprobs":null}]"#,
        r#""choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"},"index":0}]},"finish_reason":null,"index":0,"logprobs":null}]"#,
        r#""choices":[{"delta":{},"finish_reason":"tool_calls","index":0,"logprobs":null}]"#,
    ];
    let frames = |text: &str| -> Vec<String> { text.split_terminator("\n\n").map(ToOwned::to_owned).collect() };
    let found = frames(&streamed(false));
    assert_eq!(found.len(), expected.len() + 1);
    for (frame, expected) in found.iter().zip(expected) {
        let data: Value = serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap();
        let expected: Value = serde_json::from_str(&format!("{{{expected}}}")).unwrap();
        assert_eq!(data["choices"], expected["choices"]);
        assert_eq!((&data["id"], &data["created"], &data["model"]), (&json!("chatcmpl-1"), &json!(7), &json!("m")));
        assert_eq!((&data["object"], data.get("usage")), (&json!("chat.completion.chunk"), None));
    }
    assert_eq!(found.last().unwrap(), "data: [DONE]");
    let with_usage = frames(&streamed(true));
    let data = |index: usize| -> Value { serde_json::from_str(&with_usage[index]["data: ".len()..]).unwrap() };
    assert_eq!(with_usage.len(), expected.len() + 2);
    assert_eq!(data(0).get("usage"), Some(&Value::Null));
    let last = data(expected.len());
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(8)));
    assert_eq!(last["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
}

fn collected() -> Answer {
    let mut collector = Collector::new(1_000);
    for event in &events() {
        collector.push(event).unwrap();
    }
    collector.finish()
}

#[test]
fn a_whole_answer_has_every_member_that_the_schema_asks_for() {
    let answer = whole(&collected(), "chatcmpl-1", 7, "m");
    let expected = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{
            "index": 0, "logprobs": null, "finish_reason": "tool_calls",
            "message": {
                "role": "assistant", "content": "Hello", "refusal": null, "reasoning_content": "hm",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}],
            },
        }],
        "usage": {
            "prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 0},
        },
    });
    assert_eq!(answer, expected);
}

#[test]
fn errors_and_models_have_their_form() {
    let error = ErrorBody { message: "no".to_owned(), kind: "x_error", param: None, code: Some("c".to_owned()) };
    let mut out = String::new();
    Stream::error(&error, &mut out);
    assert_eq!(out, "data: {\"error\":{\"message\":\"no\",\"type\":\"x_error\",\"param\":null,\"code\":\"c\"}}\n\n");
    let listed = models([("a/b", "plug")], 7);
    assert_eq!(listed["data"][0], json!({"id": "a/b", "object": "model", "created": 7, "owned_by": "plug"}));
}
