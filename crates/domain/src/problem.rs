//! What every refusal tells: a code, a sentence, a way out, and the fields it is about.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Code;

/// An error that reaches a caller. `Display` is the detail: a lowercase fragment without its cause.
pub trait Refusal: Error + Send + Sync + 'static {
    /// The stable code.
    fn code(&self) -> Code;

    /// What to do, where it can be said more exactly than the code's own text.
    fn how(&self) -> Option<String> {
        None
    }

    /// The single values that are wrong, where the error is about several.
    fn fields(&self) -> &[FieldError] {
        &[]
    }
}

/// One wrong value inside a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// JSON Pointer to the value, such as `/network/allow/0`.
    pub pointer: String,
    /// Line in the source text, from 1, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Column in the source text, from 1, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl FieldError {
    /// An error about a value that has no place in a source text.
    pub fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), line: None, column: None, message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.pointer, self.message)
        }
    }
}

/// Prints an error with all its causes, each after a colon.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
