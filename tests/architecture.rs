//! The direction of imports, as data: a module may name only the modules listed for it. Also the length of files.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the program may name in `crate::…`; nothing names what is above it. The rooms are crates in
/// `crates/`, which have short names in the program and say in their manifests what they may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("telemetry", &["config", "domain"]),
    ("startup", &["api", "config", "domain", "egress", "fleet", "operations", "shutdown", "store"]),
    (
        "cli",
        &["analyze", "backup", "config", "databases", "domain", "package", "scanner", "startup", "telemetry", "wire"],
    ),
];

/// What each crate may use of the others.
const CRATES: &[(&str, &[&str])] = &[
    ("analyze", &["domain"]),
    ("api", &["chat", "config", "dialects", "domain", "fleet", "operations", "registry", "runtime", "wire"]),
    ("backup", &["domain"]),
    ("chat", &["dialects", "domain", "fleet", "operations", "registry", "runtime", "store"]),
    ("config", &["domain"]),
    ("confine", &[]),
    ("data-dir", &["domain"]),
    ("databases", &["config", "confine", "domain", "runtime"]),
    ("dialects", &[]),
    ("domain", &["suffixes"]),
    ("egress", &["config", "domain", "runtime"]),
    (
        "fleet",
        &[
            "config",
            "data-dir",
            "databases",
            "domain",
            "egress",
            "protocol",
            "registry",
            "runtime",
            "sandbox",
            "session",
            "store",
        ],
    ),
    (
        "operations",
        &[
            "analyze",
            "backup",
            "config",
            "data-dir",
            "databases",
            "domain",
            "egress",
            "fleet",
            "package",
            "protocol",
            "registry",
            "runtime",
            "sandbox",
            "scanner",
            "session",
            "store",
        ],
    ),
    ("package", &["domain"]),
    ("protocol", &["domain"]),
    ("registry", &["domain", "store"]),
    ("runtime", &["domain"]),
    ("sandbox", &["config", "domain", "runtime"]),
    ("scanner", &["analyze", "config", "confine", "domain"]),
    ("session", &["config", "databases", "domain", "egress", "protocol", "runtime", "sandbox", "store"]),
    ("store", &["domain"]),
    ("suffixes", &[]),
    ("wire", &["domain"]),
];

/// Foreign crates that one manifest alone may name, tests aside.
const OWNED: &[(&str, &str)] = &[
    ("sqlx", "crates/store"),
    ("rusqlite", "crates/databases"),
    ("actix-web", "crates/api"),
    ("actix-multipart", "crates/api"),
    ("clap", "."),
    ("bollard", "crates/sandbox"),
    ("serde_yaml", "crates/domain"),
    ("ruff_python_parser", "crates/analyze"),
    ("goblin", "crates/analyze"),
];

/// Foreign crates of the program that one module alone may name.
const OWNED_BY_MODULE: &[(&str, &str)] = &[("clap", "cli")];

