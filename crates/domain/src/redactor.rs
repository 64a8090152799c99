//! Secrets of a plugin in what it says, and masks in their place. Values are found as they are, as JSON quotes them, and line
//! by line; nothing is found that a plugin has encoded or taken apart.
//!
//! What may be the beginning of a secret is never looked at: a caller who sends guesses to a plugin would read from the mask
//! how far a guess is right. Where a text is cut, as much is left out as a secret could begin there, whatever it is.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::PluginConfig;
use super::forms::Forms;

/// Bytes of values of before that are still looked for: a plugin may remember them. The oldest are forgotten first. What is set
/// now counts for nothing here: the limits of a configuration bound it.
const FORMER_BYTES: usize = 256 << 10;

/// What stands where a text was cut.
const CUT: char = '…';

type Form = Arc<Zeroizing<Vec<u8>>>;

/// Finds secrets in texts and puts a mask in their place.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Every form of what is set now.
    present: Vec<Form>,
    /// Of what was set before; the oldest first.
    former: VecDeque<Form>,
    forms: Forms,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} values)", self.forms.len())
    }
}

impl Redactor {
    /// Looks for the secrets of this configuration, too. Those of before are still looked for.
    #[must_use]
    pub fn with(&self, config: &PluginConfig) -> Self {
        let mut present = Vec::<Form>::new();
        for value in config.secrets().values() {
            let value = value.expose_secret();
            // As JSON and Python show texts, and each line of what has several.
            let quoted = Zeroizing::new(Value::from(value).to_string());
            let inner = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            let [shown, shown_in_single] = shown_by_python(value);
            let all = [value, inner, &shown, &shown_in_single];
            let all = all.into_iter().chain(value.lines()).chain(value.lines().map(str::trim));
            for form in all.filter(|form| form.len() >= Forms::SHORTEST) {
                present.push(Arc::new(Zeroizing::new(form.as_bytes().to_vec())));
            }
        }
        present.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
        present.dedup();
        let is_former = |form: &&Form| present.binary_search_by(|known| known.as_slice().cmp(form.as_slice())).is_err();
        let mut former: VecDeque<Form> =
            self.former.iter().chain(&self.present).filter(is_former).map(Arc::clone).collect();
        let mut bytes: usize = former.iter().map(|form| form.len()).sum();
        while bytes > FORMER_BYTES {
            bytes -= former.pop_front().map_or(bytes, |form| form.len());
        }
        let forms = Forms::of(present.iter().chain(&former).map(|form| Zeroizing::clone(form)));
        Self { present, former, forms }
    }

    /// The text without the secrets.
    pub fn mask(&self, text: &str) -> String {
        let masked = self.forms.mask(text.as_bytes());
        masked.map_or_else(|| text.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The same for a text that was cut at its end before it came here.
    pub fn mask_cut(&self, text: &str) -> String {
        let mut masked = self.mask(text);
        masked.truncate(masked.floor_char_boundary(masked.len().saturating_sub(self.forms.longest())));
        masked
    }

    /// The same for no more than the first bytes of a long text.
    pub fn mask_beginning(&self, text: &str, bytes: usize) -> String {
        let end = text.floor_char_boundary(bytes);
        if end < text.len() { self.mask_cut(&text[..end]) } else { self.mask(text) }
    }

    /// The same for a message that quotes what a plugin wrote, each quotation cut at some length: `` `abc…` ``.
    pub fn mask_quoted(&self, text: &str) -> String {
        let masked = self.mask(text);
        let longest = self.forms.longest();
        if longest == 0 || !masked.contains(CUT) {
            return masked;
        }
        let mut shown = String::with_capacity(masked.len());
        let mut parts = masked.split(CUT).peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                shown.push_str(part);
                break;
            }
            let quoted = part.rfind('`').map_or(0, |at| at + 1);
            let end = part.floor_char_boundary(part.len().saturating_sub(longest).max(quoted));
            shown.push_str(&part[..end]);
            shown.push(CUT);
        }
        shown
    }

