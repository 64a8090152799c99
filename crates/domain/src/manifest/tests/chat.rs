//! What `chat:` may say, and what counts as more of it.

use super::*;
use crate::Word as _;

/// A plugin with this section.
fn chat(section: &str) -> String {
    format!("permissions: [chat_access]\nchat: {section}")
}

fn role(section: &str) -> ChatRole {
    accepted(&with(&chat(section))).chat.expect("there is a section")
}

fn growth(old: &str, new: &str) -> Vec<String> {
    accepted(&with(&chat(new))).growth(&accepted(&with(&chat(old)))).added
}

#[test]
fn a_section_is_read_with_its_defaults() {
    let processor = role("{ kind: message_processor }");
    assert_eq!((processor.of, processor.effect), (vec![ChatHalf::Request], Effect::Transform));
    assert_eq!((processor.on_failure, processor.priority), (OnFailure::Ignore, Priority::Normal));
    let guard = role("{ kind: message_processor, effect: decide, of: [request, response], sees: window, not: [tool] }");
    assert_eq!((guard.on_failure, guard.not.as_slice()), (OnFailure::Block, [ContentKind::Tool].as_slice()));
    assert_eq!(guard.window, Some(Window { characters: 800, overlap: 200 }));
    let stream = role("{ kind: message_processor, of: [response], sees: deltas, max_hold: 12, timeout_ms: 500 }");
    assert_eq!((stream.max_hold, stream.timeout_ms), (12, Some(500)));
    let middleware = role("{ kind: middleware, on_failure: block, priority: CRITICAL }");
    assert!(middleware.is_guard() && middleware.sees == Sees::None);
    let backend = role("{ kind: backend_provider, models: ['gpt-*', llama3.2] }");
    assert!(backend.models[0].matches("gpt-4o") && !backend.is_guard());
}

#[test]
fn the_type_follows_the_kind() {
    for kind in ChatKind::ALL {
        let manifest = accepted(&with(&chat(&format!("{{ kind: {kind} }}"))));
        assert_eq!(manifest.kind, kind.plugin_type());
    }
    assert_mistake(
        "type: integration\npermissions: [chat_access]\nchat: { kind: middleware }",
        "/type",
        "write `middleware`, or leave `type` out",
    );
}

#[test]
fn what_means_nothing_or_contradicts_itself_is_a_mistake() {
    assert_mistake("chat: { kind: middleware }", "/chat", "list it in `permissions`");
    assert_mistake(
        "optional_permissions: [chat_access]\nchat: { kind: middleware }",
        "/chat",
        "needs the permission `chat_access`",
    );
    for (section, pointer, message) in [
        ("{ kind: filter }", "/chat/kind", "message_processor"),
        ("{ kind: middleware, of: [request] }", "/chat/of", "means nothing for `kind: middleware`"),
        ("{ kind: backend_provider, priority: HIGH }", "/chat/priority", "means nothing"),
        ("{ kind: message_processor, models: [a] }", "/chat/models", "means nothing"),
        ("{ kind: message_processor, of: [] }", "/chat/of", "expected `request`, `response` or both"),
        ("{ kind: message_processor, of: [request, request] }", "/chat/of/1", "twice"),
        ("{ kind: message_processor, sees: deltas }", "/chat/sees", "add `response` to `of`"),
        ("{ kind: message_processor, of: [response], sees: none }", "/chat/sees", "expected `deltas`"),
        ("{ kind: middleware, sees: deltas }", "/chat/sees", "expected `complete` or `none`"),
        ("{ kind: message_processor, of: [response], not: [tool] }", "/chat/not", "is for guards"),
        ("{ kind: message_processor, effect: decide, not: [tool] }", "/chat/not", "add `response` to `of`"),
        ("{ kind: message_processor, of: [response], window: { characters: 9 } }", "/chat/window", "`sees: window`"),
        ("{ kind: message_processor, of: [response], max_hold: 9 }", "/chat/max_hold", "`sees: deltas`"),
        ("{ kind: message_processor, effect: observe, on_failure: block }", "/chat/on_failure", "refuses nothing"),
        ("{ kind: message_processor, timeout_ms: 30001 }", "/chat/timeout_ms", "expected 1 to 30000"),
        (
            "{ kind: message_processor, of: [response], sees: window, window: { characters: 9, overlap: 9 } }",
            "/chat/window/overlap",
            "expected 0 to 8",
        ),
        ("{ kind: backend_provider, models: ['a b'] }", "/chat/models/0", "not a pattern over models"),
    ] {
        assert_mistake(&chat(section), pointer, message);
    }
    assert_mistake("hooks: [{ name: on_startup, effect: decide }]", "/hooks/0/effect", "only tells");
}

#[test]
fn a_hook_that_decides_refuses_when_it_fails() {
    let text = "hooks: [{ name: on_before_message, effect: decide }, { name: on_retry }]\npermissions: [chat_access]";
    let hooks = accepted(&with(text)).hooks;
    assert_eq!((hooks[0].effect, hooks[0].on_failure), (Effect::Decide, OnFailure::Block));
    assert_eq!((hooks[1].effect, hooks[1].on_failure), (Effect::Observe, OnFailure::Ignore));
}

#[test]
fn a_wider_place_is_growth() {
    let full = "{ kind: message_processor, effect: decide, of: [request, response], sees: deltas, timeout_ms: 900 }";
    assert_eq!(growth(full, full), [""; 0]);
    assert_eq!(growth(full, "{ kind: message_processor, effect: observe }"), [""; 0]);
    let more = growth("{ kind: message_processor, effect: observe }", full);
    for part in
        ["messages of the response", "can refuse messages", "stops when it fails", "sees deltas", "timeout_ms 900"]
    {
        assert!(more.iter().any(|found| found.contains(part)), "{part}: {more:?}");
    }
    assert_eq!(growth("{ kind: middleware }", "{ kind: backend_provider }"), ["chat backend_provider"]);
    let blind = growth(full, &full.replace("sees", "not: [tool], sees"));
    assert_eq!(blind, ["chat not tool"]);
}

#[test]
fn what_the_chat_calls_is_not_for_callers() {
    for method in ["chat", "list_models", "process_message", "process_stream", "extend", "on_error", "on_event"] {
        assert!(!is_for_callers(method), "{method}");
    }
    assert!(is_for_callers("on_the_way"), "a name of the author's own");
}
