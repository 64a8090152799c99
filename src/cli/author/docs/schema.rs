//! JSON Schemas as tables.

use serde_json::{Map, Value};

use super::page::{Block, Inline, code, text};

/// The properties of an object, one a row; nothing where the schema names none.
pub(super) fn properties(schema: &Value, what: &'static str) -> Option<Block> {
    let properties = schema.get("properties").and_then(Value::as_object).filter(|found| !found.is_empty())?;
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let row = |(name, property): (&String, &Value)| {
        let default = match property.get("default") {
            Some(default) => vec![code(default.to_string())],
            None if required.contains(&name.as_str()) => vec![text("required")],
            None => Vec::new(),
        };
        vec![vec![code(name)], vec![code(type_of(property))], default, about(property)]
    };
    Some(Block::Table(vec![what, "Type", "Default", "Meaning"], properties.iter().map(row).collect()))
}

fn about(property: &Value) -> Vec<Inline> {
    let mut parts = Vec::new();
    let words = |key: &str| property.get(key).and_then(Value::as_str);
    if let Some(described) = words("description").or_else(|| words("title")) {
        parts.push(text(described));
    }
    let mut limits = Vec::new();
    for (key, what) in [
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "items at least"),
        ("maxItems", "items at most"),
    ] {
        limits.extend(property.get(key).filter(|limit| limit.is_number()).map(|limit| format!("{what} {limit}")));
    }
    if !limits.is_empty() {
        parts.push(text(format!("({})", limits.join(", "))));
    }
    if let Some(Value::Object(secret)) = property.get("secret") {
        parts.push(text(secret_text(secret)));
    }
    let gaps = parts.len().saturating_sub(1);
    let spaced = parts.into_iter().enumerate().flat_map(|(place, part)| {
        let gap = (place < gaps).then(|| Inline::Text(" ".to_owned()));
        std::iter::once(part).chain(gap)
    });
    spaced.collect()
}

fn secret_text(secret: &Map<String, Value>) -> String {
    let hosts: Vec<&str> =
        secret.get("hosts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if hosts.is_empty() { "Secret.".to_owned() } else { format!("Secret; it goes to {} alone.", hosts.join(", ")) }
}

/// The type in a word or a few.
fn type_of(schema: &Value) -> String {
    const MOST: usize = 8;
    let Some(members) = schema.as_object() else { return "any".to_owned() };
    if let Some(Value::Array(values)) = members.get("enum") {
        return values.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(Value::Array(parts)) = members.get(key) {
            return parts.iter().take(MOST).map(type_of).collect::<Vec<_>>().join(" or ");
        }
    }
    match members.get("type") {
        Some(Value::String(kind)) if kind == "array" => match members.get("items") {
            Some(items) => format!("array of {}", type_of(items)),
            None => kind.clone(),
        },
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}
