//! The documentation of the configuration, made from the table of settings.

use serde_json::{Map, Value, json};

use super::kind::{FieldKind, Kind};
use super::load::variable;
use super::setting::Setting;
use super::settings::settings;

/// JSON Schema (draft 2020-12) of `plugbay.yaml`; `openapi/config.schema.json` is its text.
///
/// A value may also be a text with `${VAR}`, which stands for what the variable holds.
pub fn config_schema() -> Value {
    let mut root = section();
    for setting in settings() {
        insert(&mut root, setting.path, setting);
    }
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".to_owned(), "plugbay.yaml".into());
    schema.insert("description".to_owned(), "The configuration of the plugbay service.".into());
    schema.extend(root.as_object().cloned().unwrap_or_default());
    let variable = json!({ "type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:[^}]*)?\}" });
    schema.insert("$defs".to_owned(), json!({ "variable": variable }));
    Value::Object(schema)
}

/// Puts a setting where its path leads, below sections that are made on the way.
fn insert(parent: &mut Value, path: &str, setting: &Setting) {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let node = &mut parent["properties"][key];
    if let Some(rest) = rest {
        if node.is_null() {
            *node = section();
        }
        return insert(node, rest, setting);
    }
    *node = shape(setting.kind);
    node["description"] = setting.doc.into();
    node["default"] = (setting.default)();
}

fn section() -> Value {
    json!({ "type": "object", "properties": {}, "patternProperties": { "^x-": true }, "additionalProperties": false })
}

fn shape(kind: Kind) -> Value {
    let or_variable = |shape: Value| json!({ "anyOf": [shape, { "$ref": "#/$defs/variable" }] });
    match kind {
        Kind::Text | Kind::Listen => json!({ "type": "string", "minLength": 1 }),
        Kind::Automatic => json!({ "type": "string" }),
        Kind::Hosts | Kind::Ranges | Kind::Modules => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
        }
        Kind::Programs => json!({ "type": "array", "items": {
            "type": "object", "required": ["name", "command"], "additionalProperties": false,
            "properties": {
                "name": { "type": "string", "minLength": 1 },
                "command": { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } },
                "image": { "type": "string", "minLength": 1 },
            },
        }}),
        Kind::Whole(least, most) => or_variable(json!({ "type": "integer", "minimum": least, "maximum": most })),
        Kind::Number(least, most) => or_variable(json!({ "type": "number", "minimum": least, "maximum": most })),
        Kind::Boolean => or_variable(json!({ "type": "boolean" })),
        Kind::Words(words) => or_variable(json!({ "enum": words })),
        Kind::Resources(fields) => {
            let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
            let properties: Map<String, Value> =
                fields.iter().map(|field| (field.name.to_owned(), field_shape(field.kind))).collect();
            let resource = json!({
                "type": "object", "properties": properties, "required": required,
                "patternProperties": { "^x-": true }, "additionalProperties": false,
            });
            json!({ "type": "object", "additionalProperties": resource })
        }
    }
}

fn field_shape(kind: FieldKind) -> Value {
    match kind {
        FieldKind::Operations => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        FieldKind::Path | FieldKind::DatabaseUrl | FieldKind::HttpUrl | FieldKind::Text => {
            json!({ "type": "string", "minLength": 1 })
        }
    }
}

/// The page `docs/configuration.md`.
pub fn configuration_page() -> String {
    let mut lines = vec![PREFACE.to_owned()];
    let mut section = "";
    for setting in settings() {
        let (parent, key) = setting.path.rsplit_once('.').unwrap_or(("", setting.path));
        if parent != section {
            if !section.is_empty() {
                lines.push(String::new());
            }
            section = parent;
            lines.push(format!("## {section}\n"));
            lines.push("| key | value | default | what it is for |\n| --- | --- | --- | --- |".to_owned());
        }
        let value = match setting.kind {
            Kind::Text | Kind::Automatic => "text".to_owned(),
            Kind::Listen => "address and port".to_owned(),
            Kind::Hosts => "list of hosts".to_owned(),
            Kind::Ranges => "list of ranges".to_owned(),
            Kind::Modules => "list of modules".to_owned(),
            Kind::Programs => "list of programs".to_owned(),
            Kind::Whole(least, most) => format!("{least} to {most}"),
            Kind::Number(least, most) => format!("{least} to {most}, with fractions"),
            Kind::Boolean => "true, false".to_owned(),
            Kind::Words(words) => words.join(", "),
            Kind::Resources(fields) => {
                let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
                format!("names, each with {}", names.join(", "))
            }
        };
        let default = match (setting.default)() {
            Value::String(text) if text.is_empty() => "empty".to_owned(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        lines.push(format!("| `{key}` | {value} | {default} | {} |", setting.doc));
    }
    let example = variable("sandbox.defaults.memory_mb");
    lines.push(format!(
        "\nIn the environment, `sandbox.defaults.memory_mb` is `{example}`; every other key follows this pattern.\n"
    ));
    lines.join("\n")
}

const PREFACE: &str = "# Configuration

<!-- Generated from crates/config/src/settings.rs; run the tests with PLUGBAY_BLESS=1 to write it again. -->

`plugbay serve` reads one YAML file: the one of `--config`, else of the variable `PLUGBAY_CONFIG`, else `./plugbay.yaml`,
else `/etc/plugbay/plugbay.yaml`. Without a file every key has its default. A value comes from a flag, else from
`PLUGBAY__SECTION__KEY` in the environment, else from the file, else from its default. A list in the environment is written
with commas.

In the file, `${VAR}` is replaced by the variable's value and `${VAR:default}` by `default` where it is unset or empty;
`$${` stands for `${`. Inside `{ … }` and `[ … ]` such a value needs quotes. A variable without default that is not set is
a mistake. Unknown keys are mistakes too, except those that begin with `x-`. `plugbay serve --check-config` shows all
mistakes at once. The same list as JSON Schema, for editors: `openapi/config.schema.json`.

`--insecure-dev` and `--allow-plain-http` are flags only: a file that is copied along must not open a service.
";
