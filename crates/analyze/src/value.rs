//! Values that are known without running anything.

use serde::Serialize;

/// A constant.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Constant {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Whole(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list or tuple.
    List(Vec<Constant>),
    /// A dictionary in its order.
    Map(Vec<(Constant, Constant)>),
}

impl Constant {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a text key in a dictionary.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        32 + match self {
            Self::None | Self::Bool(_) | Self::Whole(_) | Self::Float(_) => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.iter().map(Self::size).sum(),
            Self::Map(entries) => entries.iter().map(|(key, value)| key.size() + value.size()).sum(),
        }
    }

    /// Bytes or text as bytes.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Its items, if it can be iterated over.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Bytes(bytes) => Some(bytes.iter().map(|byte| Self::Whole(i64::from(*byte))).collect()),
            Self::Text(text) => Some(text.chars().map(|character| Self::Text(character.to_string())).collect()),
            _ => None,
        }
    }
}

/// What an expression is known to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Known {
    /// A constant.
    Constant(Constant),
    /// Something with a name, such as `os.system`; built-in functions are `builtins.eval` and so on.
    Named(String),
}

/// A known value, and how many layers of encoding were taken off it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Folded {
    pub(crate) known: Known,
    pub(crate) layers: u8,
}

impl Folded {
    pub(crate) fn constant(constant: Constant, layers: u8) -> Self {
        Self { known: Known::Constant(constant), layers }
    }

    pub(crate) fn named(name: String) -> Self {
        Self { known: Known::Named(name), layers: 0 }
    }

    pub(crate) fn into_constant(self) -> Option<Constant> {
        match self.known {
            Known::Constant(constant) => Some(constant),
            Known::Named(_) => None,
        }
    }

    pub(crate) fn size(&self) -> usize {
        match &self.known {
            Known::Constant(constant) => constant.size(),
            Known::Named(name) => 32 + name.len(),
        }
    }
}
