//! What a member answered about a message. Pure: it is read here, and put to work elsewhere.

use plugbay_domain::Effect;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What stands for what was masked, unless the plugin says what.
const MASKED: &str = "***";

/// Spans of one message. Stops an answer from costing more than what it is about.
const MAX_SPANS: usize = 10_000;

/// Characters of a reason that are kept.
const MAX_REASON: usize = 500;

/// Some characters of a text, and what is to stand in their place.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Span {
    /// Which of the messages of the call, where the answer is for all of them.
    #[serde(default)]
    message: Option<usize>,
    start: usize,
    end: usize,
    #[serde(default)]
    replacement: Option<String>,
}

impl Span {
    /// Its part of a text of this length that stands so far into the whole.
    pub(crate) fn within(&self, at: usize, length: usize) -> Option<Self> {
        let (start, end) = (self.start.max(at), self.end.min(at + length));
        let touches = start < end || (self.start == self.end && (at..at + length).contains(&self.start));
        // What stands for it is written once, where it begins.
        let replacement = if self.start >= at { self.replacement.clone() } else { Some(String::new()) };
        touches.then(|| Self { message: None, start: start - at, end: end.max(start) - at, replacement })
    }

    /// Where it begins.
    pub(crate) fn begin(&self) -> usize {
        self.start
    }

    /// Whether it stands on both sides of a place.
    pub(crate) fn crosses(&self, at: usize) -> bool {
        self.start < at && self.end > at
    }

    /// Whether it reaches beyond a text of this length.
    pub(crate) fn ends_after(&self, length: usize) -> bool {
        self.start > self.end || self.end > length
    }
}

/// What is to become of a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// It stays as it is.
    Unchanged,
    /// These members of it change.
    Changed(Map<String, Value>),
    /// These characters of it do.
    Masked(Vec<Span>),
    /// It is refused.
    Blocked(String),
}

/// The members of a message that a plugin may change.
const CHANGEABLE: [&str; 4] = ["content", "name", "tool_calls", "metadata"];

/// Those that it may repeat and not change.
const FIXED: [&str; 4] = ["id", "role", "tool_call_id", "timestamp"];

/// Reads what a member answered about a message that it was shown as `shown`.
pub(crate) fn read(answer: Value, shown: &Value, effect: Effect) -> Result<Said, String> {
    let said = match answer {
        Value::Null => Said::Unchanged,
        Value::String(text) => changed(Map::from_iter([("content".to_owned(), text.into())]), shown)?,
        Value::Object(members) if members.contains_key("action") => action(members)?,
        Value::Object(members) => changed(members, shown)?,
        other => return Err(format!("expected a message, a patch or an action, found {}", kind_of(&other))),
    };
    match said {
        Said::Changed(_) if effect == Effect::Decide => {
            Err("a member that decides answers an action: allow, mask or block".to_owned())
        }
        said => Ok(said),
    }
}

/// Reads one answer for a list of messages: one for each, or one action for all of them.
pub(crate) fn read_all(answer: Value, shown: &[Value], effect: Effect) -> Result<Vec<Said>, String> {
    match answer {
        Value::Null => Ok(vec![Said::Unchanged; shown.len()]),
        Value::Array(answers) if answers.len() == shown.len() => {
            answers.into_iter().zip(shown).map(|(answer, shown)| read(answer, shown, effect)).collect()
        }
        Value::Array(answers) => Err(format!("answered for {} messages of {}", answers.len(), shown.len())),
        Value::Object(members) if members.contains_key("action") => for_all(action(members)?, shown.len()),
        other => Err(format!("expected a list with one answer for each message, found {}", kind_of(&other))),
    }
}

