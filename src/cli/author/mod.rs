//! Commands for authors: from an empty folder to a signed archive. None of them needs a service.

mod archive;
mod code;
mod docs;
mod index;
mod init;
mod keygen;
mod keys;
mod listing;
mod pack;
mod pip;
mod report;
mod scan;
mod settle;
mod sign;
mod source;
mod template;
mod tools;
mod unit_tests;
mod validate;
mod vendor;
mod verify;
mod wheels;

pub(super) use archive::{read_archived_manifest, read_name as read_archive_name};
pub(super) use docs::{DocsArguments, docs};
pub(super) use init::{InitArguments, init};
pub(super) use keygen::{KeygenArguments, keygen};
pub(super) use keys::read_public_key;
pub(super) use pack::{PackArguments, Packed, Vendoring, build, pack};
pub(super) use scan::{ScanArguments, scan, settle as settle_scan, text as scan_text};
pub(super) use sign::{SignArguments, sign};
pub(super) use tools::{ToolsArguments, tools};
pub(super) use unit_tests::{UnitTests, run as run_unit_tests};
pub(super) use validate::{ValidateArguments, validate};
pub(super) use verify::{VerifyArguments, verify};
