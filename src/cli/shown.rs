//! Foreign text on its way to a terminal.

pub(super) use crate::domain::{entry, printable};

/// How deep a value is indented per level.
const INDENT: &str = "  ";

/// JSON with line breaks. Works on the text, because numbers would lose digits on the way through a value.
pub(super) fn pretty(json: &str) -> String {
    let mut shown = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut characters = json.chars().peekable();
    let line = |shown: &mut String, depth: usize| {
        shown.push('\n');
        shown.push_str(&INDENT.repeat(depth));
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                shown.push(character);
                while let Some(inner) = characters.next() {
                    shown.push(inner);
                    match inner {
                        '\\' => shown.extend(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                shown.push(character);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    shown.push(end);
                } else {
                    depth += 1;
                    line(&mut shown, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut shown, depth);
                shown.push(character);
            }
            ',' => {
                shown.push(character);
                line(&mut shown, depth);
            }
            ':' => shown.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indented_json_is_the_same_json() {
        let texts = [
            r#"{"a":[1,{"b":"x,{}[]:\"\\"}],"c":{},"d":[ ],"e":null}"#,
            "[]",
            "3",
            r#""\\""#,
            r#"{"n": 123456789012345678901234567890.10}"#,
        ];
        for text in texts {
            let indented = pretty(text);
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&indented), value(text), "{indented}");
            assert_eq!(pretty(&indented), indented);
        }
        assert_eq!(
            pretty(r#"{"a":[1,{"b":2}],"c":{}}"#),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": {}\n}"
        );
        assert!(pretty(texts[4]).contains("123456789012345678901234567890.10"));
    }
}
