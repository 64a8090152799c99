//! The file of `plugbay test --fake-host`: answers by the name of a function. It is the author's own, and is read as strictly
//! as a manifest all the same: an answer that no service would give tests nothing.

use serde_json::{Map, Value, json};

use super::{Canned, CannedAnswer, StandIn};
use plugbay_domain::yaml::{self, Limits, Mistakes, Place, pointer_token};
use plugbay_domain::{Code, FieldError, escape, nearest};

/// Bytes of the file.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Lists and maps inside each other: those of an answer, and the file's own.
const MAX_DEPTH: usize = 32;

/// Values in it.
const MAX_NODES: usize = 200_000;

/// What an answer of a function must have.
struct Shape {
    function: &'static str,
    /// Its fields, with one of their kind.
    needs: &'static [(&'static str, Kind)],
    example: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Any,
    Boolean,
    Number,
    List,
}

/// Every function there is.
const SHAPES: &[Shape] = &[
    Shape { function: "kv.get", needs: &[("found", Kind::Boolean)], example: "{ found: true, value: 1 }" },
    Shape { function: "kv.set", needs: &[], example: "{}" },
    Shape { function: "kv.delete", needs: &[], example: "{}" },
    Shape { function: "kv.list", needs: &[("keys", Kind::List)], example: "{ keys: [] }" },
    Shape {
        function: "db.query",
        needs: &[("columns", Kind::List), ("rows", Kind::List)],
        example: "{ columns: [id], rows: [[1]] }",
    },
    Shape { function: "db.execute", needs: &[], example: "{ rows_affected: 1, last_id: 1 }" },
    Shape { function: "http.fetch", needs: &[("status", Kind::Number)], example: "{ status: 200, body: hello }" },
    Shape { function: "http.stream", needs: &[("status", Kind::Number)], example: "{ status: 200 }" },
    Shape { function: "http.read", needs: &[], example: "{ data: hello }" },
    Shape { function: "http.close", needs: &[], example: "{}" },
    Shape { function: "api.request", needs: &[("status", Kind::Number)], example: "{ status: 200, body: {} }" },
    Shape { function: "chat.send", needs: &[("id", Kind::Any)], example: "{ id: message_1, text: hello }" },
    Shape { function: "chat.history", needs: &[("messages", Kind::List)], example: "{ messages: [] }" },
    Shape {
        function: "plugins.execute",
        needs: &[("success", Kind::Boolean)],
        example: "{ success: true, result: 1 }",
    },
    Shape { function: "plugins.list", needs: &[("plugins", Kind::List)], example: "{ plugins: [] }" },
];

/// An answer of a function, as it may stand in the file.
pub(super) fn example(function: &str) -> &'static str {
    SHAPES.iter().find(|shape| shape.function == function).map_or("{}", |shape| shape.example)
}

impl StandIn {
    /// Reads answers: JSON where `is_json`, else YAML.
    pub fn parse(bytes: &[u8], is_json: bool) -> Result<Self, Vec<FieldError>> {
        let document = if is_json { read_json(bytes) } else { read_yaml(bytes) }?;
        let Value::Object(functions) = document else {
            return Err(vec![FieldError::at(
                "",
                "expected functions with their answers, such as `kv.get: {found: false}`",
            )]);
        };
        let (mut mistakes, stand_in) = (Vec::new(), Self::default());
        for (function, answers) in functions {
            let Some(shape) = SHAPES.iter().find(|shape| shape.function == function) else {
                mistakes.push(unknown(&function));
                continue;
            };
            let pointer = format!("/{}", pointer_token(&function));
            let canned = shape.read(&pointer, answers, &mut mistakes);
            let mut all = stand_in.canned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            all.extend(canned.map(|canned| (shape.function, canned)));
        }
        if mistakes.is_empty() { Ok(stand_in) } else { Err(mistakes) }
    }
}

