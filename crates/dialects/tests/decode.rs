//! Streams of backends, as they were recorded and as they are documented, cut at every byte and at every pair of bytes: what
//! they say does not depend on it.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::fs;
use std::path::Path;

use plugbay_dialects::{Decoder, Event, FailureClass, Finish, Format, Kind, Shape, UpstreamFailure, Usage};

fn read(name: &str) -> (Format, Shape, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams").join(name);
    let format = Format::find(name.split('-').next().unwrap()).unwrap();
    let shape = if format == Format::Ollama { Shape::Lines } else { Shape::Events };
    (format, shape, fs::read(path).unwrap())
}

fn decode(format: Format, shape: Shape, pieces: &[&[u8]]) -> Vec<Event> {
    let mut decoder = Decoder::new(format, shape);
    let mut events = Vec::new();
    for piece in pieces {
        events.extend(decoder.push(piece).unwrap());
    }
    events.extend(decoder.finish().unwrap());
    events
}

/// Checks what a stream says, however it is cut.
fn check(name: &str, expected: &[Event]) {
    let (format, shape, bytes) = read(name);
    assert_eq!(decode(format, shape, &[&bytes]), expected, "{name}");
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(decode(format, shape, &pieces), expected, "{name} cut at {first} and {second}");
        }
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(format, shape, &single), expected, "{name} byte by byte");
}

fn text(text: &str) -> Event {
    Event::Text { choice: 0, kind: Kind::Content, text: text.to_owned() }
}

fn thought(text: &str) -> Event {
    Event::Text { choice: 0, kind: Kind::Reasoning, text: text.to_owned() }
}

fn begin(index: u32, id: &str, name: &str) -> Event {
    Event::ToolBegin { choice: 0, index, id: id.to_owned(), name: name.to_owned() }
}

fn arguments(index: u32, text: &str) -> Event {
    Event::ToolArguments { choice: 0, index, text: text.to_owned() }
}

fn finish(reason: Finish) -> Event {
    Event::Finish { choice: 0, reason }
}

fn model(name: &str) -> Event {
    Event::Model(name.to_owned())
}

fn usage(prompt: u64, completion: u64) -> Usage {
    Usage { prompt, completion, ..Usage::default() }
}

fn failed(message: &str, class: FailureClass, code: Option<&str>) -> Event {
    Event::Failed(UpstreamFailure { status: None, class, message: message.to_owned(), code: code.map(str::to_owned) })
}

#[test]
fn openai_plain() {
    let counted = Event::Usage(usage(3, 2));
    check("openai-plain.txt", &[model("m"), text("Hé"), text("llo 😀"), finish(Finish::Stop), counted, Event::End]);
}

#[test]
fn openai_with_all_line_ends_and_no_empty_line_at_the_end() {
    check("openai-returns.txt", &[text("a"), text("b"), finish(Finish::Length), Event::End]);
}

#[test]
fn openai_tools_that_all_have_the_same_number_and_no_last_word() {
    let events = [
        begin(0, "a", "t"),
        arguments(0, "{\"x\":\"\\u00"),
        arguments(0, "e9\"}"),
        begin(1, "b", "u"),
        arguments(1, "{}"),
        finish(Finish::ToolCalls),
        Event::End,
    ];
    check("openai-tools.txt", &events);
}

#[test]
fn openai_odd_chunks() {
    let counted = Event::Usage(Usage { reasoning: Some(1), ..usage(1, 1) });
    let events = [model("m"), thought("q"), text("z"), text("\u{fffd}"), finish(Finish::Stop), counted, Event::End];
    check("openai-odd.txt", &events);
}

#[test]
fn openai_bytes_that_are_no_utf8() {
    check("openai-bytes.txt", &[text("\u{fffd}\u{fffd}"), text("😀"), finish(Finish::Stop), Event::End]);
}

#[test]
fn openai_error_in_the_middle() {
    let error = failed("too much", FailureClass::Overloaded, Some("rate_limit_exceeded"));
    check("openai-error.txt", &[text("a"), error]);
}

#[test]
fn anthropic_text() {
    let counted = Event::Usage(Usage { cached: Some(2), ..usage(7, 4) });
    check("anthropic-text.txt", &[model("c"), text("Hi"), finish(Finish::Stop), counted, Event::End]);
}

