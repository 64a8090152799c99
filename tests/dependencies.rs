//! Licences of all dependencies, and crates that must not come in, over `cargo metadata`.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::process::Command;

use serde_json::Value;

/// Licences a dependency may have; one of an expression's alternatives is enough.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("serde_yml", "it is unsound"),
    ("openssl-sys", "TLS is rustls with ring; OpenSSL needs a C library on every machine"),
    ("aws-lc-sys", "it needs a C build; ring does the work"),
    ("tokio-tar", "abandoned, with a known desync between headers (RUSTSEC-2025-0111)"),
];

/// Versions that are the first without a known fault.
const FLOORS: &[(&str, &str, &str)] = &[
    ("tar", "0.4.46", "headers and PAX records could disagree"),
    ("actix-http", "3.12.1", "request smuggling"),
    ("actix-multipart", "0.8.0", "a panic on malformed parts"),
];

fn packages() -> Vec<Value> {
    #[expect(clippy::disallowed_methods, reason = "asks cargo, which is running this test")]
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].take().as_array().unwrap().clone()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Whether the expression can be satisfied by accepted licences.
fn accepted(expression: &str) -> bool {
    // Some older crates write `MIT/Apache-2.0`.
    let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX);
    expression.is_ok_and(|expression| {
        expression.evaluate(|requirement| requirement.license.id().is_some_and(|id| LICENCES.contains(&id.name)))
    })
}

#[test]
fn every_dependency_has_an_accepted_licence() {
    let found: Vec<_> = packages()
        .iter()
        .filter(|package| !accepted(text(package, "license")))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_banned_crate_comes_in() {
    for package in packages() {
        let name = text(&package, "name");
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            panic!("{name}: {reason}; cargo tree -i {name} tells who brings it");
        }
    }
}

#[test]
fn known_faults_are_left_behind() {
    for package in packages() {
        let version: semver::Version = text(&package, "version").parse().unwrap();
        for (name, floor, fault) in FLOORS {
            let floor: semver::Version = floor.parse().unwrap();
            assert!(text(&package, "name") != *name || version >= floor, "{name} {version}: {fault}");
        }
    }
}

#[test]
fn licences_outside_the_list_are_found() {
    assert!(accepted("MIT OR GPL-3.0-only"));
    assert!(accepted("MIT/Apache-2.0"));
    assert!(!accepted("GPL-3.0-only"));
    assert!(!accepted("MIT AND AGPL-3.0-only"));
    assert!(!accepted(""));
}
