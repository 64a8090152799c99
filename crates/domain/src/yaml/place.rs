//! Walks a tree of values: each step checks one thing and notes what is wrong instead of stopping.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{Entry, Mark, Node, Plain, Scalar, Style, Value};
use crate::{Code, FieldError, Word, escape, nearest};

/// Everything found wrong so far. Shared by all places of one document.
#[derive(Debug, Default)]
pub struct Mistakes {
    found: RefCell<Vec<Mistake>>,
}

/// One mistake; `code` is set where a single mistake has a code of its own.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// The code, if it is not the document's general one.
    pub code: Option<Code>,
    /// Where and what.
    pub error: FieldError,
}

impl Mistakes {
    /// Notes a mistake.
    pub fn add(&self, error: FieldError) {
        self.found.borrow_mut().push(Mistake { code: None, error });
    }

    /// How many were found so far.
    pub fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// All of them in the order of the source text.
    pub fn into_sorted(self) -> Vec<Mistake> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|mistake| (mistake.error.line, mistake.error.column));
        found
    }
}

/// One value and where it stands.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    node: &'a Node,
    pointer: String,
    mistakes: &'a Mistakes,
}

/// Text as one step of a JSON Pointer.
pub fn pointer_token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

impl<'a> Place<'a> {
    /// The whole document.
    pub fn root(node: &'a Node, mistakes: &'a Mistakes) -> Self {
        Self { node, pointer: String::new(), mistakes }
    }

    /// A mistake about a value that is not walked to.
    pub fn blame(mark: Option<Mark>, pointer: &str, message: impl Into<String>) -> FieldError {
        let (line, column) = mark.map(|mark| (mark.line, mark.column)).unzip();
        FieldError { pointer: pointer.to_owned(), line, column, message: message.into() }
    }

    /// The value itself.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// JSON Pointer to the value.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Notes a mistake about this value.
    pub fn fail(&self, message: impl Into<String>) {
        self.fail_at(self.node.mark, &self.pointer, None, message.into());
    }

    /// Notes a mistake that has its own code.
    pub fn fail_as(&self, code: Code, message: impl Into<String>) {
        self.fail_at(self.node.mark, &self.pointer, Some(code), message.into());
    }

    fn fail_at(&self, mark: Option<Mark>, pointer: &str, code: Option<Code>, message: String) {
        let error = Self::blame(mark, pointer, message);
        self.mistakes.found.borrow_mut().push(Mistake { code, error });
    }

    fn expected(&self, wanted: &str) {
        self.fail(format!("expected {wanted}, found {}", self.describe()));
    }