#[test]
fn anthropic_tool() {
    let events = [
        thought("hm"),
        begin(0, "t1", "f"),
        arguments(0, "{\"a\""),
        arguments(0, ":1}"),
        finish(Finish::ToolCalls),
        Event::Usage(Usage::default()),
        Event::End,
    ];
    check("anthropic-tool.txt", &events);
}

#[test]
fn anthropic_error_first() {
    check("anthropic-error.txt", &[failed("Overloaded", FailureClass::Overloaded, Some("overloaded_error"))]);
}

#[test]
fn ollama_text() {
    let events = [
        model("l"),
        text("Grü"),
        thought("t"),
        text("n"),
        finish(Finish::Length),
        Event::Usage(usage(7, 2)),
        Event::End,
    ];
    check("ollama-text.txt", &events);
}

#[test]
fn ollama_tools_come_whole_and_without_ids() {
    let events = [
        model("l"),
        begin(0, "call_0", "f"),
        arguments(0, "{\"b\":1,\"a\":[2]}"),
        begin(1, "call_1", "g"),
        arguments(1, "{}"),
        finish(Finish::ToolCalls),
        Event::End,
    ];
    check("ollama-tool.txt", &events);
}

#[test]
fn ollama_error_in_the_middle() {
    check("ollama-error.txt", &[text("a"), failed("model ran away", FailureClass::Other, None)]);
}

#[test]
fn an_answer_that_ends_early_is_a_failure() {
    let early = |format, bytes: &str| decode(format, Shape::of(None, format).unwrap(), &[bytes.as_bytes()]);
    for (format, bytes) in [
        (Format::OpenAi, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"),
        (Format::OpenAi, ""),
        (Format::OpenAi, "<html>no</html>\n"),
        (Format::Anthropic, "data: {\"type\":\"ping\"}\n\n"),
        (Format::Ollama, "{\"message\":{\"content\":\"a\"},\"done\":false}\n"),
    ] {
        let events = early(format, bytes);
        assert!(matches!(events.last(), Some(Event::Failed(_))), "{bytes}: {events:?}");
    }
    assert_eq!(Shape::of(Some("text/html; charset=utf-8"), Format::OpenAi), None);
}

#[test]
fn whole_answers_say_the_same() {
    let whole = |format, bytes: &str| decode(format, Shape::Whole, &[bytes.as_bytes()]);
    let openai = r#"{"model":"m","choices":[{"message":{"content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let counted = Event::Usage(usage(1, 2));
    assert_eq!(
        whole(Format::OpenAi, openai),
        [model("m"), text("hi"), finish(Finish::Stop), counted.clone(), Event::End]
    );
    let anthropic = r#"{"type":"message","model":"m","content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"i","name":"f","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#;
    let expected = [
        model("m"),
        text("hi"),
        begin(0, "i", "f"),
        arguments(0, "{\"a\":1}"),
        finish(Finish::ToolCalls),
        counted.clone(),
        Event::End,
    ];
    assert_eq!(whole(Format::Anthropic, anthropic), expected);
    let ollama = r#"{"model":"m","message":{"content":"hi"},"done":true,"prompt_eval_count":1,"eval_count":2}"#;
    assert_eq!(whole(Format::Ollama, ollama), [model("m"), text("hi"), finish(Finish::Stop), counted, Event::End]);
    for error in [r#"{"error":{"message":"no"}}"#, r#"{"error":"no"}"#, r#"{"detail":"no"}"#] {
        assert_eq!(whole(Format::OpenAi, error), [failed("no", FailureClass::Other, None)]);
    }
    assert!(Decoder::new(Format::OpenAi, Shape::Whole).finish().is_err(), "nothing is no answer");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic_or_go_on_after_its_end(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        kind in 0..9_usize,
        cut in 0..300_usize,
    ) {
        let format = [Format::OpenAi, Format::Anthropic, Format::Ollama][kind / 3];
        let shape = [Shape::Events, Shape::Lines, Shape::Whole][kind % 3];
        let mut decoder = Decoder::new(format, shape);
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let mut events = Vec::new();
        for piece in [first, second] {
            events.extend(decoder.push(piece).unwrap_or_default());
        }
        events.extend(decoder.finish().unwrap_or_default());
        let ends = events.iter().filter(|event| matches!(event, Event::End | Event::Failed(_))).count();
        proptest::prop_assert!(ends <= 1);
    }
}
