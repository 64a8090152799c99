//! JSON Schema of plugin.yaml, for editors. Made from the tables the parser uses; `openapi/plugin.schema.json` is its text.
//!
//! It says less than the parser: rules between fields, licences, hosts and versions are only looked at there.

use serde_json::{Map, Value, json};

use super::config::DRAFT;
use super::fields::{Field, ROOT, config_field};

/// The JSON Schema of plugin.yaml.
pub fn plugin_schema() -> Value {
    let mut schema = object(ROOT);
    let head = json!({
        "$schema": DRAFT,
        "title": "plugin.yaml",
        "description": "The manifest of a plugbay plugin.",
    });
    let mut ordered = Map::new();
    for part in [head, schema.take()] {
        ordered.extend(part.as_object().cloned().unwrap_or_default());
    }
    Value::Object(ordered)
}

/// A map with the keys of `table`, and such as begin with `x-`.
pub(super) fn object(table: &'static [Field]) -> Value {
    let mut properties = Map::new();
    for field in table {
        let mut shape = (field.shape)();
        if let Some(shape) = shape.as_object_mut() {
            shape.insert("description".to_owned(), field.doc.into());
        }
        properties.insert(field.name.to_owned(), shape);
    }
    let required: Vec<&str> = table.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema["patternProperties"] = json!({ "^x-": true });
    schema["additionalProperties"] = json!(false);
    schema
}

/// A JSON Schema of an object.
pub(super) fn of_object() -> Value {
    json!({ "allOf": [{ "$ref": DRAFT }], "required": ["type"], "properties": { "type": { "const": "object" } } })
}

/// `config_schema` in both of its forms.
pub(super) fn config() -> Value {
    let is_schema = json!({
        "anyOf": [
            { "required": ["$schema"] },
            { "required": ["type"], "properties": { "type": { "const": "object" } } },
        ],
    });
    json!({
        "type": "object",
        "if": is_schema,
        "then": { "$ref": DRAFT },
        "else": {
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,62}$" },
            "patternProperties": { "^x-": true },
            "additionalProperties": config_field(),
        },
    })
}