    fn describe(&self) -> String {
        match &self.node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Scalar(Scalar { text, style: Style::Plain }) if Plain::of(text) == Plain::Nothing => {
                "nothing; give it a value or remove the key".to_owned()
            }
            Value::Scalar(Scalar { text, .. }) => format!("`{}`", escape(text)),
        }
    }

    fn inner(&self, token: &str, node: &'a Node) -> Self {
        Self { node, pointer: format!("{}/{}", self.pointer, pointer_token(token)), mistakes: self.mistakes }
    }

    /// The scalar, or a mistake that `wanted` was expected.
    pub fn scalar(&self, wanted: &str) -> Option<&'a Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.style != Style::Plain || Plain::of(&scalar.text) != Plain::Nothing => {
                Some(scalar)
            }
            _ => {
                self.expected(wanted);
                None
            }
        }
    }

    /// Text. Without quotes it must be text to every YAML reader.
    pub fn text(&self) -> Option<&'a str> {
        let scalar = self.scalar("text")?;
        if scalar.style == Style::Plain && Plain::of(&scalar.text) != Plain::Text {
            let text = escape(&scalar.text);
            self.fail(format!(
                "expected text; `{text}` means something else to YAML readers, write \"{text}\" in quotes"
            ));
            return None;
        }
        if scalar.text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            self.fail("control characters are not accepted here");
            return None;
        }
        Some(&scalar.text)
    }

    /// One line of text with something in it.
    pub fn line(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.fail("expected text, found none");
            return None;
        }
        if text.contains(['\n', '\t']) {
            self.fail("expected one line of text, without line breaks or tabs");
            return None;
        }
        Some(text)
    }

    /// A line that `T` understands.
    pub fn parse<T: FromStr<Err: Display>>(&self) -> Option<T> {
        self.line()?.parse().map_err(|error: T::Err| self.fail(error.to_string())).ok()
    }

    /// One of the words of `T`.
    pub fn word<T: Word>(&self) -> Option<T> {
        let words: Vec<&'static str> = T::ALL.iter().map(|word| word.as_str()).collect();
        let found = self.one_of(&words)?;
        T::ALL.iter().copied().find(|word| word.as_str() == found)
    }

    /// One of these words.
    pub fn one_of(&self, words: &[&'static str]) -> Option<&'static str> {
        let text = &self.scalar("a word")?.text;
        let found = words.iter().copied().find(|word| word == text);
        if found.is_none() {
            self.fail(unknown("value", text, words));
        }
        found
    }

    /// A whole number within `range`.
    pub fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let scalar = self.scalar("a whole number")?;
        let is_whole = scalar.style != Style::Quoted
            && scalar.text.bytes().all(|byte| byte.is_ascii_digit())
            && (scalar.text == "0" || !scalar.text.starts_with('0'));
        if !is_whole {
            self.expected_unquoted("a whole number", scalar);
            return None;
        }
        self.within(scalar.text.parse().ok(), &range)
    }

    /// A finite number within `range`.
    pub fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let scalar = self.scalar("a number")?;
        if scalar.style == Style::Quoted || Plain::of(&scalar.text) != Plain::Number {
            self.expected_unquoted("a number", scalar);
            return None;
        }
        self.within(scalar.text.parse().ok(), &range)
    }

    /// Notes that something else was expected. A text that would be right without its quotes looks right in a message.
    fn expected_unquoted(&self, what: &str, scalar: &Scalar) {
        let meaning = Plain::of(&scalar.text);
        if scalar.style == Style::Quoted && matches!(meaning, Plain::Number | Plain::Boolean(_)) {
            let text = escape(&scalar.text);
            return self.fail(format!("expected {what}, found the text \"{text}\"; remove the quotes"));
        }
        self.expected(what);
    }

    fn within<T: PartialOrd + Display>(&self, value: Option<T>, range: &RangeInclusive<T>) -> Option<T> {
        let inside = value.filter(|value| range.contains(value));
        if inside.is_none() {
            self.expected(&format!("{} to {}", range.start(), range.end()));
        }
        inside
    }

    /// `true` or `false`, nothing else.
    pub fn boolean(&self) -> Option<bool> {
        let scalar = self.scalar("true or false")?;
        match Plain::of(&scalar.text) {
            Plain::Boolean(value) if scalar.style != Style::Quoted => Some(value),
            _ => {
                self.expected_unquoted("true or false", scalar);
                None
            }
        }
    }

    /// The items of a list.
    pub fn list(&self) -> Vec<Place<'a>> {
        let Value::List(items) = &self.node.value else {
            self.expected("a list");
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, node)| self.inner(&index.to_string(), node)).collect()
    }

    /// The keys and values of a map; each key comes with the place to blame it at.
    pub fn map(&self) -> Vec<(&'a str, Place<'a>)> {
        let Value::Map(entries) = &self.node.value else {
            self.expected("a map");
            return Vec::new();
        };
        entries.iter().map(|entry| (entry.key.as_str(), self.inner(&entry.key, &entry.node))).collect()
    }

    /// The value below this one that a JSON Pointer leads to, or the last one on the way that there is.
    #[must_use]
    pub fn find(&self, pointer: &str) -> Self {
        let mut found = self.clone();
        for token in pointer.split('/').skip(1) {
            let next = match &found.node.value {
                Value::List(items) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
                Value::Map(entries) => {
                    entries.iter().find(|entry| pointer_token(&entry.key) == token).map(|entry| &entry.node)
                }
                Value::Scalar(_) => None,
            };
            let Some(node) = next else { break };
            found = Self { node, pointer: format!("{}/{token}", found.pointer), mistakes: self.mistakes };
        }
        found
    }

    /// A map of which only some keys matter here.
    pub fn some_fields(&self) -> Option<Fields<'a>> {
        match &self.node.value {
            Value::Map(entries) => Some(Fields { place: self.clone(), entries }),
            _ => None,
        }
    }

    /// A map whose keys are known. Others are mistakes, except those that begin with `x-`.
    pub fn fields(&self, known: impl IntoIterator<Item = &'static str>) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.expected("a map");
            return None;
        };
        let known: Vec<&str> = known.into_iter().collect();
        for entry in entries {
            if !known.contains(&entry.key.as_str()) && !entry.key.starts_with("x-") {
                let pointer = format!("{}/{}", self.pointer, pointer_token(&entry.key));
                self.fail_at(entry.mark, &pointer, None, unknown("key", &entry.key, &known));
            }
        }
        Some(Fields { place: self.clone(), entries })
    }

    /// Notes a mistake about a key of this map, at the key instead of its value.
    pub fn fail_key(&self, key: &str, message: impl Into<String>) {
        let mark = match &self.node.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.mark),
            _ => None,
        };
        self.fail_at(mark, &format!("{}/{}", self.pointer, pointer_token(key)), None, message.into());
    }

    /// The value as JSON. Text without quotes must mean the same to every YAML reader.
    pub fn json(&self) -> Option<serde_json::Value> {
        Some(match &self.node.value {
            Value::List(_) => {
                let items = self.list();
                serde_json::Value::Array(items.iter().map(Place::json).collect::<Option<_>>()?)
            }
            Value::Map(_) => {
                let entries = self.map();
                let members = entries.iter().map(|(key, place)| Some(((*key).to_owned(), place.json()?)));
                serde_json::Value::Object(members.collect::<Option<_>>()?)
            }
            Value::Scalar(scalar) if scalar.style != Style::Plain => scalar.text.clone().into(),
            Value::Scalar(scalar) => match Plain::of(&scalar.text) {
                Plain::Nothing => serde_json::Value::Null,
                Plain::Boolean(value) => value.into(),
                Plain::Text => scalar.text.clone().into(),
                Plain::Number => match scalar.text.parse::<serde_json::Number>() {
                    Ok(number) => number.into(),
                    Err(_too_large) => {
                        self.fail(format!("the number `{}` is too large", escape(&scalar.text)));
                        return None;
                    }
                },
                Plain::Ambiguous => {
                    let text = escape(&scalar.text);
                    self.fail(format!("`{text}` means different things to YAML readers; write \"{text}\" in quotes"));
                    return None;
                }
            },
        })
    }
}

