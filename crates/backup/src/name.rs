//! The names that entries may have. There are no others.

use std::fmt;
use std::str::FromStr;

use plugbay_domain::{DataId, Digest};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryName {
    /// What the backup says of itself.
    About,
    /// The database.
    Database,
    /// An archive as it was uploaded.
    Archive(Digest),
    /// What a plugin keeps, as the image of a file system; sparse.
    Image(DataId),
    /// Hashes of everything.
    Manifest,
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::About => f.write_str("backup.json"),
            Self::Database => f.write_str("plugbay.db"),
            Self::Archive(digest) => write!(f, "archives/{}", digest.to_hex()),
            Self::Image(plugin) => write!(f, "volumes/{plugin}.img"),
            Self::Manifest => f.write_str("manifest.json"),
        }
    }
}

/// The text is not the name of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownName;

impl FromStr for EntryName {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let parsed = match text.split_once('/') {
            None if text == "backup.json" => Some(Self::About),
            None if text == "plugbay.db" => Some(Self::Database),
            None if text == "manifest.json" => Some(Self::Manifest),
            Some(("archives", hex)) => hex.parse().ok().map(Self::Archive),
            Some(("volumes", file)) => file.strip_suffix(".img").and_then(|id| id.parse().ok()).map(Self::Image),
            _ => None,
        };
        // Another spelling of the same name would be a second entry for the same file.
        parsed.filter(|name| name.to_string() == text).ok_or(UnknownName)
    }
}
