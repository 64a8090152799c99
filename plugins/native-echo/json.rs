//! Finds members in JSON without making values of it. The text comes from the service, which has checked it; a text that
//! is no JSON leads to `None` or to a wrong value, never further.

/// The raw value of a member of an object; the last one if there are several.
pub(crate) fn member<'text>(object: &'text [u8], wanted: &[u8]) -> Option<&'text [u8]> {
    let mut found = None;
    members(object, |key, value| {
        if key == wanted {
            found = Some(value);
        }
    })?;
    found
}

/// Calls `take` with the name, without quotes, and the raw value of every member.
pub(crate) fn members<'text>(object: &'text [u8], mut take: impl FnMut(&'text [u8], &'text [u8])) -> Option<()> {
    let mut at = skip_spaces(object, 0);
    if object.get(at)? != &b'{' {
        return None;
    }
    at = skip_spaces(object, at + 1);
    if object.get(at)? == &b'}' {
        return Some(());
    }
    loop {
        let key_end = skip_string(object, at)?;
        let key = object.get(at + 1..key_end - 1)?;
        at = skip_spaces(object, key_end);
        if object.get(at)? != &b':' {
            return None;
        }
        at = skip_spaces(object, at + 1);
        let value_end = skip_value(object, at)?;
        take(key, object.get(at..value_end)?);
        at = skip_spaces(object, value_end);
        match object.get(at)? {
            b',' => at = skip_spaces(object, at + 1),
            b'}' => return Some(()),
            _ => return None,
        }
    }
}

/// The text of a string without escapes.
pub(crate) fn string(value: &[u8]) -> Option<&[u8]> {
    let text = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (!text.contains(&b'\\')).then_some(text)
}

fn skip_spaces(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// The position after the string that begins at `at`.
fn skip_string(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at)? != &b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The position after the value that begins at `at`. Brackets are counted and not matched.
fn skip_value(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    match text.get(at)? {
        b'"' => return skip_string(text, at),
        b'{' | b'[' => {}
        _ => {
            let begin = at;
            while !matches!(text.get(at), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n')) {
                at += 1;
            }
            return (at > begin).then_some(at);
        }
    }
    loop {
        match text.get(at)? {
            b'"' => at = skip_string(text, at)? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(object: &str, key: &str) -> Option<String> {
        member(object.as_bytes(), key.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn members_are_found_as_they_are_written() {
        let object = r#" { "a" : 1 ,"b":{"a":[2,"}"],"c":"\\\"]"}, "d":"x\"y" ,"e":-1.5e3,"f":null,"g":[],"h":{} } "#;
        for (key, value) in [
            ("a", "1"),
            ("b", r#"{"a":[2,"}"],"c":"\\\"]"}"#),
            ("d", r#""x\"y""#),
            ("e", "-1.5e3"),
            ("f", "null"),
            ("g", "[]"),
            ("h", "{}"),
        ] {
            assert_eq!(text(object, key).as_deref(), Some(value));
        }
        assert_eq!(text(object, "c"), None);
        assert_eq!(text("{}", "a"), None);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for object in
            ["", " ", "[]", "1", "\"a\"", "{", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":1", "{a:1}", "{\"a\":[}"]
        {
            assert_eq!(text(object, "a"), None, "{object}");
        }
    }

    #[test]
    fn every_cut_of_a_message_ends() {
        let message = br#"{"id":1,"params":{"a":["\\",{"b":"\""}],"c":"\u00e4"},"method":"invoke"}"#;
        for end in 0..message.len() {
            assert_eq!(member(&message[..end], b"method"), None);
        }
        assert_eq!(member(message, b"method").and_then(string), Some(&b"invoke"[..]));
    }
}