/// A map whose keys are known.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    place: Place<'a>,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The map itself.
    pub fn place(&self) -> &Place<'a> {
        &self.place
    }

    /// The value of a key, if the map has it.
    pub fn get(&self, key: &str) -> Option<Place<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.place.inner(key, &entry.node))
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &str) -> Option<Place<'a>> {
        let found = self.get(key);
        if found.is_none() {
            let pointer = format!("{}/{}", self.place.pointer, pointer_token(key));
            let message = format!("the key `{key}` is missing");
            self.place.fail_at(self.place.node.mark, &pointer, None, message);
        }
        found
    }

    /// The items of a list; none where the key is missing.
    pub fn list(&self, key: &str) -> Vec<Place<'a>> {
        self.get(key).map(|place| place.list()).unwrap_or_default()
    }
}

/// Says that `found` is not known, and what was probably meant.
fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let shown = escape(found);
    match nearest(found, known.iter().copied()).or_else(|| with_unit(found, known)) {
        Some(meant) => format!("unknown {what} `{shown}`; did you mean `{meant}`?"),
        None => format!("unknown {what} `{shown}`; expected {}", list_of(known)),
    }
}

/// The one key that is `found` with its unit, such as `timeout_seconds`: the unit is what is forgotten.
fn with_unit<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let is_longer = |key: &&&str| key.strip_prefix(found).is_some_and(|rest| rest.starts_with('_'));
    let mut longer = known.iter().filter(is_longer).copied();
    longer.next().filter(|_| longer.next().is_none())
}

fn list_of(known: &[&str]) -> String {
    match known {
        [] => "none".to_owned(),
        [only] => format!("`{only}`"),
        _ => format!("one of {}", known.join(", ")),
    }
}
