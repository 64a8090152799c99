//! Patterns over names of plugins and of models, as keys, tokens and settings carry them.

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
        covers(&self.0, name.as_str())
    }
}

/// Tells whether a pattern covers the whole text.
fn covers(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
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

/// Longest name of a model, in bytes: as long as those of registries get, with their owner and their tag.
pub const MAX_MODEL_BYTES: usize = 200;

/// The name of a model in which `*` stands for any run of characters, such as `gpt-*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelPattern(String);

/// The text is not a pattern over models.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{found}` is not a pattern over models: expected 1 to {MAX_MODEL_BYTES} bytes without blanks, such as `gpt-*`"
)]
pub struct ModelPatternError {
    found: String,
}

impl ModelPattern {
    /// Tells whether the pattern covers the whole name.
    pub fn matches(&self, model: &str) -> bool {
        covers(&self.0, model)
    }

    /// The one name that it covers, where it covers no other.
    pub fn name(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }
}

impl FromStr for ModelPattern {
    type Err = ModelPatternError;

    fn from_str(text: &str) -> Result<Self, ModelPatternError> {
        let is_strange = |character: char| character.is_whitespace() || character.is_control();
        if text.is_empty() || text.len() > MAX_MODEL_BYTES || text.contains(is_strange) {
            return Err(ModelPatternError { found: escape(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ModelPattern {
    type Error = ModelPatternError;

    fn try_from(text: String) -> Result<Self, ModelPatternError> {
        text.parse()
    }
}

impl From<ModelPattern> for String {
    fn from(pattern: ModelPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    fn models_have_slashes_colons_and_capitals() {
        let pattern: ModelPattern = "hf.co/*:Q4_*".parse().unwrap();
        assert!(pattern.matches("hf.co/Owner/Model-7B:Q4_K"));
        assert!(!pattern.matches("hf.co/Owner/Model-7B:Q8_0"));
        assert_eq!((pattern.name(), "gpt-4o".parse::<ModelPattern>().unwrap().name()), (None, Some("gpt-4o")));
        for text in ["", "a b", "a\nb", &"m".repeat(MAX_MODEL_BYTES + 1)] {
            assert!(text.parse::<ModelPattern>().is_err(), "{text}");
        }
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
