//! The file that a backup is: a tar that any tar program lists and unpacks, and of which this reads nothing but what it
//! would write itself. `backup.json` comes first, `manifest.json` with the hash of everything before it last.
//!
//! Whoever writes or restores is in `service`; here nothing is known of databases and directories. All functions block.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod error;
mod name;
mod read;
mod sparse;
mod write;

use serde::{Deserialize, Serialize};

use plugbay_domain::Digest;

pub use error::BackupError;
pub use name::EntryName;
pub use read::{Entry, Reader};
pub use write::Writer;

/// Version of the format. Raised when something is added, as an older reader would leave it out.
pub const FORMAT: u32 = 2;

/// Size of a tar's blocks.
const BLOCK_BYTES: usize = 512;

/// Bytes that are held at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a backup says of itself, before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Version of the format.
    pub format: u32,
    /// Version of the plugbay that made it.
    pub plugbay: String,
    /// Newest migration of its database.
    pub schema: i64,
    /// When it was made.
    pub created_at: String,
    /// The installation it was made of.
    pub instance: String,
}

/// One entry as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its name.
    pub path: String,
    /// Bytes of its content as it stands in the tar.
    pub bytes: u64,
    /// Their hash.
    pub sha256: Digest,
}

/// Everything before the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In the order of the tar.
    pub entries: Vec<Listed>,
    /// A keyed hash over all of them, by which the installation that made the backup knows it again. Backups of format 1
    /// have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

impl Manifest {
    /// What the seal is over. Lengths go in with the fields, so that no two lists have the same bytes.
    pub fn sealed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Listed { path, bytes: length, sha256 } in &self.entries {
            for part in [path.as_str(), &sha256.to_hex()] {
                bytes.extend((part.len() as u64).to_be_bytes());
                bytes.extend(part.as_bytes());
            }
            bytes.extend(length.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
