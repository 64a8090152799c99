use plugbay_dialects::{Collector, Kind};
use proptest::prelude::*;

use super::*;

const ALL: fn(ContentKind) -> bool = |_| true;

fn text(text: &str) -> Event {
    Event::Text { choice: 0, kind: Kind::Content, text: text.to_owned() }
}

fn verdict(text: &str, hold: usize) -> Vec<Verdict> {
    serde_json::from_value(serde_json::json!([{"choice": 0, "kind": "content", "text": text, "hold": hold}])).unwrap()
}

fn fed(strands: &mut Strands, events: &[Event], number: u64) -> Value {
    for event in events {
        assert_eq!(strands.take(event.clone(), ALL), None);
    }
    let line = strands.line().unwrap();
    let json = serde_json::from_str(&line.json).unwrap();
    strands.sent(line, number);
    json
}

#[test]
fn what_waits_is_sent_together_and_leaves_but_for_what_is_held() {
    let mut strands = Strands::new(4);
    let sent = fed(&mut strands, &[text("ab"), text("cdef")], 0);
    assert_eq!(sent, serde_json::json!([{"choice": 0, "kind": "content", "text": "abcdef"}]));
    assert_eq!(strands.hear(Some(0), verdict("AB", 4)), Ok(vec![text("AB")]));
    fed(&mut strands, &[text("gh")], 1);
    assert_eq!(strands.hear(None, verdict("", 4)), Ok(Vec::new()), "nothing more was taken in");
    assert!(strands.is_undecided() && strands.is_changed());
    assert_eq!(strands.release(), [text("cdefgh")]);
    assert_eq!(strands.bytes(), 0);
}

#[test]
fn rules_that_a_filter_breaks_are_named() {
    let rule = |read, verdicts: Vec<Verdict>| {
        let mut strands = Strands::new(4);
        fed(&mut strands, &[text("abcdef")], 0);
        strands.hear(read, verdicts).unwrap_err()
    };
    assert!(rule(Some(0), verdict("", 5)).contains("holds back 5 characters of `content`; it may hold 4"));
    assert!(rule(Some(0), Vec::new()).contains("holds back 6 characters"));
    assert!(rule(None, verdict("", 1)).contains("has taken in fewer"));
    let other = serde_json::from_value(serde_json::json!([{"choice": 1, "kind": "content"}])).unwrap();
    assert!(rule(Some(0), other).contains("which it was not fed"));
}

#[test]
fn what_is_swallowed_never_leaves() {
    let mut strands = Strands::new(4);
    fed(&mut strands, &[text("a key BEGIN"), text(" private")], 0);
    let swallow = serde_json::json!([{"choice": 0, "kind": "content", "text": "a key ", "swallow": true}]);
    assert_eq!(strands.hear(Some(0), serde_json::from_value(swallow).unwrap()), Ok(vec![text("a key ")]));
    fed(&mut strands, &[text("more")], 1);
    assert_eq!((strands.release(), strands.pass(text("and more"))), (Vec::new(), None));
    let other = Event::Text { choice: 0, kind: Kind::Reasoning, text: "free".to_owned() };
    assert_eq!(strands.pass(other.clone()), Some(other));
}

#[test]
fn a_call_of_a_tool_is_shown_whole_and_its_words_follow_what_they_tell_of() {
    let mut strands = Strands::new(4);
    let begin = Event::ToolBegin { choice: 0, index: 0, id: "t".to_owned(), name: "n".to_owned() };
    let more = |text: &str| Event::ToolArguments { choice: 0, index: 0, text: text.to_owned() };
    let logprobs = Event::Logprobs { choice: 0, value: Value::from(7) };
    for event in [text("ab"), logprobs.clone(), begin.clone(), more("{\"a\":"), more("1}")] {
        strands.take(event, ALL);
    }
    strands.end_calls(Some(0));
    let sent = fed(&mut strands, &[], 0);
    assert_eq!(sent[1]["text"], "{\"a\":1}");
    assert_eq!((&sent[1]["id"], &sent[1]["name"]), (&"t".into(), &"n".into()));
    let said = serde_json::json!([{"kind": "content", "text": "ab"}, {"kind": "tool", "text": "{}", "id": "t"}]);
    let leaves = strands.hear(Some(0), serde_json::from_value(said).unwrap()).unwrap();
    assert_eq!(leaves, [text("ab"), logprobs.clone(), begin, more("{}")]);

    let mut strands = Strands::new(4);
    strands.take(text("ab"), ALL);
    strands.take(logprobs, ALL);
    fed(&mut strands, &[], 0);
    assert_eq!(strands.hear(Some(0), verdict("x", 0)), Ok(vec![text("x")]), "of other words they tell nothing");
}

#[test]
fn a_long_text_is_cut_into_lines_between_characters() {
    let mut strands = Strands::new(4);
    let long = "ä".repeat(LINE_BYTES);
    strands.take(text(&long), ALL);
    let (mut sent, mut number) = (String::new(), 0);
    while let Some(line) = strands.line() {
        let json: Value = serde_json::from_str(&line.json).unwrap();
        assert!(line.json.len() < LINE_BYTES + 100);
        sent.push_str(json[0]["text"].as_str().unwrap());
        strands.sent(line, number);
        number += 1;
    }
    assert_eq!((sent == long, number), (true, 2));
}

proptest! {
    /// A filter that masks a word and holds its beginnings, fed with any cuts, at any pace.
    #[test]
    fn no_cut_and_no_pace_changes_what_leaves(
        pieces in proptest::collection::vec("(secret|sec|ret|s|x|é| ){0,3}", 1..20),
        paces in proptest::collection::vec(1..4_usize, 1..20),
    ) {
        let (mut strands, mut collector) = (Strands::new(8), Collector::new(10_000));
        let mut keep = |events: Vec<Event>| {
            for event in events {
                collector.push(&event).unwrap();
            }
        };
        let (mut number, mut held) = (0, String::new());
        let mut pieces_left = pieces.iter();
        for pace in paces.iter().cycle() {
            let some: Vec<&String> = pieces_left.by_ref().take(*pace).collect();
            if some.is_empty() {
                break;
            }
            for piece in some {
                strands.take(text(piece), ALL);
            }
            while let Some(line) = strands.line() {
                let json: Value = serde_json::from_str(&line.json).unwrap();
                strands.sent(line, number);
                for item in json.as_array().unwrap() {
                    held.push_str(item["text"].as_str().unwrap());
                }
                held = held.replace("secret", "#");
                let hold = (1..6).rev().find(|n| held.ends_with(&"secret"[..*n])).unwrap_or(0);
                let kept = held.split_off(held.len() - hold);
                keep(strands.hear(Some(number), verdict(&held, hold)).unwrap());
                held = kept;
                number += 1;
            }
        }
        keep(strands.hear(None, verdict(&held, 0)).unwrap_or_default());
        prop_assert!(!strands.is_undecided());
        let answer = collector.finish();
        let left = answer.choices.first().and_then(|choice| choice.text.clone()).unwrap_or_default();
        prop_assert_eq!(left, pieces.concat().replace("secret", "#"));
    }
}
