//! Text to tree. Everything in the text is untrusted, so each limit is held while events arrive, not afterwards.

use std::collections::HashSet;

use serde_yaml::granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, options};

use super::{Entry, Mark, Node, Plain, Scalar, Style, Value};
use crate::text::is_invisible;
use crate::{FieldError, escape};

/// Bytes of a key. Every value below it repeats the key in its pointer, and pointers are printed as they are.
const MAX_KEY_BYTES: usize = 128;

/// What a document may weigh.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the text.
    pub max_bytes: usize,
    /// Lists and maps inside each other. Stops `[[[[…`, which would cost a stack frame each.
    pub max_depth: usize,
    /// Values together. Stops documents of nothing but commas.
    pub max_nodes: usize,
}

impl Limits {
    /// Limits for a text of at most `max_bytes`.
    pub const fn bytes(max_bytes: usize) -> Self {
        Self { max_bytes, max_depth: 16, max_nodes: 5_000 }
    }
}

/// Reads one document. The error is the first one: past a mistake in the syntax nothing can be told for sure.
pub fn read(bytes: &[u8], limits: Limits) -> Result<Node, FieldError> {
    let text = decode(bytes, limits.max_bytes)?;
    let mut reader = Reader { parser: Parser::new_from_str_with_options(text, parser_options()), limits, nodes: 0 };
    reader.document()
}

fn parser_options() -> Options {
    options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: 32,
        block_nesting_limit: 32,
    }
}

/// Checks size and encoding. A second encoding would give one file two readings.
fn decode(bytes: &[u8], max_bytes: usize) -> Result<&str, FieldError> {
    let start = Mark { line: 1, column: 1 };
    if bytes.len() > max_bytes {
        return Err(error(start, "", format!("{} bytes are more than the {max_bytes} allowed", bytes.len())));
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) || bytes.get(..4).is_some_and(is_utf_16) {
        return Err(error(start, "", "the text is UTF-16 or UTF-32; save it as UTF-8"));
    }
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(error(start, "", "the text begins with a byte order mark; save it as UTF-8 without one"));
    }
    let text = std::str::from_utf8(bytes).map_err(|invalid| {
        let before = String::from_utf8_lossy(&bytes[..invalid.valid_up_to()]);
        error(end_of(&before), "", "the text is not UTF-8 here")
    })?;
    let unreadable = |c: char| (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || c == '\u{feff}';
    match text.find(unreadable) {
        Some(at) => Err(error(end_of(&text[..at]), "", "a control character stands here; remove it")),
        None => Ok(text),
    }
}

fn is_utf_16(start: &[u8]) -> bool {
    start[0] == 0 || start[1] == 0
}

/// The place right behind `text`.
fn end_of(text: &str) -> Mark {
    let line = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = text.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Mark { line: line as u64, column: column as u64 }
}

fn error(mark: Mark, pointer: &str, message: impl Into<String>) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        line: Some(mark.line),
        column: Some(mark.column),
        message: message.into(),
    }
}

fn mark_of(span: &Span) -> Mark {
    Mark { line: span.start.line() as u64, column: span.start.col() as u64 + 1 }
}

fn scan_error(found: &ScanError) -> FieldError {
    let mark = Mark { line: found.marker().line() as u64, column: found.marker().col() as u64 + 1 };
    let message = match found.kind() {
        ErrorKind::RecursionLimitExceeded => "lists and maps are nested too deep".to_owned(),
        kind => {
            let text = kind.to_string();
            let hint = if text.contains("mapping values are not allowed") {
                "; a text with `: ` in it stands in quotes"
            } else {
                ""
            };
            format!("not valid YAML: {}{hint}", escape(&text))
        }
    };
    error(mark, "", message)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    limits: Limits,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Mark), FieldError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, mark_of(&span))),
            Some(Err(found)) => Err(scan_error(&found)),
            None => Ok((Event::StreamEnd, Mark { line: 1, column: 1 })),
        }
    }

    fn document(&mut self) -> Result<Node, FieldError> {
        let mut root = None;
        loop {
            let (event, mark) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(error(mark, "", "a second document begins here; only one is read"));
                }
                Event::DocumentStart(..) => {
                    let (event, mark) = self.next()?;
                    root = Some(self.node(event, mark, "", 0)?);
                }
                Event::StreamEnd => {
                    return root.ok_or_else(|| error(Mark { line: 1, column: 1 }, "", "the text is empty"));
                }
                _ => return Err(error(mark, "", "not valid YAML")),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, mark: Mark, pointer: &str, depth: usize) -> Result<Node, FieldError> {
        self.nodes += 1;
        if self.nodes > self.limits.max_nodes {
            return Err(error(mark, pointer, format!("more than {} values", self.limits.max_nodes)));
        }
        if event.anchor_id().is_some() {
            return Err(error(mark, pointer, "anchors (`&name`) are not read; write the value out where it is needed"));
        }
        if event.tag().is_some() {
            return Err(error(mark, pointer, "tags (`!name`) are not read; remove it"));
        }
        let opens = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
        if opens && depth == self.limits.max_depth {
            return Err(error(mark, pointer, format!("lists and maps are nested deeper than {depth} levels")));
        }
        let value = match event {
            Event::Scalar(text, style, ..) => Value::Scalar(Scalar {
                text: text.into_owned(),
                style: if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted },
            }),
            Event::SequenceStart(..) => Value::List(self.list(pointer, depth)?),
            Event::MappingStart(..) => Value::Map(self.map(pointer, depth)?),
            Event::Alias(..) | Event::UnresolvedAlias(..) => {
                return Err(error(
                    mark,
                    pointer,
                    "aliases (`*name`) are not read; write the value out, or put it in quotes",
                ));
            }
            _ => return Err(error(mark, pointer, "not valid YAML: a value is expected here")),
        };
        Ok(Node { mark: Some(mark), value })
    }

    fn list(&mut self, pointer: &str, depth: usize) -> Result<Vec<Node>, FieldError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, mark) => {
                    let inner = format!("{pointer}/{}", items.len());
                    items.push(self.node(event, mark, &inner, depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, pointer: &str, depth: usize) -> Result<Vec<Entry>, FieldError> {
        let mut entries = Vec::new();
        let mut keys = HashSet::new();
        loop {
            let (event, mark) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let Value::Scalar(key) = self.node(event, mark, pointer, depth + 1)?.value else {
                return Err(error(mark, pointer, "a key must be text"));
            };
            if key.text.is_empty() || (key.style == Style::Plain && Plain::of(&key.text) == Plain::Nothing) {
                return Err(error(mark, pointer, "a key is missing before `:`"));
            }
            if key.text.len() > MAX_KEY_BYTES || key.text.chars().any(|c| c.is_control() || is_invisible(c)) {
                let message = format!("a key has at most {MAX_KEY_BYTES} bytes and no control or invisible characters");
                return Err(error(mark, pointer, message));
            }
            if key.text == "<<" && key.style == Style::Plain {
                return Err(error(mark, pointer, "merge keys (`<<`) are not read; write the values out"));
            }
            let inner = format!("{pointer}/{}", super::pointer_token(&key.text));
            if !keys.insert(key.text.clone()) {
                return Err(error(mark, &inner, format!("the key `{}` stands here twice", escape(&key.text))));
            }
            let (event, value_mark) = self.next()?;
            let node = self.node(event, value_mark, &inner, depth + 1)?;
            entries.push(Entry { key: key.text, mark: Some(mark), node });
        }
    }
}
