//! Units, standings, grants and risks.

use std::collections::BTreeMap;

use super::*;
use crate::{Manifest, Permission, PermissionRequest, PluginName};

fn manifest(extra: &str) -> Manifest {
    Manifest::parse(format!("name: demo\nversion: 1.0.0\nmain: main.py\n{extra}").as_bytes()).unwrap()
}

fn unit(text: &str) -> PermissionUnit {
    match text.split_once(':') {
        None => PermissionUnit::whole(text.parse().unwrap()),
        Some((permission, part)) => PermissionUnit::part(permission.parse().unwrap(), part).unwrap(),
    }
}

fn standing(extra: &str, granted: &[&str], denied: &[&str]) -> Standing {
    let granted: Vec<_> = granted.iter().map(|text| unit(text)).collect();
    let denied: Vec<_> = denied.iter().map(|text| unit(text)).collect();
    let held = granted.iter().map(|unit| (unit, Decision::Granted));
    Standing::of(&manifest(extra), held.chain(denied.iter().map(|unit| (unit, Decision::Denied))))
}

fn texts(requests: &[PermissionRequest]) -> Vec<String> {
    requests.iter().map(ToString::to_string).collect()
}

#[test]
fn a_unit_covers_what_is_narrower() {
    for (wide, narrow) in [
        ("network_access", "network_access:a.example"),
        ("network_access:*.example.org", "network_access:a.example.org"),
        ("database_read", "database_read:chat"),
        ("database_read:chat", "database_read:chat"),
    ] {
        assert!(unit(wide).covers(&unit(narrow)), "{wide} {narrow}");
    }
    for (one, other) in [
        ("network_access:a.example", "network_access"),
        ("network_access:a.example.org", "network_access:*.example.org"),
        ("network_access:a.example", "network_access:a.example:8443"),
        ("database_read:chat", "database_read:crm"),
        ("database_read", "database_write"),
    ] {
        assert!(!unit(one).covers(&unit(other)), "{one} {other}");
    }
    assert!(PermissionUnit::part(Permission::ChatAccess, "x").is_err());
    assert!(PermissionUnit::part(Permission::NetworkAccess, "*").is_err());
}

const TWO_HOSTS: &str = "permissions: [network_access, database_read]\noptional_permissions: [filesystem_read]\n\
    network: { allow: [a.example, b.example] }\naccess: { database_read: [chat, crm] }\nrequires: { other: '^1' }\n";

#[test]
fn what_is_open_is_told_in_the_words_of_the_manifest() {
    let none = standing(TWO_HOSTS, &[], &[]);
    assert_eq!(texts(&none.pending()), ["network_access", "database_read:chat,crm", "plugins:other"]);
    let some = standing(TWO_HOSTS, &["network_access:a.example", "database_read:crm"], &["filesystem_read"]);
    assert_eq!(texts(&some.pending()), ["network_access:b.example:443", "database_read:chat", "plugins:other"]);
    assert_eq!(texts(&some.granted()), ["network_access:a.example:443", "database_read:crm"]);
    assert_eq!(texts(&some.denied()), ["filesystem_read"]);
    let all = ["network_access:a.example", "network_access:b.example", "database_read:crm", "database_read:chat"];
    let all = standing(TWO_HOSTS, &[&all[..], &["plugins:other"]].concat(), &[]);
    assert!(all.is_complete());
    assert_eq!(texts(&all.granted()), ["network_access", "database_read:crm,chat", "plugins:other"]);
}

#[test]
fn a_denied_permission_is_refused_and_not_pending() {
    let denied = standing("permissions: [chat_access]", &[], &["chat_access"]);
    assert!(!denied.is_complete() && denied.pending().is_empty());
    assert_eq!(texts(&denied.refused()), ["chat_access"]);
}

#[test]
fn a_whole_permission_is_met_by_a_part_and_parts_beyond_what_is_asked_count_for_nothing() {
    let whole = standing("permissions: [network_access]", &["network_access:a.example"], &[]);
    assert!(whole.is_complete());
    assert_eq!(texts(&whole.granted()), ["network_access:a.example:443"]);
    let beyond = standing("permissions: [network_access]\nnetwork: { allow: [b.example] }", &["network_access"], &[]);
    assert!(!beyond.is_complete() && beyond.grants() == Grants::default());
}

#[test]
fn nothing_is_allowed_without_a_grant() {
    let none = Grants::default();
    let other: PluginName = "other".parse().unwrap();
    assert!(none.network().is_none() && none.folder("docs").is_none() && !none.api("x") && !none.chat());
    assert!(!none.admin() && !none.edge(&other) && !none.database("chat", Access::Read));
    assert!(none.notices().is_empty() && !none.reach_data());
}