    /// The same for every text of a value, names of fields included.
    pub fn mask_value(&self, value: Value) -> Value {
        match value {
            _ if self.forms.is_empty() => value,
            Value::String(text) => Value::String(self.mask(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.mask_value(item)).collect(),
            Value::Object(fields) => Value::Object(self.mask_fields(fields)),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// The same for every field of an object.
    pub fn mask_fields(&self, fields: Map<String, Value>) -> Map<String, Value> {
        fields.into_iter().map(|(name, value)| (self.mask(&name), self.mask_value(value))).collect()
    }
}

/// What `repr` makes of a text, between double quotes and between single ones. Exceptions show their arguments so.
fn shown_by_python(value: &str) -> [Zeroizing<String>; 2] {
    let mut shown = Zeroizing::new(String::with_capacity(value.len()));
    for character in value.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            control if control.is_ascii_control() => {
                write!(shown, "\\x{:02x}", u32::from(control)).expect("texts can be written to");
            }
            other => shown.push(other),
        }
    }
    let in_single = Zeroizing::new(shown.replace('\'', "\\'"));
    [shown, in_single]
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;
    use crate::{Secret, Secrets};

    fn config(secrets: &[(&str, &str)]) -> PluginConfig {
        let mut held = Secrets::default();
        for (field, value) in secrets {
            held.insert((*field).to_owned(), SecretString::from(*value), Secret::delivered());
        }
        PluginConfig::new(Map::new(), held)
    }

    #[test]
    fn secrets_are_masked_in_texts_and_values_in_every_form() {
        let found = Redactor::default().with(&config(&[
            ("short", "seven77"),
            ("part", "hunter2hunter2"),
            ("whole", "my-hunter2hunter2-key"),
            ("lines", "first line \"one\"\nsecond line\n  third line"),
        ]));
        assert_eq!(found.mask("a my-hunter2hunter2-key b hunter2hunter2"), "a [redacted] b [redacted]");
        assert_eq!(found.mask("seven77"), "seven77", "too short to be told from chance");
        assert_eq!(found.mask(r#"{"k": "first line \"one\"\nsecond line\n  third line"}"#), r#"{"k": "[redacted]"}"#);
        assert_eq!((found.mask("second line"), found.mask("third line")), ("[redacted]".into(), "[redacted]".into()));
        assert_eq!(found.mask_beginning("hunter2hunter2", 100), "[redacted]");
        let cut = found.mask_beginning(&"my-hunter2hunter2-key".repeat(20), 150);
        assert!(!cut.contains("hunter2"), "{cut}");
        let masked = found.mask_value(json!({"hunter2hunter2": ["x hunter2hunter2", 1, null]}));
        assert_eq!(masked, json!({"[redacted]": ["x [redacted]", 1, null]}));
        let later = found.with(&config(&[("part", "changed-since")]));
        assert_eq!(later.mask("hunter2hunter2 changed-since"), "[redacted] [redacted]");
        assert!(!format!("{later:?}").contains("changed"));
    }

    #[test]
    fn a_secret_of_many_lines_is_masked_whole() {
        let lines: Vec<String> = (0..3_000).map(|number| format!("line {number:05} of a chain")).collect();
        let whole = lines.join("\n");
        let found = Redactor::default().with(&config(&[("chain", &whole), ("other", "another-secret")]));
        for line in &lines {
            assert_eq!(found.mask(&format!("> {line}")), "> [redacted]");
        }
        assert_eq!(found.mask(&format!("{whole}, another-secret")), "[redacted], [redacted]");
        assert_eq!(found.mask(&Value::from(whole).to_string()), "\"[redacted]\"");
    }

    #[test]
    fn what_was_set_long_before_is_forgotten_first() {
        let mut found = Redactor::default();
        let value = |number: usize| format!("{number:04}-{}", "x".repeat(10_000));
        for number in 0..=30 {
            found = found.with(&config(&[("a", &value(number))]));
        }
        assert_eq!(found.mask(&value(0)), value(0));
        assert!((8..=30).all(|number| found.mask(&value(number)) == "[redacted]"));
    }

    #[test]
    fn what_may_be_the_beginning_of_a_secret_is_left_out_where_a_text_is_cut() {
        let secret = "s3cret-of-24-characters!";
        let found = Redactor::default().with(&config(&[("a", secret)]));
        for known in 0..secret.len() {
            let text = format!("{}{}", "x".repeat(50), &secret[..known]);
            let cut = found.mask_cut(&text);
            assert!(cut.chars().all(|character| character == 'x'), "{cut}");
            let quoted = found.mask_quoted(&format!("no `{}…`; use `b…`", &secret[..known]));
            assert_eq!(quoted, "no `…`; use `…`");
        }
        assert_eq!(found.mask_quoted("no `abc`; 1… of 2"), "no `abc`… of 2");
        assert_eq!(Redactor::default().mask_quoted("no `abc…`"), "no `abc…`");
    }

    #[test]
    fn a_secret_as_python_shows_it_is_masked() {
        let redactor = Redactor::default().with(&config(&[("key", "pa\\ss'w\"rd\n-1234\x07")]));
        for shown in [r#"'pa\\ss\'w"rd\n-1234\x07'"#, r#""pa\\ss'w"rd\n-1234\x07""#] {
            let masked = redactor.mask(shown);
            assert!(masked.contains("[redacted]") && !masked.contains("1234"), "{masked}");
        }
    }
}
