//! Both forms of `config_schema`, and schemas that would cost too much.

use serde_json::json;

use crate::{ConfigSchema, Manifest, Refusal};

fn parse(schema: &str) -> Result<ConfigSchema, Vec<String>> {
    let indented = schema.replace('\n', "\n  ");
    let text = format!("name: demo\nversion: 1.0.0\nmain: main.py\nconfig_schema:\n  {indented}\n");
    match Manifest::parse(text.as_bytes()) {
        Ok(manifest) => Ok(manifest.config_schema.unwrap()),
        Err(error) => Err(error.fields().iter().map(ToString::to_string).collect()),
    }
}

#[track_caller]
fn assert_refused(schema: &str, message: &str) {
    let errors = parse(schema).expect_err(schema).join("\n");
    assert!(errors.contains(message), "{schema}: {errors}");
}

#[test]
fn a_field_map_becomes_a_json_schema() {
    let schema = parse(
        "api_key: { type: string, required: true, secret: { hosts: [api.example.com], deliver: false } }\n\
         port: { type: integer, default: 80, minimum: 1, maximum: 65535, description: Where }\n\
         mode: { type: string, enum: [fast, slow] }",
    )
    .unwrap();
    assert_eq!(schema.required(), ["api_key"]);
    assert_eq!(json!(schema.defaults()), json!({ "port": 80 }));
    let secret = &schema.secrets()["api_key"];
    assert_eq!((secret.hosts[0].to_string().as_str(), secret.deliver), ("api.example.com:443", false));
    assert_eq!(schema.to_json_schema()["properties"]["api_key"]["writeOnly"], true);
    assert!(schema.knows("mode") && !schema.knows("colour"));
    assert!(schema.check(&json!({ "api_key": "x", "port": 443 })).is_fit());
    let found = schema.check(&json!({ "port": "x", "colour": 1 }));
    assert!(!found.is_fit());
    assert_eq!(found.missing, ["api_key"]);
    let mut errors: Vec<_> = found.fields().iter().map(ToString::to_string).collect();
    errors.sort();
    let expected = ["/api_key: required", "/colour: there is no such field", "/port: expected integer, found string"];
    assert_eq!(errors, expected);
}

#[test]
fn a_json_schema_is_taken_as_it_is() {
    let schema = parse(
        "$schema: https://json-schema.org/draft/2020-12/schema\ntype: object\nproperties:\n  \
         key: { type: string, writeOnly: true }\n  item: { $ref: '#/$defs/item' }\n\
         $defs: { item: { type: object, properties: { size: { type: integer } } } }",
    )
    .unwrap();
    assert!(schema.secrets().contains_key("key"));
    assert_eq!(schema.check(&json!({ "item": { "size": "x" } })).invalid[0].pointer, "/item/size");
}

#[test]
fn values_are_never_repeated_in_messages() {
    let schema = parse("key: { type: string, secret: true, pattern: '^k' }").unwrap();
    let errors = schema.check(&json!({ "key": "hunter2" })).invalid;
    assert!(!errors[0].message.contains("hunter2"), "{errors:?}");
}

#[test]
fn schemas_are_checked() {
    assert_refused("a: { type: strng }", "did you mean `string`?");
    assert_refused("a: { type: string, minimum: 1 }", "says nothing about a value of type string");
    assert_refused("a: { type: integer, default: x }", "/config_schema/a/default: the default does not fit");
    assert_refused("a: { type: string, secret: true, default: x }", "a secret has no default");
    assert_refused("a: { type: integer, secret: true }", "a secret is of type string");
    assert_refused("a: { type: string, secret: { deliver: false } }", "name `hosts`");
    let sent = |header: &str| format!("a: {{ type: string, secret: {{ hosts: [a.example], header: {header} }} }}");
    assert_eq!(parse(&sent("X-API-Key")).unwrap().secrets()["a"].header().as_str(), "x-api-key");
    for header in ["X-Forwarded-Host", "Forwarded", "Host", "Via", "Referer", "Origin", "Location"] {
        assert_refused(&sent(header), "servers lead requests on by such headers");
    }
    for host in ["'*.com'", "'*.co.uk'", "'*.github.io:8443'", "'http://*.org'"] {
        let text = format!("a: {{ type: string, secret: {{ hosts: [a.example, {host}] }} }}");
        assert_refused(&text, "anybody can have a host");
    }
    assert_refused(&sent("X-Trace"), "its name says nothing of credentials");
    assert_refused("a: { type: string, secret: { header: x-key } }", "name `hosts`");
    assert_refused("a: { type: string, pattern: '(' }", "not a usable JSON Schema");
    assert_refused("a: { type: array, items: { type: strng } }", "/config_schema/a/items");
    assert_refused("'a b': { type: string }", "not a field name");
    assert_refused("a: { type: string, default: no }", "in quotes");
    assert_refused("type: object\nproperties: { a: { type: 1 } }", "/config_schema/properties/a/type");
    assert_refused("$schema: http://json-schema.org/draft-07/schema#\ntype: object", "only `https");
    assert_refused("$schema: https://json-schema.org/draft/2020-12/schema", "`type` must be `object`");
}

