//! What `tools:` may say, what tools are called, and what their schemas refuse.

use super::*;
use crate::{Code, ManifestError, PluginName, Refusal as _};

fn parse(extra: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(format!("name: demo\nversion: 1.0.0\nmain: main.py\n{extra}").as_bytes())
}

fn accepted(extra: &str) -> Manifest {
    parse(extra).unwrap_or_else(|error| panic!("{extra}\n{:#?}", error.fields()))
}

#[track_caller]
fn assert_mistake(extra: &str, pointer: &str, message: &str) {
    let error = parse(extra).expect_err(extra);
    let [field] = error.fields() else { panic!("{extra}: {:#?}", error.fields()) };
    assert_eq!(field.pointer, pointer, "{extra}");
    assert!(field.message.contains(message), "{extra}: {}", field.message);
    assert!(field.line.is_some() && field.column.is_some(), "{extra}");
    assert_eq!(error.code(), Code::ManifestInvalid);
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}

fn name(text: &str) -> PluginName {
    text.parse().unwrap()
}

#[test]
fn every_key_of_a_tool_is_read() {
    let manifest = accepted(
        "tools:\n  - name: sum_up\n    description: Sums up\n    method: execute\n    \
         input: { type: object, properties: { text: { type: string } }, required: [text] }\n    \
         output: { type: object }\n    annotations: { read_only: true, open_world: false }\n    x-own: 1\n  - name: count\n",
    );
    let [first, second] = &manifest.tools.as_deref().unwrap() else { panic!("{:?}", manifest.tools) };
    assert_eq!((first.name.as_str(), first.method.as_str(), first.is_read_only()), ("sum_up", "execute", true));
    assert_eq!((second.method.as_str(), second.is_read_only()), ("count", false));
    assert!(second.input.is_any_object() && second.output.is_none());
    let shown = serde_json::to_value(&manifest).unwrap();
    assert_eq!(shown["tools"][0]["annotations"], json!({ "read_only": true, "open_world": false }));
    assert_eq!(shown["tools"][1], json!({ "name": "count", "method": "count", "input": { "type": "object" } }));
    assert_eq!(manifest.warnings().iter().filter(|text| text.contains("`count`")).count(), 1);
}

#[test]
fn a_plugin_that_says_nothing_of_tools_is_one_as_far_as_it_has_execute() {
    let tools = accepted("").tools();
    let [tool] = tools.offered(None) else { panic!("one") };
    assert_eq!((tool.name.as_str(), tool.method.as_str()), ("demo", "execute"));
    assert!(tool.input.is_any_object());
    assert_eq!(tools.offered(Some(&["on_message".to_owned()])), []);
    assert_eq!(tools.offered(Some(&["execute".to_owned()])).len(), 1);
    assert!(!tools.is_declared());
    let none = accepted("tools: []\n").tools();
    assert!(none.is_declared() && none.offered(None).is_empty());
    let some = accepted("tools: [{ name: a, method: other }]\n").tools();
    assert_eq!(some.offered(Some(&[])).len(), 1);
    assert!(some.of_method("other").is_some() && some.of_method("a").is_none());
}

#[test]
fn tools_are_read_strictly() {
    for (extra, pointer, message) in [
        ("tools: {}\n", "/tools", "a list"),
        ("tools: [a]\n", "/tools/0", "a map"),
        ("tools: [{ description: x }]\n", "/tools/0/name", "missing"),
        ("tools: [{ name: A }]\n", "/tools/0/name", "not the name of a tool"),
        ("tools: [{ name: \"a.b\" }]\n", "/tools/0/name", "not the name of a tool"),
        ("tools: [{ nme: a, name: b }]\n", "/tools/0/nme", "did you mean `name`"),
        ("tools: [{ name: on_message }]\n", "/tools/0", "not a method for callers"),
        ("tools: [{ name: a, method: initialize }]\n", "/tools/0/method", "not a method for callers"),
        ("tools: [{ name: a, method: _x }]\n", "/tools/0/method", "not a method for callers"),
        ("tools: [{ name: a, method: \"b c\" }]\n", "/tools/0/method", "not the name of a method"),
        ("tools: [{ name: a, mcp: raw }]\n", "/tools/0/mcp", "not built yet"),
        ("tools: [{ name: a }, { name: a, method: b }]\n", "/tools/1/name", "twice"),
        ("tools: [{ name: a-b }, { name: a_b }]\n", "/tools/1/name", "models would call it `demo__a_b`"),
        ("tools: [{ name: a }, { name: b, method: a }]\n", "/tools/1/method", "is the tool `a` already"),
        (
            "tools: [{ name: a, annotations: { read_only: \"yes\" } }]\n",
            "/tools/0/annotations/read_only",
            "true or false",
        ),
        (
            "tools: [{ name: a, annotations: { read_only: true, destructive: true } }]\n",
            "/tools/0/annotations/destructive",
            "keep one",
        ),
        ("tools: [{ name: a, input: 1 }]\n", "/tools/0/input", "a map"),
        ("tools: [{ name: a, input: { properties: {} } }]\n", "/tools/0/input", "must be `object`"),
        ("tools: [{ name: a, output: { type: array } }]\n", "/tools/0/output/type", "must be `object`"),
        ("tools: [{ name: a, input: { type: object, $schema: x } }]\n", "/tools/0/input/$schema", "only"),
        (
            "tools: [{ name: a, input: { type: object, $ref: \"https://x.example/s\" } }]\n",
            "/tools/0/input",
            "leads to no definition",
        ),
        ("tools: [{ name: a, input: { type: object, $id: x } }]\n", "/tools/0/input", "`$id` is not accepted"),
        (
            "tools: [{ name: a, input: { type: object, not: { unevaluatedProperties: false } } }]\n",
            "/tools/0/input/not/unevaluatedProperties",
            "`unevaluated…` is not accepted",
        ),
        (
            "tools: [{ name: a, input: { type: object, properties: { x: { type: text } } } }]\n",
            "/tools/0/input/properties/x/type",
            "text",
        ),
        (
            "tools: [{ name: a, input: { type: object, properties: { x: { pattern: \"(\" } } } }]\n",
            "/tools/0/input",
            "not a usable JSON Schema",
        ),
    ] {
        assert_mistake(extra, pointer, message);
    }
    let many = lines(129, |number| format!("  - name: t{number}\n"));
    assert_mistake(&format!("tools:\n{many}"), "/tools", "at most 128");
}

