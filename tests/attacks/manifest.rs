//! 106–120: hostile manifests.
#![allow(unreachable_pub, reason = "a test binary has no outside")]

use crate::support::author::pack;
use crate::target::Target;
use crate::{Attack, attack};

pub const TABLE: &[Attack] = &[
    attack(&[106, 107, 110, 111, 112, 114], features_of_yaml),
    attack(&[108, 109], size_and_depth),
    attack(&[113], unknown_keys),
    attack(&[115], encodings),
    attack(&[116], words_that_mean_something_else),
    attack(&[117, 118], names_and_versions),
    attack(&[119], entry_points),
    attack(&[120], permissions),
];

const VALID: &str = "name: my-plugin\nversion: 1.0.0\nmain: main.py\n";

fn archive(manifest: &[u8]) -> Vec<u8> {
    pack(&[("plugin.yaml", manifest), ("main.py", b"print(1)\n")])
}

/// Refuses a manifest, with a place for what is wrong.
fn refuse(target: &mut Target, what: &str, manifest: impl AsRef<[u8]>) {
    target.refuses(what, &archive(manifest.as_ref()), &["manifest-invalid"]);
}

/// The valid manifest with one more line.
fn plus(line: &str) -> String {
    format!("{VALID}{line}\n")
}

/// The valid manifest with one line in the place of another.
fn instead(key: &str, line: &str) -> String {
    VALID
        .lines()
        .map(|old| if old.starts_with(key) { line } else { old })
        .fold(String::new(), |text, line| text + line + "\n")
}

fn features_of_yaml(target: &mut Target) {
    let mut laughs = "x-a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (name, before) in
        [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f"), ("h", "g"), ("i", "h")]
    {
        let list = vec![format!("*{before}"); 9].join(", ");
        laughs = format!("{laughs}x-{name}: &{name} [{list}]\n");
    }
    refuse(target, "billion laughs", plus(&laughs));
    refuse(target, "an alias to itself", plus("x-a: &a [*a]"));
    refuse(target, "two documents", format!("{VALID}---\n{VALID}"));
    refuse(target, "a Python tag", plus("x-a: !!python/object/apply:os.system [id]"));
    refuse(target, "an unknown tag", plus("description: !secret x"));
    refuse(target, "a key twice", plus("version: 2.0.0"));
    refuse(target, "a merge key", plus("<<: { name: other }"));
}

fn size_and_depth(target: &mut Target) {
    refuse(target, "10,000 levels", plus(&format!("x-a: {}{}", "[".repeat(10_000), "]".repeat(10_000))));
    refuse(target, "17 levels", plus(&format!("x-a: {}{}", "[".repeat(17), "]".repeat(17))));
    refuse(target, "64 KiB and a byte", plus(&format!("# {}", "x".repeat(64 * 1024))));
}

fn unknown_keys(target: &mut Target) {
    let answer = target.install(&archive(plus("permisions: [chat_access]").as_bytes()), None);
    let problem = answer.expect_problem(422, "manifest-invalid");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("permissions"), "{problem}");
    assert_eq!((&problem["errors"][0]["line"], &problem["errors"][0]["column"]), (&4.into(), &1.into()));
    target.unchanged("a slip", 1);
    for key in ["status", "verified", "native", "mcp", "events", "Name"] {
        refuse(target, key, plus(&format!("{key}: x")));
    }
}

fn encodings(target: &mut Target) {
    refuse(target, "a byte order mark", format!("\u{feff}{VALID}"));
    let wide: Vec<u8> = VALID.encode_utf16().flat_map(u16::to_le_bytes).collect();
    refuse(target, "UTF-16", [&[0xff, 0xfe], wide.as_slice()].concat());
    refuse(target, "UTF-16 without a mark", wide);
    refuse(target, "not UTF-8", [VALID.as_bytes(), b"description: caf\xe9\n"].concat());
    refuse(target, "a control character", plus("description: a\x07b"));
    refuse(target, "NUL", [VALID.as_bytes(), b"description: a\0b\n"].concat());
}

fn words_that_mean_something_else(target: &mut Target) {
    for text in ["no", "on", "0o17", "1e3", "12:30:45", "~", "1.10", "0x1F", "2026-10-01"] {
        refuse(target, text, plus(&format!("author: {text}")));
        target.accepts(text, &archive(plus(&format!("author: \"{text}\"")).as_bytes()));
    }
}

fn names_and_versions(target: &mut Target) {
    let long = format!("name: {}", "a".repeat(200));
    for line in ["name: ../x", "name: a/b", "name: Plugin", "name: \"pl\u{430}gin\"", "name: -x", "name: \"\"", &long] {
        refuse(target, line, instead("name", line));
    }
    for line in ["version: 1.0.0; rm", "version: \"1\"", "version: latest", "version: \"1.0.0 \"", "version: 01.0.0"] {
        refuse(target, line, instead("version", line));
    }
}

fn entry_points(target: &mut Target) {
    for line in [
        "main: /bin/sh",
        "main: ../x",
        "main: a/../../x",
        "main: \"a\\0b\"",
        "main: --flag",
        "main: a\\b",
        "main: \"\"",
        "main: .",
    ] {
        refuse(target, line, instead("main", line));
    }
    let missing = archive(instead("main", "main: other.py").as_bytes());
    target.refuses("one that is not there", &missing, &["entrypoint-missing"]);
    let folder = pack(&[("plugin.yaml", instead("main", "main: src").as_bytes()), ("src/x.py", b"")]);
    target.refuses("a folder", &folder, &["entrypoint-missing"]);
}

fn permissions(target: &mut Target) {
    for line in [
        "permissions: [root]",
        "permissions: ['*']",
        "permissions: [network_acces]",
        "permissions: [plugins]",
        "permissions: [chat_access, chat_access]",
        "permissions: [network_access]\nnetwork: { allow: ['0.0.0.0'] }",
        "permissions: [network_access]\nnetwork: { allow: ['*'] }",
        "permissions: [network_access]\nnetwork: { allow: ['127.0.0.1:80'] }",
        "permissions: [network_access]\nnetwork: { allow: ['a b'] }",
        "permissions: [network_access]\nnetwork: { allow: ['example.com:0'] }",
        "permissions: [network_access]\nnetwork: { allow: ['https://user:pw@example.com'] }",
        "network: { allow: [example.com] }",
    ] {
        refuse(target, line, plus(line));
    }
    let answer = target.install(&archive(plus("permissions: [chat_access, root]").as_bytes()), None);
    let problem = answer.expect_problem(422, "manifest-invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/permissions/1");
    target.unchanged("an unknown permission", 1);
}