#[test]
fn grants_allow_what_they_say_and_no_more() {
    let units = ["database_read:chat", "filesystem_read:docs", "filesystem_write:out", "plugins:other", "api_access"];
    let grants = Grants::of(&units.map(unit));
    let name = |text: &str| text.parse::<PluginName>().unwrap();
    assert!(grants.database("chat", Access::Read) && !grants.database("chat", Access::Write));
    assert!(!grants.database("crm", Access::Read));
    assert_eq!(grants.folder("docs"), Some(FolderAccess::ReadOnly));
    assert_eq!((grants.folder("out"), grants.folder("else")), (Some(FolderAccess::ReadWrite), None));
    assert!(grants.edge(&name("other")) && !grants.edge(&name("another")) && grants.api("anything"));
    let json = serde_json::to_value(grants.notices()).unwrap();
    assert_eq!(json[0], serde_json::json!({"permission": "filesystem_read", "scope": ["docs"]}));
}

fn reach(holds_data: bool, egress: Egress, calls: &[&str]) -> Reach {
    let calls = calls.iter().map(|name| name.parse().unwrap()).collect();
    Reach { holds_data, egress, calls, calls_all: false }
}

fn leak(own: &str, plugins: &[(&str, Reach)]) -> bool {
    let plugins: BTreeMap<PluginName, Reach> =
        plugins.iter().map(|(name, reach)| (name.parse().unwrap(), reach.clone())).collect();
    leaks(&own.parse().unwrap(), &plugins)
}

#[test]
fn data_leaks_through_open_egress_and_through_calls_in_either_direction() {
    assert!(leak("a", &[("a", reach(true, Egress::Open, &[]))]));
    assert!(!leak("a", &[("a", reach(true, Egress::Named, &[]))]));
    assert!(!leak("a", &[("a", reach(false, Egress::Open, &[]))]));
    let chain = |calls: &[&str]| {
        [
            ("a", reach(true, Egress::None, calls)),
            ("b", reach(false, Egress::None, &["c"])),
            ("c", reach(false, Egress::Open, &[])),
        ]
    };
    for own in ["a", "b", "c"] {
        assert!(leak(own, &chain(&["b"])), "{own}");
        assert!(!leak(own, &chain(&[])), "{own}");
    }
    let fetch = [("a", reach(false, Egress::Open, &["b"])), ("b", reach(true, Egress::None, &[]))];
    assert!(leak("a", &fetch) && leak("b", &fetch));
    // What two others do together is theirs to accept.
    let aside = [("a", reach(false, Egress::None, &[])), ("b", reach(true, Egress::Open, &["a"]))];
    assert!(!leak("a", &aside) && leak("b", &aside));
    let admin = Reach { calls_all: true, ..reach(true, Egress::None, &[]) };
    assert!(leak("a", &[("a", admin), ("z", reach(false, Egress::Open, &[]))]));
}

#[test]
fn a_host_of_a_service_that_serves_anybody_is_open_egress() {
    let reach = |rule: &str| {
        let extra = format!("permissions: [network_access, chat_access]\nnetwork: {{ allow: [\"{rule}\"] }}\n");
        let manifest = manifest(&extra);
        (manifest.asked_reach(), manifest.warnings().into_iter().find(|warning| warning.contains(rule)))
    };
    for rule in ["*.nip.io", "10-0-0-1.sslip.io", "webhook.site", "http://d2f1.ngrok.io:8080", "tcp://x.oast.fun:25"] {
        let (reach, warning) = reach(rule);
        assert_eq!(reach.egress, Egress::Open, "{rule}");
        assert!(leak("a", &[("a", reach)]), "{rule}: it has to be accepted by name");
        assert!(warning.is_some_and(|warning| warning.contains("anybody")), "{rule}");
    }
    for rule in ["api.example.com", "*.example.com", "tcp://10.0.0.1:25"] {
        let (reach, warning) = reach(rule);
        assert_eq!((reach.egress, warning), (Egress::Named, None), "{rule}");
    }
}

#[test]
fn a_secret_counts_as_data_where_the_plugin_gets_to_see_it() {
    let risks = |secret: &str| {
        let schema = format!("config_schema: {{ key: {{ type: string, secret: {secret} }} }}\n");
        manifest(&format!("permissions: [network_access]\n{schema}")).risks()
    };
    assert_eq!(risks("true"), [Risk::DataEgress]);
    assert_eq!(risks("{ hosts: [api.example.com] }"), [Risk::DataEgress], "it is delivered as well");
    assert_eq!(risks("{ hosts: [api.example.com], deliver: false }"), []);
    // That it becomes delivered later is a decision of its own.
    let with = |deliver: &str| {
        let secret = format!("{{ hosts: [api.example.com], deliver: {deliver} }}");
        manifest(&format!("config_schema: {{ key: {{ type: string, secret: {secret} }} }}\n"))
    };
    assert_eq!(with("true").growth(&with("false")).added, ["secret key delivered to the plugin"]);
}
