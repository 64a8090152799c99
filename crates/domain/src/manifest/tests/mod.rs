//! What plugin.yaml may say, and what is said about the rest.

mod ask;
mod chat;
mod cost;
mod refused;
mod schema;

use super::*;
use crate::{Code, Refusal};

/// Asserts one mistake, by pointer and a piece of its message.
#[track_caller]
fn assert_mistake(extra: &str, pointer: &str, message: &str) {
    let error = refused(with(extra));
    let [field] = error.fields() else { panic!("{extra}: {:#?}", error.fields()) };
    assert_eq!(field.pointer, pointer, "{extra}");
    assert!(field.message.contains(message), "{extra}: {}", field.message);
    assert!(field.line.is_some() && field.column.is_some(), "{extra}");
    assert_eq!(error.code(), Code::ManifestInvalid);
}

/// Every key of plugin.yaml once.
const FULL: &str = r#"
name: my-plugin
version: 1.0.0
description: Example plugin
author: Your Name
email: you@example.com
license: MIT OR Apache-2.0
repository: https://git.example/x
homepage: https://x.example
documentation: https://x.example/docs
tags: [chat, demo]
capabilities: [summarise]
plugbay: ">=0.1"
python: ">=3.9"
type: integration
main: ./main.py
class: MyPlugin
runtime: python
image: python
build: ./build.sh
dependencies: [requests>=2.31.0]
requires: { other_plugin: "^1.2" }
permissions: [network_access, chat_access, database_read]
optional_permissions: [filesystem_read]
network: { allow: ["api.example.com", "*.example.org:8443", "http://intranet.example:80", "tcp://db.example:5432"] }
access:
  database_read: [chat]
  filesystem_read: [docs]
resources: { memory_mb: 512, cpus: 0.5, cpu_shares: 1024, pids: 64, tmp_mb: 64, data_mb: 16, timeout_seconds: 30, max_concurrency: 16 }
config_schema:
  api_key: { type: string, required: true, secret: true, description: API key }
  endpoint: { type: string, default: "https://api.example.com" }
hooks: [on_message, { name: on_file_upload, priority: HIGH, timeout_ms: 200, on_failure: block }]
commands: [{ name: /myplugin, description: Run it, usage: "/myplugin [args]" }]
health: { interval_seconds: 30 }
tools:
  - name: sum-up
    description: Sums up
    method: execute
    input: { type: object, properties: { text: { type: string } }, required: [text] }
    output: { type: object }
    annotations: { read_only: true, destructive: false, idempotent: true, open_world: false }
x-note: { anything: [1, true] }
"#;

/// The least a manifest says, with `extra` lines.
fn with(extra: &str) -> String {
    format!("name: demo\nversion: 1.0.0\nmain: main.py\n{extra}")
}

fn accepted(text: &str) -> Manifest {
    Manifest::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}\n{error}: {:#?}", error.fields()))
}

fn refused(text: impl AsRef<[u8]>) -> ManifestError {
    Manifest::parse(text.as_ref()).expect_err("must be refused")
}

#[test]
fn every_key_is_read() {
    let manifest = accepted(FULL);
    assert_eq!(manifest.main, "main.py");
    assert_eq!(manifest.kind, PluginType::Integration);
    assert_eq!(manifest.requires.keys().next().unwrap().as_str(), "other-plugin");
    assert_eq!(manifest.network[0].to_string(), "api.example.com:443");
    assert_eq!(manifest.hooks[1].priority, Priority::High);
    assert!(manifest.needs_vendor());
    assert!(manifest.warnings().is_empty());
    assert!(manifest.python.as_ref().unwrap().allows([3, 11, 0]));
}

#[test]
fn a_manifest_is_shown_with_its_own_keys() {
    let json = serde_json::to_value(accepted(FULL)).unwrap();
    assert_eq!(json["type"], "integration");
    assert_eq!(json["network"]["allow"][2], "http://intranet.example:80");
    assert_eq!(json["requires"]["other-plugin"], "^1.2");
    assert_eq!(json["resources"]["cpus"], 0.5);
    assert_eq!(json["config_schema"]["api_key"]["secret"], true);
    assert_eq!(json["hooks"][0]["name"], "on_message");
    assert_eq!(json["access"]["database_read"][0], "chat");
    assert_eq!(json["python"], ">=3.9");
}

#[test]
fn the_least_manifest_is_valid_and_warned_about() {
    let manifest = accepted(&with(""));
    assert_eq!(manifest.runtime, Runtime::Python);
    assert_eq!(
        manifest.warnings(),
        ["plugin.yaml has no `description`", "plugin.yaml has no `author`", "plugin.yaml has no `license`"]
    );
    assert_eq!(accepted("name: a\nversion: 1.0.0\nmain: bin/run").runtime, Runtime::Exec);
    assert_eq!(accepted("name: a\nversion: 1.0.0\nmain: run.py\nruntime: stdio").runtime, Runtime::Stdio);
}

#[test]
fn what_would_never_happen_is_warned_about() {
    let warnings =
        accepted(&with("hooks: [on_message]\nruntime: exec\nclass: X\ndependencies: [a]")).warnings().join("\n");
    assert!(warnings.contains("`class` is ignored"), "{warnings}");
    assert!(warnings.contains("`dependencies` are ignored"), "{warnings}");
    assert!(warnings.contains("chat_access"), "{warnings}");
}

/// The entry point file of the reference documentation must install as it stands.
#[test]
fn the_documented_example_is_valid() {
    let text = "name: my-plugin\nversion: 1.0.0\ndescription: Example plugin for chat system\nauthor: Your Name\n\
        email: your.email@example.com\nlicense: MIT\n\ntype: extension  # extension, integration\n\nmain: main.py\n\
        class: MyPlugin\n\ndependencies:\n  - requests>=2.31.0\n  - beautifulsoup4>=4.12.0\n\npermissions:\n  \
        - network_access\n  - chat_access\n  - api_access\n\noptional_permissions:\n  - filesystem_read\n  \
        - database_read\n\nresources:\n  memory_mb: 512\n  cpu_shares: 1024\n  timeout_seconds: 30\n\n\
        config_schema:\n  api_key:\n    type: string\n    required: true\n    description: API key\n  endpoint:\n    \
        type: string\n    default: https://api.example.com\n    description: API endpoint URL\n\nhooks:\n  - on_message\n  \
        - on_file_upload\n  - on_command\n\ncommands:\n  - name: /myplugin\n    description: Run my plugin\n    \
        usage: /myplugin [args]\n";
    assert_eq!(accepted(text).commands[0].usage.as_deref(), Some("/myplugin [args]"));
}

proptest::proptest! {
    #[test]
    fn the_parser_never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        fuzz_manifest(&bytes);
    }

    #[test]
    fn the_parser_never_panics_on_changed_manifests(cut in 0..FULL.len(), junk in "[-\\[\\]{}:,&*!|>'\"%@` \n\ta0~.]{0,12}") {
        let mut text = FULL.as_bytes().to_vec();
        let end = (cut + junk.len() / 2).min(text.len());
        text.splice(cut..end, junk.bytes());
        fuzz_manifest(&text);
    }
}

#[test]
fn the_corpus_holds_the_invariants() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/manifest");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        fuzz_manifest(&std::fs::read(entry.unwrap().path()).unwrap());
        seen += 1;
    }
    assert!(seen >= 5, "the corpus is there");
}
