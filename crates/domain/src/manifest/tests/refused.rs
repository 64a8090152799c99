//! Manifests that are refused, with the place that is blamed.

use super::*;

#[test]
fn all_mistakes_are_told_at_once() {
    let error =
        refused("nme: x\nversion: 1.0\nmain: ../x\npermissions: [network_acess]\nresources: { memory_mb: 5 }\n");
    let told: Vec<String> = error.fields().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 1, column 1: /nme: unknown key `nme`; did you mean `name`?",
            "line 1, column 1: /name: the key `name` is missing",
            "line 2, column 10: /version: `1.0` is not a version (unexpected end of input while parsing minor version \
             number); expected such as `1.0.0`",
            "line 3, column 7: /main: `../x` has an empty, `.` or `..` part; it is a path to a file below the package",
            "line 4, column 15: /permissions/0: unknown permission `network_acess`; did you mean `network_access`?",
            "line 5, column 25: /resources/memory_mb: expected 6 to 1099511627776, found `5`",
        ]
    );
    assert_eq!(error.to_string().split(':').next(), Some("plugin.yaml has 6 mistakes; the first"));
}

#[test]
fn names_versions_and_entry_points_are_strict() {
    let field = |key: &str, value: &str| {
        let text = with("");
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        refused(text.replace(line, &format!("{key}: {value}"))).fields()[0].clone()
    };
    for name in ["../x", "plаgin", &"a".repeat(200), "Demo", "a b", "no", "\"\"", "[a]"] {
        assert_eq!(field("name", name).pointer, "/name", "{name}");
    }
    for version in ["1.0.0; rm", "1.10", "v1.0.0", "\"\"", "1.0.0.0", "01.0.0", "latest"] {
        assert_eq!(field("version", version).pointer, "/version", "{version}");
    }
    for main in ["/bin/sh", "../x", "\"a\\0b\"", "--flag", "\"\"", "a/", "C:\\x.py", ".", "a/./b"] {
        assert_eq!(field("main", main).pointer, "/main", "{main}");
    }
}

#[test]
fn yaml_traps_in_text_fields_say_to_quote() {
    for trap in ["no", "0o17", "1e3", "12:30:45"] {
        assert_mistake(&format!("description: {trap}"), "/description", "in quotes");
    }
    assert_mistake("python: 3.10", "/python", "write \"3.10\" in quotes");
}

#[test]
fn a_name_in_the_form_of_an_id_has_its_own_code() {
    let text = format!("name: plugin-{}\nversion: 1.0.0\nmain: main.py\n", "a".repeat(32));
    assert_eq!(refused(&text).code(), Code::NameReserved);
    assert_eq!(refused(text + "main2: x\n").code(), Code::ManifestInvalid);
}

#[test]
fn reserved_runtimes_and_keys_are_never_accepted_and_dead() {
    for runtime in ["native", "mcp", "events"] {
        let error = refused(with(&format!("runtime: {runtime}")));
        assert_eq!((error.code(), error.fields()[0].pointer.as_str()), (Code::RuntimeUnsupported, "/runtime"));
        assert_mistake(&format!("{runtime}: []"), &format!("/{runtime}"), "reserved");
    }
    assert_mistake("runtime: pyhton", "/runtime", "did you mean `python`?");
}

