//! Patterns over plugin names, as keys and tokens carry them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{PluginName, escape};

/// A plugin name in which `*` stands for any run of characters, such as `acme-*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

/// The text is not a name pattern.
#[derive(Debug, thiserror::Error)]
#[error("`{found}` is not a name pattern: expected a-z, 0-9, `-` and `*`, such as `acme-*`")]
pub struct PatternError {
    found: String,
}

impl NamePattern {
    /// Tells whether the pattern covers the whole name.
    pub fn matches(&self, name: &PluginName) -> bool {
        let mut pieces = self.0.split('*');
        let Some(mut rest) = name.as_str().strip_prefix(pieces.next().unwrap_or_default()) else {
            return false;
        };
        let mut pieces = pieces.peekable();
        if pieces.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                return rest.ends_with(piece);
            }
            match rest.find(piece) {
                Some(found) => rest = &rest[found + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let canonical = text.replace('_', "-");
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'*';
        if canonical.is_empty() || canonical.len() > 63 || !canonical.bytes().all(allowed) {
            return Err(PatternError { found: escape(text) });
        }
        Ok(Self(canonical))
    }
}

impl TryFrom<String> for NamePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, name: &str) -> bool {
        pattern.parse::<NamePattern>().unwrap().matches(&name.parse().unwrap())
    }

    #[test]
    fn star_stands_for_any_run_of_characters() {
        assert!(covers("*", "anything"));
        assert!(covers("acme-*", "acme-mail"));
        assert!(covers("a*c*e", "abcde"));
        assert!(covers("my_plugin", "my-plugin"));
    }

    #[test]
    fn a_pattern_covers_the_whole_name() {
        assert!(!covers("acme-*", "evil-acme-mail"));
        assert!(!covers("acme", "acme-mail"));
        assert!(!covers("a*b", "abc"));
        assert!(!covers("a*a", "a"));
    }

    #[test]
    fn other_characters_are_refused() {
        for text in ["", "a b", "[a]", "A*", "a?"] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
    }
}
