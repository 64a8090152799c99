//! The schema for editors: committed as a file, and of one mind with the parser.

use super::*;
use crate::yaml::{self, Limits, Mistakes, Place};

/// Compares a generated text with its committed file; with `PLUGBAY_BLESS=1` writes the file.
fn assert_committed(path: &str, wanted: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("PLUGBAY_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{} is out of date; run the tests with PLUGBAY_BLESS=1", path.display());
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let text = serde_json::to_string_pretty(&plugin_schema()).unwrap() + "\n";
    assert_committed("openapi/plugin.schema.json", &text);
}

/// What the schema says about a text; what cannot be read as YAML is refused by both.
fn schema_accepts(text: &str) -> bool {
    let Ok(node) = yaml::read(text.as_bytes(), Limits::bytes(MAX_MANIFEST_BYTES)) else { return false };
    let mistakes = Mistakes::default();
    let Some(json) = Place::root(&node, &mistakes).json() else { return false };
    jsonschema::validator_for(&plugin_schema()).unwrap().is_valid(&json)
}

#[test]
fn schema_and_parser_accept_the_same() {
    let json_schema = "config_schema: { type: object, properties: { a: { type: string } } }";
    for text in [
        FULL,
        &with(""),
        &with("hooks: [on_message]"),
        &with("tools: []"),
        &with(json_schema),
        &with("x-a: 1\nhealth: { x-b: 2 }"),
    ] {
        accepted(text);
        assert!(schema_accepts(text), "{text}");
    }
}

#[test]
fn schema_and_parser_refuse_the_same() {
    for extra in [
        "verison: 1",
        "type: plugin",
        "runtime: native",
        "tools: {}",
        "tools: [{ name: A }]",
        "tools: [{ description: x }]",
        "tools: [{ name: a, method: 'b c' }]",
        "tools: [{ name: a, input: {} }]",
        "tools: [{ name: a, input: { type: object, properties: { x: { type: text } } } }]",
        "tools: [{ name: a, output: { type: array } }]",
        "tools: [{ name: a, annotations: { read_only: 'yes' } }]",
        "tools: [{ name: a, annotations: { readOnly: true } }]",
        "permissions: ['*']",
        "permissions: chat_access",
        "permissions: [chat_access, chat_access]",
        "network: {}",
        "network: { allow: [] }",
        "network: { allow: ['*'] }",
        "resources: { memory_mb: 5 }",
        "resources: { memory_mb: '64' }",
        "resources: { memory: 64 }",
        "hooks: [on_mesage]",
        "hooks: [{ name: on_message, priority: high }]",
        "hooks: [{}]",
        "commands: [{ name: demo }]",
        "commands: [{}]",
        "health: { interval_seconds: 0 }",
        "class: 1x",
        "image: a/b",
        "email: x",
        "homepage: ftp://x.example",
        "description: no",
        "author: ''",
        "tags: [a, a]",
        "python: 3.9",
        "config_schema: { a: { type: text } }",
        "config_schema: { a: {} }",
        "config_schema: { a: string }",
        "config_schema: { a: { type: string, requird: true } }",
        "config_schema: { a: { type: string, minLength: -1 } }",
        "config_schema: { type: object, properties: [] }",
        "access: { chat_access: [x] }",
        "requires: [a]",
        "description:",
        "resources: []",
        "plugbay: 1",
    ] {
        let text = with(extra);
        refused(&text);
        assert!(!schema_accepts(&text), "{extra}");
    }
    for text in ["[]", "name: a\nmain: b", "name: A\nversion: 1.0.0\nmain: b", "name: a\nversion: 1.0\nmain: b"] {
        refused(text);
        assert!(!schema_accepts(text), "{text}");
    }
}