#[test]
fn schemas_of_all_tools_together_stay_small() {
    // Each doubles the next one: 2^12 values each, and five of them are too many.
    let definitions: Vec<String> = (0..12)
        .map(|level| {
            let next = level + 1;
            format!("d{level}: {{ allOf: [{{ $ref: \"#/$defs/d{next}\" }}, {{ $ref: \"#/$defs/d{next}\" }}] }}")
        })
        .collect();
    let schema = |levels: usize| {
        let definitions = definitions[12 - levels..].join(", ");
        let first = 12 - levels;
        format!("{{ type: object, allOf: [{{ $ref: \"#/$defs/d{first}\" }}], $defs: {{ {definitions}, d12: {{}} }} }}")
    };
    assert_mistake(&format!("tools: [{{ name: a, input: {} }}]\n", schema(12)), "/tools/0/input", "10000");
    let tool = |number| format!("  - {{ name: t{number}, input: {} }}\n", schema(8));
    let several = lines(5, tool);
    accepted(&format!("tools:\n{several}"));
    let several = lines(40, tool);
    assert_mistake(&format!("tools:\n{several}"), "/tools", "20000");
    let schema = |number| format!("{{ type: object, properties: {{ x: {{ pattern: \"a{number}\" }} }} }}");
    let patterns = lines(33, |number| format!("  - {{ name: t{number}, input: {} }}\n", schema(number)));
    assert_mistake(&format!("tools:\n{patterns}"), "/tools", "33 patterns");
}

