//! The rules every payload keeps before it is framed, and every line before it is believed.
//!
//! Valid JSON holds line breaks only between tokens, so turning them into spaces changes no value; left as they are,
//! a payload such as `{}\n{"jsonrpc":"2.0","method":"shutdown"…}` would forge a message. Duplicate keys and lone surrogates are
//! read differently by different parsers, so what was checked here might not be what a plugin sees.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::MAX_DEPTH;

/// Keys of one object that are compared one by one; beyond it a set takes over, so that many keys cost no square.
const FEW_KEYS: usize = 8;

/// Characters of a number without an exponent that every reader can hold.
const SURELY_FINITE: usize = 300;

/// Which rule a payload breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HygieneError {
    /// Not JSON at all.
    #[error("it is not valid JSON")]
    NotJson,
    /// Too many levels.
    #[error("it nests deeper than {most} levels")]
    TooDeep {
        /// How many are accepted.
        most: usize,
    },
    /// An object names a key twice.
    #[error("the key `{key}` stands twice in one object")]
    DuplicateKey {
        /// Which one, escaped and cut.
        key: String,
    },
    /// Half of a surrogate pair, which is no character.
    #[error("it has a lone surrogate")]
    LoneSurrogate,
    /// A number such as 1e400, which is infinite to some readers and an error to others.
    #[error("it has a number that is too large")]
    NumberTooLarge,
}

/// A payload of a caller that may be framed: checked, and on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(String);

impl Payload {
    /// Checks a payload and puts it on one line.
    pub fn new(raw: &RawValue) -> Result<Self, HygieneError> {
        check(raw.get(), MAX_DEPTH)?;
        let text = raw.get();
        let one_line = if text.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
            text.replace(['\n', '\r'], " ")
        } else {
            text.to_owned()
        };
        Ok(Self(one_line))
    }

    /// A payload of our own making.
    pub fn of(value: &serde_json::Value) -> Self {
        // `Value` holds every key once, no surrogates, and prints on one line.
        Self(value.to_string())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks text that a parser has already found to be JSON; anything else is [`HygieneError::NotJson`] or passes.
pub fn check(text: &str, max_depth: usize) -> Result<(), HygieneError> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    let mut levels: Vec<Level<'_>> = Vec::new();
    while let Some(byte) = scan.next() {
        match byte {
            b'{' | b'[' => {
                if levels.len() >= max_depth {
                    return Err(HygieneError::TooDeep { most: max_depth });
                }
                levels.push(if byte == b'{' { Level::Object(Keys::default()) } else { Level::List });
            }
            b'}' | b']' => {
                levels.pop();
            }
            b',' => {
                if let Some(Level::Object(keys)) = levels.last_mut() {
                    keys.expected = true;
                }
            }
            b'"' => {
                let string = scan.string()?;
                if let Some(Level::Object(keys)) = levels.last_mut()
                    && keys.expected
                {
                    keys.expected = false;
                    keys.add(string)?;
                }
            }
            b'-' | b'0'..=b'9' => scan.number()?,
            _ => {}
        }
    }
    Ok(())
}

enum Level<'a> {
    Object(Keys<'a>),
    List,
}

/// The keys of one object so far.
struct Keys<'a> {
    /// Whether the next string is a key.
    expected: bool,
    few: Vec<std::borrow::Cow<'a, str>>,
    many: HashSet<std::borrow::Cow<'a, str>>,
}

impl Default for Keys<'_> {
    fn default() -> Self {
        Self { expected: true, few: Vec::new(), many: HashSet::new() }
    }
}

impl<'a> Keys<'a> {
    fn add(&mut self, key: Text<'a>) -> Result<(), HygieneError> {
        let key = key.decode()?;
        let is_new = if self.few.len() < FEW_KEYS && self.many.is_empty() {
            let is_new = !self.few.contains(&key);
            self.few.push(key.clone());
            is_new
        } else {
            self.many.extend(self.few.drain(..));
            self.many.insert(key.clone())
        };
        if is_new { Ok(()) } else { Err(HygieneError::DuplicateKey { key: plugbay_domain::escape(&key) }) }
    }
}