#[test]
fn schemas_that_cost_too_much_are_refused() {
    assert_refused("type: object\n$ref: '#'", "leads to no definition");
    assert_refused("type: object\n$ref: '#/$defs/a'\n$defs: { a: { $ref: '#/$defs/a' } }", "back to itself");
    assert_refused("type: object\n$ref: 'https://evil.example/schema'", "leads to no definition");
    assert_refused("type: object\n$ref: 'file:///etc/passwd'", "leads to no definition");
    assert_refused("type: object\n$id: 'https://evil.example/'", "`$id` is not accepted");
    let doubling: Vec<String> = (0..25)
        .map(|n| {
            format!("a{n}: {{ allOf: [{{ $ref: '#/$defs/a{next}' }}, {{ $ref: '#/$defs/a{next}' }}] }}", next = n + 1)
        })
        .collect();
    let text = format!("type: object\n$ref: '#/$defs/a0'\n$defs: {{ {}, a25: true }}", doubling.join(", "));
    assert_refused(&text, "10000 values");
    let chain: Vec<String> = (0..60).map(|n| format!("a{n}: {{ $ref: '#/$defs/a{}' }}", n + 1)).collect();
    let text = format!("type: object\n$ref: '#/$defs/a0'\n$defs: {{ {}, a60: true }}", chain.join(", "));
    assert_refused(&text, "in a row");
    let patterns: Vec<String> = (0..40).map(|n| format!("a{n}: {{ type: string, pattern: x }}")).collect();
    assert_refused(&patterns.join("\n"), "40 patterns");
    assert_refused("a: { type: string, pattern: '(a{1000}){1000}' }", "not a usable JSON Schema");
}

#[test]
fn definitions_that_look_for_what_the_next_one_left_are_refused() {
    for (keyword, rest) in [
        ("allOf", "unevaluatedProperties"),
        ("anyOf", "unevaluatedProperties"),
        ("oneOf", "unevaluatedProperties"),
        ("allOf", "unevaluatedItems"),
    ] {
        let level = |n: usize| format!("d{n}: {{ {keyword}: [{{ $ref: '#/$defs/d{}' }}], {rest}: false }}", n + 1);
        let levels: Vec<String> = (0..30).map(level).collect();
        let schema = parse(&format!(
            "type: object\nproperties: {{ x: {{ $ref: '#/$defs/d0' }} }}\n\
             $defs: {{ {}, d30: {{ properties: {{ a: {{}} }}, prefixItems: [true] }} }}",
            levels.join(", ")
        ))
        .unwrap();
        for value in [json!({"x": {"a": "x"}}), json!({"x": ["x"]})] {
            let began = std::time::Instant::now();
            let found = schema.check(&value);
            assert!(began.elapsed().as_secs() < 5, "{keyword}, {rest}: {:?}", began.elapsed());
            assert_eq!(found.invalid.len(), 1, "{keyword}, {rest}: {found:?}");
            assert!(found.invalid[0].message.contains("steps"), "{found:?}");
        }
    }
    // What an author may well write.
    let schema = parse(
        "type: object\nallOf: [{ $ref: '#/$defs/base' }]\nproperties: { port: { type: integer } }\n\
         unevaluatedProperties: false\n$defs: { base: { properties: { name: { type: string } } } }",
    )
    .unwrap();
    assert!(schema.check(&json!({"name": "x", "port": 1})).is_fit());
    assert!(!schema.check(&json!({"nam": "x"})).is_fit());
}

#[test]
fn large_values_are_checked_and_large_work_is_not() {
    let schema =
        parse("hosts: { type: array, items: { type: string, minLength: 1, pattern: '^[\\w.-]{1,64}$' } }").unwrap();
    let hosts = |count: usize| json!({"hosts": vec!["api.example.com"; count]});
    assert!(schema.check(&hosts(1_000)).is_fit());
    assert!(schema.check(&hosts(50_000)).invalid[0].message.contains("steps"));
    let options: Vec<String> = (0..1_200).map(|n| format!("{{ const: {n} }}")).collect();
    let schema = parse(&format!("x: {{ type: array, items: {{ anyOf: [{}] }} }}", options.join(", "))).unwrap();
    assert!(!schema.check(&json!({"x": vec!["y"; 10]})).is_fit());
    assert!(schema.check(&json!({"x": vec!["y"; 10_000]})).invalid[0].message.contains("steps"));
    // Mistakes are told, and not all that there are.
    let schema = parse("x: { type: array, items: { type: integer } }").unwrap();
    assert_eq!(schema.check(&json!({"x": vec!["y"; 5_000]})).invalid.len(), 100);
    // Where all of them would take much memory, the first one.
    assert_eq!(schema.check(&json!({"x": vec!["y"; 50_000]})).invalid.len(), 1);
    let names: Vec<String> = (0..300).map(|n| format!("n{n}")).collect();
    let schema =
        parse(&format!("x: {{ type: array, items: {{ type: object, required: [{}] }} }}", names.join(", "))).unwrap();
    assert_eq!(schema.check(&json!({"x": vec![json!({}); 500]})).invalid.len(), 1);
}

#[test]
fn patterns_cost_by_their_size() {
    let schema = parse("x: { type: string, pattern: '([ab]*a[ab]{3000}c|[ab]{5}d)' }").unwrap();
    let began = std::time::Instant::now();
    assert!(schema.check(&json!({"x": "a".repeat(100_000)})).invalid[0].message.contains("steps"));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(schema.check(&json!({"x": "a".repeat(1_000)})).invalid[0].pointer, "/x");
}

#[test]
fn defaults_share_one_budget() {
    let fields: Vec<String> =
        (0..600).map(|n| format!("f{n}: {{ type: string, required: true, default: x }}")).collect();
    assert_refused(&fields.join("\n"), "the defaults are not checked");
}
