//! The entry point of a manifest that may have other mistakes: an author sees with them that it is not there.

use super::{MAX_MANIFEST_BYTES, text};
use crate::FieldError;
use crate::yaml::{self, Entry, Limits, Mark, Place, Value};

/// What a plugin.yaml says of its entry point.
#[derive(Clone, Debug)]
pub struct DeclaredMain {
    /// The path, as the manifest writes it.
    pub path: String,
    /// Whether there is a `build` that may make it.
    pub is_built: bool,
    mark: Option<Mark>,
    class: Option<Mark>,
}

impl DeclaredMain {
    /// Finds `main` of a plugin.yaml where it is a path that is accepted, with any other mistake beside it.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let Value::Map(entries) = yaml::read(bytes, Limits::bytes(MAX_MANIFEST_BYTES)).ok()?.value else { return None };
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        let Entry { node, .. } = find("main")?;
        let Value::Scalar(scalar) = &node.value else { return None };
        let path = text::entry_point(&scalar.text).ok()?;
        let class = find("class").and_then(|entry| entry.node.mark);
        Some(Self { path, is_built: find("build").is_some(), mark: node.mark, class })
    }

    /// A mistake about it, with its place.
    pub fn mistake(&self, message: impl Into<String>) -> FieldError {
        Place::blame(self.mark, "/main", message)
    }

    /// A mistake about the class that it should have.
    pub fn class_mistake(&self, message: impl Into<String>) -> FieldError {
        Place::blame(self.class, "/class", message)
    }
}