#[test]
fn mistakes_of_arguments_have_pointers_and_an_end() {
    let manifest = accepted(
        "tools:\n  - name: a\n    input:\n      type: object\n      properties: { text: { type: string, maxLength: 3 }, \
         tags: { type: array, items: { type: integer } } }\n      required: [text]\n      additionalProperties: false\n",
    );
    let schema = &manifest.tools.as_deref().unwrap()[0].input;
    assert_eq!(schema.check_at_once(r#"{"text":"a"}"#), Some(Ok(())));
    let told = |json: &str| {
        let at_once = schema.check_at_once(json).expect("few steps").unwrap_err();
        assert_eq!(schema.check(json), Err(at_once.clone()));
        at_once.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(r#"{"tags":[1,"x"],"mode~/":1}"#),
        ["/tags/1: expected integer, found string", "/mode~0~1: there is no such property", "/text: required"]
    );
    assert_eq!(told("[]"), ["expected object, found array"]);
    // The value is not told: it may be a secret of the caller's.
    assert!(!told(r#"{"text":"hunter2"}"#)[0].contains("hunter2"));
    let many: Vec<String> = (0..100).map(|number| format!("\"k{number}\":1")).collect();
    assert_eq!(told(&format!("{{\"text\":\"a\",{}}}", many.join(","))).len(), MAX_TOOL_MISTAKES);
    let long = format!("{{\"text\":\"a\",\"{}\":1}}", "ä".repeat(4000));
    assert!(told(&long)[0].len() < 400);
}

#[test]
fn what_takes_long_is_not_done_at_once_and_has_an_end() {
    let manifest = accepted(
        "tools:\n  - name: a\n    input: { type: object, properties: { x: { uniqueItems: true, type: array } } }\n",
    );
    let schema = &manifest.tools.as_deref().unwrap()[0].input;
    let list = |count: usize| format!("{{\"x\":[{}]}}", vec!["{}"; count].join(","));
    assert_eq!(schema.check_at_once(&list(1500)), None);
    assert_eq!(schema.check_at_once(&format!("{{\"y\":\"{}\"}}", "a".repeat(20_000))), None);
    let huge = (0..300_000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let told = schema.check(&format!("{{\"x\":[{huge}],\"z\":[{huge}]}}"));
    assert!(told.is_ok() || told.unwrap_err()[0].message.contains("steps"));
}

#[test]
fn names_towards_models_fit_and_are_read_back_by_a_table() {
    assert_eq!(mcp_name(&name("git"), "git_status"), "git.git_status");
    assert_eq!(mcp_name(&name("fs"), "fs"), "fs");
    assert_eq!(model_name(&name("my-plugin"), "sum-up"), "my_plugin__sum_up");
    let long = model_name(&name("git"), &"a".repeat(64));
    assert_eq!(long.len(), 64);
    assert_eq!(&long[..56], format!("git__{}_", "a".repeat(50)));
    // printf 'git__aaaa…' | sha256sum
    assert!(long[56..].bytes().all(|byte| byte.is_ascii_hexdigit()), "{long}");
    assert_eq!(model_name(&name("abc"), &"t".repeat(59)).len(), 64);
    let mut names = ToolNames::default();
    names.add(&accepted("tools: [{ name: sum-up }]\n")).unwrap();
    assert_eq!(names.find("demo__sum_up"), Some((&name("demo"), "sum-up")));
    assert_eq!(names.find("demo.sum-up"), None);
}

#[test]
fn two_plugins_whose_names_are_cut_to_the_same_cannot_both_have_it() {
    // Found by trying: 32 bits of a hash do not keep apart names that are made on purpose.
    let mut seen = std::collections::HashMap::new();
    let stem = "a".repeat(55);
    let (one, other) = (0_u32..)
        .find_map(|number| {
            let plugin = format!("{stem}{number:x}");
            let plugin = plugin.parse::<PluginName>().ok()?;
            let other = seen.insert(model_name(&plugin, "same-tool"), plugin.clone())?;
            Some((other, plugin))
        })
        .unwrap();
    let of = |name: &PluginName| {
        let text = format!("name: {name}\nversion: 1.0.0\nmain: main.py\ntools: [{{ name: same-tool }}]\n");
        Manifest::parse(text.as_bytes()).unwrap()
    };
    let mut names = ToolNames::default();
    names.add(&of(&one)).unwrap();
    let taken = names.add(&of(&other)).unwrap_err();
    assert_eq!((&taken.plugin, &taken.other), (&other, &one));
    assert_eq!(names.find(&taken.name), Some((&one, "same-tool")));
}

#[test]
fn patterns_cover_whole_names() {
    let covers =
        |pattern: &str, plugin: &str, tool: &str| pattern.parse::<ToolPattern>().unwrap().matches(&name(plugin), tool);
    assert!(covers("git.git_status", "git", "git_status"));
    assert!(covers("fs.*", "fs", "read") && covers("fs.*", "fs", "fs") && covers("fs", "fs", "fs"));
    assert!(covers("my_plugin.a_b", "my-plugin", "a_b") && covers("*_status", "git", "git_status"));
    assert!(covers("*", "fs", "read") && covers("a**c", "abc", "abc") && covers("g*.*t*", "git", "git"));
    for (pattern, plugin, tool) in [
        ("fs.*", "fs2", "read"),
        ("fs", "fs", "read"),
        ("fs.re", "fs", "read"),
        ("fs.read", "fs", "reads"),
        ("s.read", "fs", "read"),
        ("fs.*d", "fs", "write"),
    ] {
        assert!(!covers(pattern, plugin, tool), "{pattern}");
    }
    let may = |pattern: &str, plugin: &str| pattern.parse::<ToolPattern>().unwrap().may_match(&name(plugin));
    assert!(may("fs.*", "fs") && may("fs", "fs") && may("*_status", "git") && may("g*", "git"));
    assert!(!may("fs.*", "git") && !may("fs", "fs2") && !may("fs2.*", "fs"));
    for text in ["", "a b", "[a]", "a/b", &"a".repeat(129)] {
        assert!(text.parse::<ToolPattern>().is_err(), "{text}");
    }
}

#[test]
fn every_change_of_a_tool_is_more_than_before() {
    let grown = |older: &str, newer: &str| accepted(newer).growth(&accepted(older)).added;
    let tool = "tools: [{ name: a, description: x, annotations: { read_only: false } }]\n";
    assert_eq!(grown(tool, tool), [] as [&str; 0]);
    assert_eq!(grown(tool, &tool.replace("false", "true")), ["changed tool a"]);
    assert_eq!(grown(tool, &tool.replace("true", "false").replace(": x", ": z")), ["changed tool a"]);
    assert_eq!(grown(tool, &tool.replace("name: a", "name: b")), ["tool b"]);
    assert_eq!(grown(tool, "tools: []\n"), [] as [&str; 0]);
    assert_eq!(grown(tool, ""), ["tool demo"]);
    assert_eq!(grown("", tool), ["tool a"]);
    assert_eq!(grown("", ""), [] as [&str; 0]);
}
