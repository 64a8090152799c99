//! The name of a plugin.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Code, Refusal, escape};

/// Longest name, in characters.
const MAX_CHARACTERS: usize = 63;

/// What stands below `/api/plugins/` and is no plugin.
const ADDRESSES: [&str; 1] = ["install"];

/// The name a plugin is addressed by: words of `a-z` and `0-9` joined by `-`, starting with a letter; `_` reads as `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName(String);

/// Why a text is not a plugin name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The characters or their order are wrong.
    #[error(
        "`{found}` is not a plugin name: expected words of a-z and 0-9 joined by single `-` or `_`, starting with a letter"
    )]
    Form {
        /// The text, escaped.
        found: String,
    },
    /// More than 63 characters.
    #[error("`{found}` has {count} characters; a plugin name has at most {MAX_CHARACTERS}")]
    TooLong {
        /// The text, escaped.
        found: String,
        /// Its length in characters.
        count: usize,
    },
    /// It reads like an id.
    #[error("`{found}` has the form of a plugin id")]
    Reserved {
        /// The text.
        found: String,
    },
}

impl Refusal for NameError {
    fn code(&self) -> Code {
        match self {
            Self::Form { .. } | Self::TooLong { .. } => Code::ManifestInvalid,
            Self::Reserved { .. } => Code::NameReserved,
        }
    }
}

impl PluginName {
    /// Tells whether the service has an address of its own where that of the plugin would be.
    pub fn is_address(&self) -> bool {
        ADDRESSES.contains(&self.as_str())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let count = text.chars().count();
        if count > MAX_CHARACTERS {
            return Err(NameError::TooLong { found: escape(text), count });
        }
        let canonical = text.replace('_', "-");
        let words_are_well_formed = canonical.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        if !words_are_well_formed || !canonical.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(NameError::Form { found: escape(text) });
        }
        let is_id = canonical
            .strip_prefix("plugin-")
            .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_id {
            return Err(NameError::Reserved { found: canonical });
        }
        Ok(Self(canonical))
    }
}

impl TryFrom<String> for PluginName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PluginName> for String {
    fn from(name: PluginName) -> Self {
        name.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscore_reads_as_dash() {
        assert_eq!("my_plugin".parse::<PluginName>().unwrap().as_str(), "my-plugin");
    }

    #[test]
    fn malformed_names_are_refused() {
        for text in ["", "-a", "a-", "a--b", "1a", "A", "a.b", "../x", "a/b", "plаgin", &"a".repeat(64)] {
            assert!(text.parse::<PluginName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_form_of_an_id_is_reserved() {
        let text = format!("plugin_{}", "0".repeat(32));
        assert!(matches!(text.parse::<PluginName>(), Err(NameError::Reserved { .. })));
    }
}