fn read_json(bytes: &[u8]) -> Result<Value, Vec<FieldError>> {
    let failed = |message: String| vec![FieldError::at("", message)];
    if bytes.len() > MAX_BYTES {
        return Err(failed(format!("{} bytes are more than the {MAX_BYTES} allowed", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|error| failed(error.to_string()))
}

fn read_yaml(bytes: &[u8]) -> Result<Value, Vec<FieldError>> {
    let limits = Limits { max_bytes: MAX_BYTES, max_depth: MAX_DEPTH, max_nodes: MAX_NODES };
    let node = yaml::read(bytes, limits).map_err(|error| vec![error])?;
    let mistakes = Mistakes::default();
    let value = Place::root(&node, &mistakes).json();
    let found: Vec<FieldError> = mistakes.into_sorted().into_iter().map(|mistake| mistake.error).collect();
    value.filter(|_| found.is_empty()).ok_or(found)
}

fn unknown(function: &str) -> FieldError {
    let names: Vec<_> = SHAPES.iter().map(|shape| shape.function).collect();
    let hint = nearest(function, names.iter().copied())
        .map_or_else(|| format!("expected one of {}", names.join(", ")), |meant| format!("did you mean `{meant}`?"));
    let shown = escape(function);
    FieldError::at(format!("/{}", escape(&pointer_token(function))), format!("there is no function `{shown}`; {hint}"))
}

impl Shape {
    fn read(&self, pointer: &str, answers: Value, mistakes: &mut Vec<FieldError>) -> Option<Canned> {
        let Value::Array(list) = answers else {
            return self.answer(pointer, answers, mistakes).map(Canned::Always);
        };
        if list.is_empty() {
            mistakes.push(FieldError::at(pointer, "a list of answers needs at least one"));
        }
        let read = |(at, answer)| self.answer(&format!("{pointer}/{at}"), answer, mistakes);
        let left = list.into_iter().enumerate().filter_map(read).collect();
        Some(Canned::InTurn { left, given: 0 })
    }

    fn answer(&self, pointer: &str, answer: Value, mistakes: &mut Vec<FieldError>) -> Option<CannedAnswer> {
        let before = mistakes.len();
        let Value::Object(mut fields) = answer else {
            mistakes.push(FieldError::at(pointer, format!("expected an answer such as `{}`", self.example)));
            return None;
        };
        if let Some(refusal) = fields.get("refuse").filter(|_| fields.len() == 1) {
            return read_refusal(&format!("{pointer}/refuse"), refusal, mistakes);
        }
        for (name, kind) in self.needs {
            let fits = fields.get(*name).is_some_and(|value| kind.fits(value));
            if !fits {
                let message = format!("expected `{name}` as in `{}`", self.example);
                mistakes.push(FieldError::at(format!("{pointer}/{name}"), message));
            }
        }
        match self.function {
            "http.fetch" | "api.request" => complete(self.function, &mut fields),
            "http.stream" => {
                fields.entry("headers").or_insert_with(|| json!({}));
                fields.entry("stream").or_insert_with(|| "stream_1".into());
            }
            "http.read" if !is_piece(&fields) => {
                let message = "expected `data: TEXT`, `data_base64: TEXT` or, at the end, `end: true`";
                mistakes.push(FieldError::at(pointer, message));
            }
            _ => {}
        }
        let text = serde_json::value::to_raw_value(&fields).ok()?;
        (mistakes.len() == before).then_some(CannedAnswer::Result(text))
    }
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Boolean => value.is_boolean(),
            Self::Number => value.is_u64(),
            Self::List => value.is_array(),
        }
    }
}

/// Tells whether `http.read` may answer so.
fn is_piece(fields: &Map<String, Value>) -> bool {
    let of_data = ["data", "data_base64"].iter().any(|name| fields.get(*name).is_some_and(Value::is_string));
    fields.len() == 1 && (of_data || fields.get("end") == Some(&Value::Bool(true)))
}

/// What every answer of the web has, and nothing of it needs to be written.
fn complete(function: &str, fields: &mut Map<String, Value>) {
    fields.entry("headers").or_insert_with(|| json!({}));
    if fields.contains_key("body_base64") {
        return;
    }
    let body = fields.entry("body").or_insert_with(|| "".into());
    // Over the wire a body of `http.fetch` is a text; written as JSON it is easier to read.
    if function == "http.fetch" && !body.is_string() {
        *body = body.to_string().into();
    }
}

fn read_refusal(pointer: &str, refusal: &Value, mistakes: &mut Vec<FieldError>) -> Option<CannedAnswer> {
    let text = |name: &str| refusal.get(name).and_then(Value::as_str);
    let found = text("code").and_then(Code::find);
    let Some((code, text)) = found.zip(text("text")) else {
        let message = "expected `refuse: { code: …, text: … }` with a code of docs/problems.md, such as `rate-limited`";
        mistakes.push(FieldError::at(pointer, message));
        return None;
    };
    Some(CannedAnswer::Refusal { code, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::{HostFunction, Word as _};

    #[test]
    fn every_function_has_a_shape() {
        let functions = HostFunction::ALL.iter().filter(|function| **function != HostFunction::Unknown);
        let names: Vec<_> = functions.map(|function| function.as_str()).collect();
        assert_eq!(SHAPES.iter().map(|shape| shape.function).collect::<Vec<_>>(), names);
    }
}