/// Longest hand-written file.
const MAX_LINES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder whose name ends so.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text without comments and without what stands in quotes; line breaks stay.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if first == '"' {
            let mut end = 1;
            while end < rest.len() && !rest[end..].starts_with('"') {
                end += if rest[end..].starts_with('\\') {
                    2
                } else {
                    rest[end..].chars().next().map_or(1, char::len_utf8)
                };
            }
            let literal = &rest[..(end + 1).min(rest.len())];
            code.extend(literal.chars().filter(|character| *character == '\n'));
            rest = &rest[literal.len()..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// Every path that the code names, with its line: `use` trees are spelled out, `super` is resolved.
fn paths(module: &[String], text: &str) -> Vec<(usize, Vec<String>)> {
    let code = code_of(text);
    let mut found = Vec::new();
    for root in ["crate::", "super::"] {
        let mut from = 0;
        while let Some(at) = code[from..].find(root).map(|at| at + from) {
            from = at + root.len();
            let before = code[..at].chars().next_back();
            if before.is_some_and(|character| character.is_alphanumeric() || character == '_' || character == ':') {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let (mut base, mut rest) = (Vec::new(), &code[from..]);
            if root == "super::" {
                base = module.to_vec();
                base.pop();
                while let Some(further) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = further;
                }
            }
            for path in tree(rest) {
                found.push((line, base.iter().cloned().chain(path).collect()));
            }
        }
    }
    found
}

/// Spells out `a::{b, c::d}`.
fn tree(text: &str) -> Vec<Vec<String>> {
    let word: String = text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
    let rest = &text[word.len()..];
    if word.is_empty() {
        let Some(inside) = rest.strip_prefix('{') else { return vec![Vec::new()] };
        return split_list(inside).iter().flat_map(|item| tree(item)).collect();
    }
    let Some(further) = rest.strip_prefix("::") else { return vec![vec![word]] };
    tree(further).into_iter().map(|path| [vec![word.clone()], path].concat()).collect()
}

/// The items of a list up to its closing brace.
fn split_list(text: &str) -> Vec<String> {
    let (mut items, mut depth) = (vec![String::new()], 0);
    for character in text.chars() {
        match character {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth += i32::from(character == '{') - i32::from(character == '}');
                items.last_mut().unwrap().push(character);
            }
        }
    }
    items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// Modules of a file below src/, such as `["store", "audit"]`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').map(str::to_owned).collect()
}

/// Names by which the program knows the crates below it: what its `lib.rs` gives on.
fn below() -> Vec<String> {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let given = lib.lines().filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix(';'));
    let names = given.flat_map(|path| match path.split_once(" as ") {
        Some((_, name)) => vec![name.to_owned()],
        None => tree(path).into_iter().filter_map(|path| path.last().cloned()).collect(),
    });
    names.collect()
}

/// Imports of one file that are not allowed, as `file:line: …`.
fn violations(file: &str, text: &str) -> Vec<String> {
    let module = module_of(file);
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let own = module[0].as_str();
    let Some(allowed) = allowed.get(own) else {
        return if own == "lib" || own == "main" {
            Vec::new()
        } else {
            vec![format!("{file}: `{own}` is not in the list")]
        };
    };
    let (mut found, below) = (Vec::new(), below());
    for (line, path) in paths(&module, text) {
        let Some(target) = path.first().map(String::as_str) else { continue };
        let is_module = below.iter().any(|name| name == target) || ALLOWED.iter().any(|(name, _)| *name == target);
        if is_module && target != own && !allowed.contains(&target) {
            found.push(format!("{file}:{line}: `{own}` must not name `{target}`"));
        }
    }
    let code = code_of(text);
    for (name, owner) in OWNED_BY_MODULE.iter().filter(|(_, owner)| *owner != own) {
        for (index, line) in code.lines().enumerate() {
            let names = line.match_indices(&format!("{name}::")).any(|(at, _)| {
                !line[..at].ends_with(|character: char| character.is_alphanumeric() || character == '_')
            });
            if names {
                found.push(format!("{file}:{}: only `{owner}` may name the crate `{name}`", index + 1));
            }
        }
    }
    found
}