#[test]
fn permissions_hosts_and_access_fit_together() {
    assert_mistake("permissions: ['*']", "/permissions/0", "unknown permission `*`");
    assert_mistake("permissions: [plugins]", "/permissions/0", "requires");
    assert_mistake("permissions: [chat_access, chat_access]", "/permissions/1", "twice");
    assert_mistake("permissions: [chat_access]\noptional_permissions: [chat_access]", "/optional_permissions/0", "too");
    assert_mistake("network: { allow: [a.example] }", "/network", "network_access");
    let network = |rule: &str| format!("permissions: [network_access]\nnetwork: {{ allow: [{rule}] }}");
    for rule in ["'*'", "0.0.0.0", "10.0.0.1", "https://a.example", "a.example/x", "'*.*.example'"] {
        assert_mistake(&network(rule), "/network/allow/0", "");
    }
    assert_mistake(&network("a.example, 'A.example:443'"), "/network/allow/1", "twice");
    for (rule, instead) in [
        ("localhost", "`host.plugbay.internal:443`"),
        ("'http://localhost:9099'", "`http://host.plugbay.internal:9099`"),
        ("'*.localhost'", "`host.plugbay.internal:443`"),
        ("'tcp://127.0.0.1:5432'", "`tcp://host.plugbay.internal:5432`"),
        ("'tcp://[::1]:5432'", "`tcp://host.plugbay.internal:5432`"),
    ] {
        assert_mistake(&network(rule), "/network/allow/0", instead);
        // A version that came in before goes on as it is.
        assert!(Manifest::parse_accepted(with(&network(rule)).as_bytes()).is_ok(), "{rule}");
    }
    assert_mistake(&network(""), "/network/allow", "no hosts");
    assert_mistake("access: { database_read: [chat] }", "/access/database_read", "not asked for");
    assert_mistake("permissions: [database_read]\naccess: { database_read: [] }", "/access/database_read", "no names");
    assert_mistake("permissions: [chat_access]\naccess: { chat_access: [x] }", "/access/chat_access", "unknown key");
    assert_mistake("permissions: [api_access]\naccess: { api_access: [../x] }", "/access/api_access/0", "name");
}

#[test]
fn single_fields_have_rules() {
    assert_mistake("license: Apache 2.0", "/license", "did you mean `Apache-2.0`?");
    assert_mistake("email: nobody", "/email", "e-mail");
    assert_mistake("homepage: javascript:alert(1)", "/homepage", "http");
    assert_mistake("class: My-Plugin", "/class", "Python class");
    assert_mistake("image: docker.io/evil:latest", "/image", "operator");
    assert_mistake("type: extention", "/type", "did you mean `extension`?");
    assert_mistake("plugbay: latest", "/plugbay", "range of versions");
    assert_mistake("dependencies: ['--index-url=http://x']", "/dependencies/0", "not a requirement");
    assert_mistake("requires: { demo: '*' }", "/requires/demo", "itself");
    assert_mistake("requires: { a_b: '*', a-b: '*' }", "/requires/a-b", "twice");
    assert_mistake("requires: { A: '*' }", "/requires/A", "plugin name");
    assert_mistake("hooks: [on_mesage]", "/hooks/0", "did you mean `on_message`?");
    assert_mistake("hooks: [on_message, {name: on_message}]", "/hooks/1", "twice");
    assert_mistake("hooks: [{name: on_message, priority: high}]", "/hooks/0/priority", "CRITICAL");
    assert_mistake("commands: [{name: demo}]", "/commands/0/name", "command");
    assert_mistake("commands: [{name: /a}, {name: /a}]", "/commands/1", "twice");
    assert_mistake("commands: [{}]", "/commands/0/name", "missing");
    assert_mistake("health: { interval_seconds: 0 }", "/health/interval_seconds", "expected 1");
    assert_mistake("resources: { cpus: 0 }", "/resources/cpus", "expected 0.01");
    assert_mistake("resources: { pids: -1 }", "/resources/pids", "whole number");
    assert_mistake("resources: []", "/resources", "expected a map, found a list");
    assert_mistake("tags: chat", "/tags", "expected a list, found `chat`");
    assert_mistake("description:", "/description", "found nothing");
    assert_mistake("author: \"a\\nb\"", "/author", "one line");
    assert_mistake("author: \"a\\eb\"", "/author", "control");
}

#[test]
fn what_is_not_a_map_is_refused() {
    for text in ["", "[]", "text", "a", "- name: x", "null"] {
        assert_eq!(refused(text).code(), Code::ManifestInvalid, "{text:?}");
    }
    assert_eq!(refused(vec![b' '; MAX_MANIFEST_BYTES + 1]).code(), Code::ManifestInvalid);
}
