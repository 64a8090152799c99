//! What a manifest asks for, and what counts as more.

use super::*;

fn growth(old: &str, new: &str) -> Vec<String> {
    accepted(&with(new)).growth(&accepted(&with(old))).added
}

#[test]
fn requests_are_narrowed_by_access_and_hold_the_edges() {
    let json = serde_json::to_value(accepted(FULL).requested()).unwrap();
    let wanted = serde_json::json!({
        "required": [
            "network_access",
            "chat_access",
            { "permission": "database_read", "scope": ["chat"] },
            { "permission": "plugins", "scope": ["other-plugin"] },
        ],
        "optional": [{ "permission": "filesystem_read", "scope": ["docs"] }],
    });
    assert_eq!(json, wanted);
}

#[test]
fn network_beside_data_is_a_risk() {
    let leaks = |extra: &str| accepted(&with(extra)).asked_reach().reaches_out_with_data();
    assert!(!leaks("permissions: [network_access]"));
    assert!(!leaks("permissions: [chat_access, database_read]"));
    for data in ["chat_access", "database_read", "database_write", "filesystem_read", "filesystem_write", "api_access"]
    {
        let extra = format!("permissions: [{data}]\noptional_permissions: [network_access]");
        assert!(leaks(&extra), "{data}");
    }
    let secret = "permissions: [network_access]\nconfig_schema: { key: { type: string, secret: true } }";
    assert!(leaks(secret));
}

#[test]
fn nothing_more_is_no_growth() {
    let full = accepted(FULL);
    assert_eq!(full.growth(&full), Growth::default());
    assert!(growth("permissions: [chat_access]", "optional_permissions: [chat_access]").is_empty());
    let two = "permissions: [network_access]\nnetwork: { allow: ['*.example.org', b.example] }";
    assert!(growth(two, "permissions: [network_access]\nnetwork: { allow: [a.example.org] }").is_empty());
    assert!(growth("resources: { memory_mb: 64 }", "resources: { memory_mb: 32 }").is_empty());
    assert!(
        growth("permissions: [database_read]", "permissions: [database_read]\naccess: { database_read: [a] }")
            .is_empty()
    );
}

#[test]
fn every_kind_of_more_is_named() {
    let grown =
        accepted(FULL).growth(&accepted("name: my-plugin\nversion: 0.9.0\nmain: run\nresources: { memory_mb: 64 }"));
    assert_eq!(
        grown.added,
        [
            "network_access",
            "chat_access",
            "database_read",
            "filesystem_read",
            "host api.example.com:443",
            "host *.example.org:8443",
            "host http://intranet.example:80",
            "host tcp://db.example:5432",
            "database_read chat",
            "filesystem_read docs",
            "requires other-plugin",
            "hook on_message",
            "hook on_file_upload",
            "command /myplugin",
            "runtime python",
            "image python",
            "tool sum-up",
            "memory_mb 512",
            "cpu_shares 1024",
            "pids 64",
            "tmp_mb 64",
            "data_mb 16",
            "timeout_seconds 30",
            "max_concurrency 16",
            "cpus 0.5",
        ]
    );
    assert!(grown.removed.contains(&"runtime exec".to_owned()));
}

#[test]
fn widening_is_growth() {
    let network = |rest: &str| format!("permissions: [network_access]\n{rest}");
    let listed = network("network: { allow: [a.example] }");
    assert_eq!(growth(&listed, &network("")), ["every public host"]);
    assert_eq!(growth(&network(""), &listed), ["host a.example:443"]);
    assert_eq!(growth(&listed, &network("network: { allow: ['a.example:8443'] }")), ["host a.example:8443"]);
    assert_eq!(growth("optional_permissions: [chat_access]", "permissions: [chat_access]"), ["chat_access (required)"]);
    let access = "permissions: [database_read]\naccess: { database_read: [a] }";
    assert_eq!(growth(access, "permissions: [database_read]"), ["database_read everywhere"]);
    assert_eq!(growth(access, "permissions: [database_read]\naccess: { database_read: [b] }"), ["database_read b"]);
    assert_eq!(
        growth("hooks: [on_message]", "hooks: [{ name: on_message, on_failure: block }]"),
        ["hook on_message that can block"]
    );
    assert_eq!(growth("resources: { memory_mb: 64 }", ""), ["memory_mb by default"]);
    let secret = |hosts: &str| format!("config_schema: {{ k: {{ type: string, secret: {{ hosts: [{hosts}] }} }} }}");
    assert_eq!(growth(&secret("a.example"), &secret("b.example")), ["secret k sent to b.example:443"]);
    let sent = |header: &str| {
        format!("config_schema: {{ k: {{ type: string, secret: {{ hosts: [a.example], header: {header} }} }} }}")
    };
    assert_eq!(growth(&secret("a.example"), &sent("X-Key")), ["secret k sent as x-key"]);
    assert_eq!(growth(&sent("X-Key"), &secret("a.example")), ["secret k sent as authorization"]);
    assert_eq!(growth(&sent("x-key"), &sent("X-KEY")), Vec::<String>::new());
    assert_eq!(growth(&sent("authorization"), &secret("a.example")), Vec::<String>::new());
}
