//! What marks a place that was made and not written.

/// Two parts, so that neither this file nor the test that looks for the mark has it.
const WORD: &str = concat!("UN", "WRITTEN");

/// The mark of this name.
pub(crate) fn of(name: &str) -> String {
    format!("{WORD} {name}")
}

/// A test that fails until the mark stands in none of these files.
pub(crate) fn test(name: &str, identifier: &str, up: &str, places: &[&str]) -> String {
    let places: Vec<String> = places.iter().map(|place| format!("{place:?}")).collect();
    let places = places.join(",\n        ");
    format!(
        "\
/// Fails until every place that `cargo xtask` made is written. Then tests of what it does take its place.
#[test]
fn {identifier}_is_written() {{
    let places = [
        {places},
    ];
    let mark = concat!(\"UN\", \"WRITTEN {name}\");
    let root = std::path::Path::new(env!(\"CARGO_MANIFEST_DIR\")).join({up:?});
    let mut left = Vec::new();
    for place in places {{
        let text = std::fs::read_to_string(root.join(place)).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(mark));
        left.extend(lines.map(|(at, line)| format!(\"{{place}}:{{}}: {{}}\", at + 1, line.trim())));
    }}
    assert!(left.is_empty(), \"to be written:\\n{{}}\", left.join(\"\\n\"));
}}
"
    )
}
