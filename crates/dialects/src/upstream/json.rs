//! JSON of strangers.

use serde_json::Value;

/// Reads a value. Surrogates that stand alone, which Python programs write, become replacement characters.
pub(super) fn read(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => match with_paired_surrogates(text) {
            Some(text) => serde_json::from_str(&text).map_err(|error| problem(&error)),
            None => Err(problem(&error)),
        },
    }
}

fn problem(error: &serde_json::Error) -> String {
    // Without the text: it may hold a secret, and is the upstream's.
    format!("it is not JSON (line {}, column {})", error.line(), error.column())
}

/// The text without surrogates that stand alone; nothing where there are none.
fn with_paired_surrogates(text: &str) -> Option<String> {
    const BAD: &str = "\\ufffd";
    let bytes = text.as_bytes();
    let unit = |at: usize| {
        let escape = bytes.get(at..at + 6)?;
        let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let (mut out, mut at, mut copied, mut is_changed) = (String::with_capacity(text.len()), 0, 0, false);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let length = match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                out.push_str(&text[copied..at]);
                out.push_str(BAD);
                (copied, is_changed) = (at + 6, true);
                6
            }
            Some(_) => 6,
            None => 2,
        };
        at += length;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    is_changed.then_some(out)
}

/// A member that is a text with something in it.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A member that is a count.
pub(super) fn count(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

/// A small number, such as of a choice; 0 where it is missing.
pub(super) fn index(value: &Value, name: &str) -> u32 {
    count(value, name).and_then(|index| u32::try_from(index).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        for (text, expected) in [
            (r#""a\ud83d\ude00b""#, "a\u{1f600}b"),
            (r#""a\ud83db""#, "a\u{fffd}b"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\\ud83d\ud83d\ud83d\ude00""#, "\\ud83d\u{fffd}\u{1f600}"),
        ] {
            assert_eq!(read(text), Ok(Value::from(expected)), "{text}");
        }
        for text in ["", "{", "\"\\ud8", "\"\\", "<html>", "\"\\ud800"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
