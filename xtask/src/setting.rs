//! Makes the places of a setting: `docs/development/adding-a-setting.md`.

use std::ops::Range;

use crate::edits::Edits;
use crate::mark;
use crate::name::{is_keyword, snake, split};

const SECTIONS: &str = "crates/config/src/sections";
const TESTS: &str = "crates/config/src/tests.rs";
const CHANGES: &str = "CHANGELOG.md";

/// How a number is kept, by the unit at the end of its key.
struct Unit {
    ending: &'static str,
    /// What the field ends with in place of the unit.
    field: &'static str,
    kind: &'static str,
    field_type: &'static str,
    default: &'static str,
    read: &'static str,
}

const UNITS: [Unit; 4] = [
    Unit {
        ending: "_seconds",
        field: "",
        kind: "Kind::Whole(1, 86_400)",
        field_type: "Duration",
        default: "60",
        read: "seconds",
    },
    Unit { ending: "_mb", field: "_bytes", kind: "MIB", field_type: "u64", default: "64", read: "mib" },
    Unit {
        ending: "_kb",
        field: "_bytes",
        kind: "Kind::Whole(1, 1 << 20)",
        field_type: "u64",
        default: "64",
        read: "kib",
    },
    Unit { ending: "", field: "", kind: "Kind::Whole(1, 1_000)", field_type: "usize", default: "8", read: "size" },
];

pub(crate) fn make(edits: &mut Edits, name: &str) -> Result<String, String> {
    let (section, key) = split(name, "the name of a setting such as `storage.cache_mb`")?;
    let head = format!(" at {section:?} {{");
    let (mut known, mut file) = (Vec::new(), None);
    for entry in edits.list(SECTIONS)? {
        let path = format!("{SECTIONS}/{entry}");
        let text = edits.text(&path)?;
        known.extend(
            text.lines().filter_map(|line| line.trim().split(" at \"").nth(1)?.strip_suffix("\" {")).map(str::to_owned),
        );
        let opens = text.lines().find(|line| line.trim_start().starts_with("pub struct") && line.ends_with(&head));
        if let Some(line) = opens {
            file = Some((path, line.trim().to_owned()));
        }
    }
    let Some((path, opening)) = file else {
        if known.iter().any(|known| known == section) {
            return Err(format!(
                "the struct of `{section}` is one of the domain: add the field there, and the key in {SECTIONS}/"
            ));
        }
        known.retain(|known| !known.is_empty());
        known.sort();
        known.dedup();
        return Err(format!(
            "there is no section `{section}`; expected one of {}. A new one is a file in {SECTIONS}/",
            known.join(", ")
        ));
    };
    let unit = UNITS.iter().find(|unit| key.ends_with(unit.ending)).ok_or("no unit fits")?;
    let field = format!("{}{}", key.strip_suffix(unit.ending).unwrap_or(key), unit.field);
    if is_keyword(&field) {
        return Err(format!("the field of `{name}` would be `{field}`, which is a word of Rust; choose another name"));
    }
    let block = block_of(edits.text(&path)?, &opening).ok_or_else(|| format!("{path}: `{opening}` has no end"))?;
    let text = &edits.text(&path)?[block];
    if text.contains(&format!(" {key:?} => ")) || text.contains(&format!(" {field}: ")) {
        return Err(format!("{path}: `{key}` or its field `{field}` is there already"));
    }
    let marked = mark::of(name);
    let Unit { kind, field_type, default, read, .. } = unit;
    let entry = format!(
        "        {key:?} => {field}: {field_type} {{
            kind: {kind},
            default: {default},
            read: {read},
            doc: \"{marked}: what it bounds, in which unit, and what is seen when it is hit.\",
        }}
"
    );
    insert(edits, &path, &opening, &entry)?;
    edits.import(&path, "crate::values", read)?;
    match *kind {
        "MIB" => edits.import(&path, "crate::setting", "MIB")?,
        _ => edits.import(&path, "crate::kind", "Kind")?,
    }
    if *field_type == "Duration" {
        edits.import(&path, "std::time", "Duration")?;
    }
    let test = mark::test(name, &snake(name), "../..", &[&path, CHANGES]);
    let tests = edits.text(TESTS)?;
    tests.push('\n');
    tests.push_str(&test);
    edits.at_end(CHANGES, "## Unreleased", "- ", &format!("- {marked}: what operators can set now.\n"))?;
    Ok(format!(
        "Fails until they are written: cargo test -p plugbay-config --lib {}\n\
         Then: PLUGBAY_BLESS=1 cargo test -p plugbay-config --lib writes docs/configuration.md and the schema.\n\
         Not made: what enforces it, and its tests. See docs/development/adding-a-setting.md\n",
        snake(name)
    ))
}

/// From the first line of a section to its end.
fn block_of(text: &str, opening: &str) -> Option<Range<usize>> {
    let from = text.find(&format!("    {opening}\n"))?;
    let length = text[from..].find("\n    }\n")?;
    Some(from..from + length + 1)
}

/// Inserts a key behind the last one of a section, before sections below it and fields that no key sets.
fn insert(edits: &mut Edits, path: &str, opening: &str, entry: &str) -> Result<(), String> {
    let text = edits.text(path)?;
    let block = block_of(text, opening).ok_or_else(|| format!("{path}: `{opening}` has no end"))?;
    let others = ["\n        sections {", "\n        beside {"];
    let others = others.iter().filter_map(|other| text[block.clone()].find(other)).min();
    text.insert_str(others.map_or(block.end, |other| block.start + other + 1), entry);
    Ok(())
}