/// A string as it stands in the text, without its quotes.
struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    fn decode(self) -> Result<std::borrow::Cow<'a, str>, HygieneError> {
        let text = std::str::from_utf8(self.raw).map_err(|_not_text| HygieneError::NotJson)?;
        if !self.escaped {
            return Ok(text.into());
        }
        // `"a"` and `"\u0061"` are one key.
        let decoded: String =
            serde_json::from_str(&format!("\"{text}\"")).map_err(|_not_a_string| HygieneError::NotJson)?;
        Ok(decoded.into())
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    /// The rest of a string whose first quote was taken.
    fn string(&mut self) -> Result<Text<'a>, HygieneError> {
        let begin = self.at;
        let mut escaped = false;
        loop {
            match self.next().ok_or(HygieneError::NotJson)? {
                b'"' => {
                    let end = self.at.saturating_sub(1);
                    let raw = self.bytes.get(begin..end).ok_or(HygieneError::NotJson)?;
                    return Ok(Text { raw, escaped });
                }
                b'\\' => {
                    escaped = true;
                    if self.next() == Some(b'u') {
                        self.surrogates()?;
                    }
                }
                _ => {}
            }
        }
    }

    /// The rest of a number whose first character was taken.
    fn number(&mut self) -> Result<(), HygieneError> {
        let begin = self.at.saturating_sub(1);
        while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = self.bytes.get(self.at) {
            self.at = self.at.saturating_add(1);
        }
        let number = self.bytes.get(begin..self.at).unwrap_or_default();
        // Fewer digits without an exponent are always within the range.
        if number.len() <= SURELY_FINITE && !number.iter().any(|byte| matches!(byte, b'e' | b'E')) {
            return Ok(());
        }
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok());
        if number.is_some_and(f64::is_infinite) { Err(HygieneError::NumberTooLarge) } else { Ok(()) }
    }

    /// Takes the digits of `\u`, and of the second half where the first wants one.
    fn surrogates(&mut self) -> Result<(), HygieneError> {
        match self.unit()? {
            0xD800..=0xDBFF => {
                let is_escape = self.next() == Some(b'\\') && self.next() == Some(b'u');
                match is_escape.then(|| self.unit()).transpose()? {
                    Some(0xDC00..=0xDFFF) => Ok(()),
                    _ => Err(HygieneError::LoneSurrogate),
                }
            }
            0xDC00..=0xDFFF => Err(HygieneError::LoneSurrogate),
            _ => Ok(()),
        }
    }

    fn unit(&mut self) -> Result<u32, HygieneError> {
        let end = self.at.saturating_add(4);
        let digits = self.bytes.get(self.at..end).and_then(|digits| std::str::from_utf8(digits).ok());
        self.at = end;
        digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or(HygieneError::NotJson)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(text: &str) -> Result<Payload, HygieneError> {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        Payload::new(&raw)
    }

    #[test]
    fn line_breaks_become_spaces_and_change_no_value() {
        let text = "{\n \"a\":\r\n [1,\n2], \"b\": \"line\\nbreak\"}";
        let framed = payload(text).unwrap();
        assert!(!framed.as_str().contains(['\n', '\r']));
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(text).unwrap(), serde_json::from_str(framed.as_str()).unwrap());
        assert_eq!(before, after);
    }

    #[test]
    fn duplicate_keys_are_found_however_they_are_written() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"x":{"k":[],"b":{},"k":0}}]"#,
            r#"{"a":"a","b":"a","c":{"a":1},"b":1}"#,
        ] {
            assert!(matches!(payload(text), Err(HygieneError::DuplicateKey { .. })), "{text}");
        }
        let many: Vec<String> = (0..100).map(|number| format!("\"k{number}\":0")).collect();
        assert!(payload(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(payload(&format!("{{{},\"k99\":1}}", many.join(","))).is_err());
        assert!(payload(&format!("{{{},\"k0\":1}}", many.join(","))).is_err());
        assert!(payload(r#"[{"a":1},{"a":1},"a","a",{"b":{"a":1},"a":{"a":"a"}}]"#).is_ok());
    }

    #[test]
    fn lone_surrogates_are_refused_and_pairs_pass() {
        assert!(payload(r#""\ud83d\ude00 \\ud800 \u00e9""#).is_ok());
        for text in
            [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#, r#""\ud800x""#, r#"{"\uDFFF":1}"#, r#""\ud800\\""#]
        {
            assert_eq!(payload(text), Err(HygieneError::LoneSurrogate), "{text}");
        }
    }

    #[test]
    fn depth_is_counted_over_lists_and_objects() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(payload(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(payload(&nested(MAX_DEPTH + 1)), Err(HygieneError::TooDeep { most: MAX_DEPTH }));
        assert!(payload(&format!("[{}]", vec!["[]"; 1000].join(","))).is_ok());
    }

    #[test]
    fn numbers_that_some_readers_cannot_hold_are_refused() {
        let (most, digits) = (f64::MAX.to_string(), "9".repeat(310));
        for text in
            [most.as_str(), "1e308", "[-1.5E+300,1e-999,0.0,-0]", "{\"1e999\":\"1e999\"}", "123456789012345678901"]
        {
            assert!(payload(text).is_ok(), "{text}");
        }
        for text in ["1e309", "-1E400", "[0,1.0e+400]", "{\"a\":1e999}", digits.as_str()] {
            assert_eq!(payload(text), Err(HygieneError::NumberTooLarge), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_check_panic(text in ".*") {
            check(&text, MAX_DEPTH).ok();
        }

        #[test]
        fn what_serde_prints_always_passes(numbers in proptest::collection::btree_map(".*", any::<i64>(), 0..20)) {
            prop_assert!(payload(&serde_json::to_string_pretty(&numbers).unwrap()).is_ok());
        }
    }
}