/// One action for several messages.
fn for_all(said: Said, messages: usize) -> Result<Vec<Said>, String> {
    let Said::Masked(spans) = said else { return Ok(vec![said; messages]) };
    let mut found = vec![Vec::new(); messages];
    for span in spans {
        let which = span.message.unwrap_or(0);
        let spans = found.get_mut(which).ok_or_else(|| format!("there is no message {which} to mask"))?;
        spans.push(span);
    }
    let said = |spans: Vec<Span>| if spans.is_empty() { Said::Unchanged } else { Said::Masked(spans) };
    Ok(found.into_iter().map(said).collect())
}

fn action(members: Map<String, Value>) -> Result<Said, String> {
    #[derive(Deserialize)]
    struct Found {
        action: String,
        #[serde(default)]
        reason: Option<String>,
        #[serde(default)]
        spans: Vec<Span>,
    }
    let Found { action, reason, spans } =
        serde_json::from_value(Value::Object(members)).map_err(|error| format!("an action that is none: {error}"))?;
    if spans.len() > MAX_SPANS {
        return Err(format!("{} spans; at most {MAX_SPANS} are read", spans.len()));
    }
    match action.as_str() {
        "allow" => Ok(Said::Unchanged),
        "mask" if spans.is_empty() => Ok(Said::Unchanged),
        "mask" => Ok(Said::Masked(spans)),
        "block" => {
            let reason = reason.unwrap_or_else(|| "it did not say why".to_owned());
            Ok(Said::Blocked(reason.chars().take(MAX_REASON).collect()))
        }
        other => Err(format!("`{}` is no action: expected allow, mask or block", plugbay_domain::escape(other))),
    }
}

/// What differs from what was shown. What was only returned changes no byte.
fn changed(members: Map<String, Value>, shown: &Value) -> Result<Said, String> {
    let mut found = Map::new();
    for (name, value) in members {
        let is_same = shown.get(&name) == Some(&value);
        if CHANGEABLE.contains(&name.as_str()) {
            let is_left_out = value.is_null() && shown.get(&name).is_none();
            if !is_same && !is_left_out {
                found.insert(name, value);
            }
        } else if FIXED.contains(&name.as_str()) && !is_same && !value.is_null() {
            return Err(format!("`{name}` of a message cannot be changed"));
        }
    }
    Ok(if found.is_empty() { Said::Unchanged } else { Said::Changed(found) })
}

