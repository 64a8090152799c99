//! What the process gives up before it reads the first byte of a file or of SQL.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use super::Hello;

/// Open files: the database, what SQLite keeps beside it, the pipes.
const FILES: u64 = 24;

/// Bytes of memory beside that of statements: the program itself, one order, one answer.
const OWN_MEMORY: u64 = 64 << 20;

/// Bytes that a file of SQLite's own may have beyond those of the database: an index of its log.
const OWN_FILES: u64 = 64 << 20;

/// Less urgent than the service and its plugins.
const NICENESS: i32 = 5;

pub(super) fn confine(hello: &Hello) -> io::Result<()> {
    let size = fs::symlink_metadata(&hello.path).map_or(0, |file| file.len());
    let largest = if hello.writes { size.max(hello.file_bytes) } else { 0 };
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Nofile, FILES),
        (Resource::Data, hello.memory_bytes.saturating_add(OWN_MEMORY)),
        (Resource::Fsize, largest.saturating_add(OWN_FILES)),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    setpriority_process(None, NICENESS)?;
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}