#[test]
fn modules_name_only_what_is_below_them() {
    let src = root().join("src");
    let mut found = Vec::new();
    for path in files(&src, &[".rs"]) {
        let file = path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        found.extend(violations(&file, &fs::read_to_string(&path).unwrap()));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_form_of_an_upward_import_is_found() {
    let forms = [
        "use crate::startup::Running;",
        "use crate::{domain::Code, startup::Running};",
        "use crate::{\n    domain::{Code, Digest},\n    startup,\n};",
        "pub use crate::startup;",
        "use super::super::super::cli::run;",
        "fn f() { crate::startup::run() }",
        "use clap::Parser; use crate::startup::Running;",
    ];
    for form in forms {
        assert!(!violations("telemetry/log/rows.rs", form).is_empty(), "{form}");
    }
    assert_eq!(
        violations("telemetry/log.rs", "\n\nuse crate::egress::Exit;"),
        ["telemetry/log.rs:3: `telemetry` must not name `egress`"]
    );
    assert_eq!(violations("startup.rs", "use clap::Parser;"), ["startup.rs:1: only `cli` may name the crate `clap`"]);
}

#[test]
fn allowed_imports_are_not_found() {
    let fine = [
        "use crate::domain::{Code, Refusal};",
        "use super::StoreError;",
        "// crate::startup is above\nlet text = \"crate::startup\";",
        "use super::super::super::domain::Code;",
        "mycrate::startup::run()",
    ];
    for form in fine {
        assert_eq!(violations("telemetry/log/rows.rs", form), Vec::<String>::new(), "{form}");
    }
}

/// The names under `[dependencies]` of a manifest. The tests' own are under another heading.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let (_, rest) = text.split_once("\n[dependencies]\n").unwrap_or_default();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(['.', ' '])?.0.to_owned())).collect()
}

#[test]
fn crates_use_only_what_is_below_them() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let own = dependencies(&folder.join("Cargo.toml"));
        let mut used: Vec<_> = own.iter().filter_map(|name| name.strip_prefix("plugbay-")).collect();
        used.sort_unstable();
        found.push((name, used.join(" ")));
    }
    found.sort();
    let wanted: Vec<_> = CRATES.iter().map(|(name, uses)| ((*name).to_owned(), uses.join(" "))).collect();
    assert_eq!(found, wanted);
}

#[test]
fn what_one_crate_owns_stands_in_no_other_manifest() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let manifests: Vec<_> = crates.chain([root().to_owned()]).map(|folder| folder.join("Cargo.toml")).collect();
    for (name, owner) in OWNED {
        let owners: Vec<_> =
            manifests.iter().filter(|manifest| dependencies(manifest).iter().any(|used| used == name)).collect();
        assert_eq!(owners, [&root().join(owner).join("Cargo.toml")], "{name}");
    }
}

/// Where what answers plugins in a trial may be named. `serve`, the API and the configuration are not among them, so
/// that no service can be made to answer by it.
const OF_TRIALS: [&str; 8] = [
    "crates/session/src/host/mod.rs",
    "crates/session/src/host/stand_in/",
    "src/cli/trial/",
    "crates/fleet/src/lib.rs",
    "crates/fleet/src/order.rs",
    "crates/operations/src/lib.rs",
    "crates/operations/src/open.rs",
    "src/startup.rs",
];

#[test]
fn only_a_trial_brings_in_what_answers_for_the_service() {
    let (mut named, mut started) = (Vec::new(), Vec::new());
    for path in ["src", "crates"].iter().flat_map(|folder| files(&root().join(folder), &[".rs"])) {
        let file = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        let code = code_of(&fs::read_to_string(&path).unwrap());
        let is_listed = OF_TRIALS.iter().any(|listed| file.starts_with(listed));
        if code.contains("StandIn") && !is_listed {
            named.push(file.clone());
        }
        if code.contains("start_trial(") {
            started.push(file);
        }
    }
    assert_eq!(named, Vec::<String>::new());
    assert_eq!(started, ["src/cli/trial/service.rs", "src/startup.rs"]);
}

#[test]
fn hand_written_files_stay_short() {
    let endings = [".rs", ".py", ".sh", ".go", ".cjs", ".sql"];
    let folders = [
        "src",
        "crates",
        "tests",
        "scripts",
        "benches",
        "fuzz",
        "migrations",
        "plugin-template",
        "sdk",
        "shim",
        "xtask",
        "plugins",
    ];
    let long: Vec<_> = folders
        .iter()
        .flat_map(|folder| files(&root().join(folder), &endings))
        .filter_map(|path| {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            (lines > MAX_LINES).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "longer than {MAX_LINES} lines:\n{}", long.join("\n"));
}
