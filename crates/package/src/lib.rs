//! Untrusted bytes to a staged folder: receive and hash, verify the signature, check every entry, unpack, publish.
//!
//! Each step is a type that only the step before can make: [`Receiver`] → [`Upload`] → [`VerifiedArchive`] →
//! [`InspectedArchive`] → [`StagedPackage`]. Nothing is parsed before a signature is verified, nothing is written before
//! every byte of the archive was read, and one bad entry refuses the whole archive. All functions block.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod archive;
mod beneath;
mod entry_path;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod inspect;
mod names;
mod pack;
mod root;
mod secret_key;
mod secrets;
mod signature;
mod sources;
mod stage;
mod tree;
mod upload;

pub use entry_path::EntryPath;
pub use error::{Limit, PackageError};
pub use inspect::{Contents, InspectedArchive, PackageEntry};
pub use pack::{PackOptions, PackSummary, list, pack};
pub use secret_key::SecretKey;
pub use signature::{MAX_SIGNATURE_BYTES, Signature};
pub use sources::{IGNORE_FILE, LeftOut, Source, Sources, sources};
pub use stage::{PackageFile, StagedPackage};
pub use tree::verify_tree;
pub use upload::{Receiver, Signer, Upload, VerifiedArchive};
