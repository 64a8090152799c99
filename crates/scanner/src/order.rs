//! What a worker is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One package to judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Where it is unpacked.
    pub folder: PathBuf,
    /// Modules that may be imported; empty for every one.
    pub allowed_imports: Vec<String>,
    /// Modules that may not.
    pub denied_imports: Vec<String>,
    /// A file of advisories, a record in each line.
    pub advisories: Option<PathBuf>,
}
