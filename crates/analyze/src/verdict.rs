//! How bad a package looks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a package looks like, from the least to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    #[default]
    Clean,
    /// Something is worth a look.
    Notes,
    /// A person has to look at it.
    Suspicious,
    /// Two stages of an attack stand together.
    Malicious,
}

impl Verdict {
    /// Every verdict, the least first.
    pub const ALL: [Self; 4] = [Self::Clean, Self::Notes, Self::Suspicious, Self::Malicious];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Notes => "notes",
            Self::Suspicious => "suspicious",
            Self::Malicious => "malicious",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
