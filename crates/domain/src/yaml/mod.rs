//! YAML as plugbay reads it: a small, strict part of YAML 1.2 in which every value knows its line and column.
//!
//! `read` turns text into a tree, [`Place`] walks that tree and collects every mistake. No other module touches the YAML
//! crate. What other readers might understand differently is refused, not guessed: anchors, tags, merge keys, several
//! documents, duplicate keys, and text without quotes that YAML 1.1 takes for something else (`no`, `0o17`, `12:30:45`).

mod place;
mod plain;
mod read;
#[cfg(test)]
mod tests;

pub use place::pointer_token;
pub use place::{Fields, Mistake, Mistakes, Place};
pub use plain::Plain;
pub use read::{Limits, read};

/// Where something begins in the source text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The line.
    pub line: u64,
    /// The column in characters.
    pub column: u64,
}

/// One value of a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins; none for values that come from elsewhere, such as the environment.
    pub mark: Option<Mark>,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A single value that is not interpreted yet.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Keys and values in order; no key stands twice.
    Map(Vec<Entry>),
}

/// A single value, exactly as written: what reads it decides what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text after escapes and folding; for plain text the very characters of the source.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: it may be text, a number, a boolean or nothing.
    Plain,
    /// In quotes or as a block: it is text.
    Quoted,
    /// Not from YAML, such as an environment variable: it is whatever its reader needs.
    Free,
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key begins.
    pub mark: Option<Mark>,
    /// The value.
    pub node: Node,
}