/// The text with all spans of all members put to work. Those that touch become one.
pub(crate) fn mask(text: &str, spans: &[Span]) -> Result<String, String> {
    let mut spans: Vec<&Span> = spans.iter().collect();
    spans.sort_by_key(|span| (span.start, span.end));
    let length = text.chars().count();
    if let Some(wrong) = spans.iter().find(|span| span.start > span.end || span.end > length) {
        return Err(format!("the span {} to {} is not in a text of {length} characters", wrong.start, wrong.end));
    }
    let mut masked = String::with_capacity(text.len());
    let mut characters = text.chars();
    let (mut at, mut next) = (0, 0);
    while next < spans.len() {
        let (begin, mut end) = (spans[next].start, spans[next].end);
        let replacement = spans[next].replacement.as_deref().unwrap_or(MASKED);
        next += 1;
        while next < spans.len() && spans[next].start < end.max(begin + 1) {
            end = end.max(spans[next].end);
            next += 1;
        }
        masked.extend(characters.by_ref().take(begin - at));
        masked.push_str(replacement);
        characters.by_ref().take(end - begin).for_each(drop);
        at = end;
    }
    masked.extend(characters);
    Ok(masked)
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown() -> Value {
        json!({"id": "m", "role": "user", "content": "hello", "timestamp": "t", "metadata": {}})
    }

    #[test]
    fn what_was_only_returned_changes_nothing() {
        for effect in [Effect::Transform, Effect::Decide] {
            assert_eq!(read(shown(), &shown(), effect), Ok(Said::Unchanged));
            assert_eq!(read(Value::Null, &shown(), effect), Ok(Said::Unchanged));
            assert_eq!(read(json!({"action": "allow"}), &shown(), effect), Ok(Said::Unchanged));
        }
        let with_nulls = json!({"id": "m", "role": "user", "content": "hello", "name": null, "tool_call_id": null});
        assert_eq!(read(with_nulls, &shown(), Effect::Transform), Ok(Said::Unchanged));
    }

    #[test]
    fn a_message_a_patch_and_a_text_change_what_differs() {
        let expected = Said::Changed(Map::from_iter([("content".to_owned(), json!("HELLO"))]));
        let mut whole = shown();
        whole["content"] = json!("HELLO");
        for answer in [whole, json!({"content": "HELLO"}), json!("HELLO")] {
            assert_eq!(read(answer.clone(), &shown(), Effect::Transform).as_ref(), Ok(&expected));
            assert!(read(answer, &shown(), Effect::Decide).unwrap_err().contains("allow, mask or block"));
        }
    }

    #[test]
    fn answers_that_are_none_are_failures() {
        for (answer, told) in [
            (json!(7), "found a number"),
            (json!({"role": "system"}), "`role` of a message cannot be changed"),
            (json!({"action": "explode"}), "`explode` is no action"),
            (json!({"action": "mask", "spans": [{"start": -1, "end": 2}]}), "an action that is none"),
        ] {
            assert!(read(answer, &shown(), Effect::Transform).unwrap_err().contains(told), "{told}");
        }
        let two = [shown(), shown()];
        assert!(read_all(json!([null]), &two, Effect::Transform).unwrap_err().contains("1 messages of 2"));
        assert!(read_all(json!({"content": "x"}), &two, Effect::Transform).is_err());
    }

    #[test]
    fn one_action_can_be_for_all_messages() {
        let two = [shown(), shown()];
        let blocked = read_all(json!({"action": "block", "reason": "no"}), &two, Effect::Decide).unwrap();
        assert_eq!(blocked, [Said::Blocked("no".to_owned()), Said::Blocked("no".to_owned())]);
        let spans = json!({"action": "mask", "spans": [{"message": 1, "start": 0, "end": 2}]});
        let masked = read_all(spans, &two, Effect::Decide).unwrap();
        assert!(masked[0] == Said::Unchanged && matches!(&masked[1], Said::Masked(spans) if spans.len() == 1));
        let beyond = json!({"action": "mask", "spans": [{"message": 2, "start": 0, "end": 2}]});
        assert!(read_all(beyond, &two, Effect::Decide).unwrap_err().contains("no message 2"));
    }

    fn span(start: usize, end: usize, replacement: Option<&str>) -> Span {
        Span { message: None, start, end, replacement: replacement.map(str::to_owned) }
    }

    #[test]
    fn spans_count_characters_and_those_that_touch_become_one() {
        assert_eq!(mask("höllo wörld", &[span(1, 2, Some("o")), span(7, 8, None)]).unwrap(), "hollo w***rld");
        assert_eq!(mask("0123456789", &[span(2, 6, Some("#")), span(4, 8, Some("?"))]).unwrap(), "01#89");
        assert_eq!(mask("ab", &[span(1, 1, Some("-"))]).unwrap(), "a-b");
        assert!(mask("ab", &[span(1, 3, None)]).is_err());
        assert!(mask("ab", &[span(2, 1, None)]).is_err());
    }

    proptest! {
        #[test]
        fn no_masked_character_is_left(text in "[a-z]{0,40}", cuts in proptest::collection::vec((0..40_usize, 0..10_usize), 0..6)) {
            let spans: Vec<Span> = cuts.iter().map(|(start, length)| span(*start, start + length, Some(""))).collect();
            let length = text.chars().count();
            match mask(&text, &spans) {
                Ok(masked) => {
                    let is_hidden = |at: usize| spans.iter().any(|span| (span.start..span.end).contains(&at));
                    let kept: String = text.chars().enumerate().filter(|(at, _)| !is_hidden(*at)).map(|(_, c)| c).collect();
                    prop_assert_eq!(masked, kept);
                }
                Err(_) => prop_assert!(spans.iter().any(|span| span.end > length)),
            }
        }
    }
}
