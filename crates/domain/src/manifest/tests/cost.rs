//! What hostile manifests cost: no 64 KiB may keep a thread busy for long.

use std::time::Duration;

use super::*;

/// What this thread has computed for. The clock would count what the rest of the machine does, too.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[track_caller]
fn assert_cheap(text: &str) {
    assert!(text.len() <= MAX_MANIFEST_BYTES, "{}", text.len());
    let before = processor_time();
    fuzz_manifest(text.as_bytes());
    let took = processor_time().saturating_sub(before);
    assert!(took < Duration::from_secs(2), "{took:?}: {}", crate::escape(text));
}

fn listed(items: usize, item: impl Fn(usize) -> String) -> String {
    (0..items).map(item).collect::<Vec<_>>().join(",")
}

#[test]
fn long_values_and_long_lists_are_cheap() {
    assert_cheap(&with(&format!("license: {}", "a".repeat(60_000))));
    assert_cheap(&with(&format!("license: {}MIT{}", "(".repeat(20_000), ")".repeat(20_000))));
    assert_cheap(&with(&format!("license: {}MIT", "MIT OR ".repeat(8_000))));
    assert_cheap(&with(&format!("type: {}", "a".repeat(60_000))));
    assert_cheap(&with(&format!("plugbay: \"{}\"", ">=1,".repeat(10_000))));
    assert_cheap(&with(&format!("python: \"{}\"", ">=3,".repeat(10_000))));
    assert_cheap(&with(&format!("homepage: https://{}", "ü.".repeat(20_000))));
    assert_cheap(&with(&format!("permissions: [{}]", listed(4_900, |n| format!("chat_acc{n}")))));
    assert_cheap(&with(&format!("tags: [{}]", listed(4_900, |n| format!("tag{n}")))));
    assert_cheap(&with(&format!(
        "permissions: [network_access]\nnetwork: {{ allow: [{}] }}",
        listed(4_000, |n| format!("a{n}.b.cc"))
    )));
    assert_cheap(&with(&listed(2_400, |n| format!("key{n}: 1\n")).replace(',', "")));
    assert_cheap(&with(&format!("commands: [{}]", listed(2_000, |n| format!("{{name: /c{n}}}")))));
    assert_cheap(&with(&format!("{}: {{ {} }}", "k".repeat(30_000), listed(2_000, |n| format!("key{n}: 1")))));
    assert_cheap(&"[".repeat(60_000));
    assert_cheap(&"{".repeat(60_000));
    assert_cheap(&"- ".repeat(30_000));
    assert_cheap(&"? ".repeat(30_000));
    assert_cheap(&"a: ".repeat(20_000));
    assert_cheap(&"\"".repeat(60_000));
    assert_cheap(&"#\n".repeat(30_000));
    assert_cheap(&format!("a: |\n{}", " x\n\n".repeat(15_000)));
}

#[test]
fn schemas_are_cheap() {
    let field = |n: usize| format!("f{n}: {{type: string, default: x}}\n");
    let fields: String = (0..1_000).map(|n| format!("  {}", field(n))).collect::<Vec<_>>().concat();
    assert_cheap(&with(&format!("config_schema:\n{fields}")));
    let chain = |step: &dyn Fn(usize) -> String, last: usize| {
        let defs: Vec<String> = (0..last).map(|n| format!("    a{n}: {}\n", step(n + 1))).collect();
        with(&format!(
            "config_schema:\n  type: object\n  properties: {{ x: {{ $ref: '#/$defs/a0', default: {{ b: {{ b: {{}} }} }} }} }}\n  \
             $defs:\n{}    a{last}: true\n",
            defs.concat()
        ))
    };
    let steps: [fn(usize) -> String; 4] = [
        |n| format!("{{ unevaluatedProperties: false, allOf: [{{ $ref: '#/$defs/a{n}' }}] }}"),
        |n| format!("{{ not: {{ $ref: '#/$defs/a{n}' }} }}"),
        |n| format!("{{ if: {{ $ref: '#/$defs/a{n}' }}, then: true }}"),
        |n| format!("{{ oneOf: [{{ $ref: '#/$defs/a{n}' }}, false], unevaluatedItems: false }}"),
    ];
    for step in steps {
        assert_cheap(&chain(&step, 30));
    }
    let patterns = listed(30, |n| format!("p{n}: {{ type: string, pattern: '(a|b|c|\\w{{1,40}}){{1,40}}' }}"));
    assert_cheap(&with(&format!("config_schema: {{ {patterns} }}")));
}
