//! What the process gives up before it reads the first byte of a file or of SQL.

use std::fs;
use std::io;
use std::path::Path;

use plugbay_confine::{Kept, Place, Use, confine as give_up};

use super::Hello;

/// Open files: the database, what SQLite keeps beside it, the pipes.
const FILES: u64 = 24;

/// Bytes of memory beside that of statements: the program itself, one order, one answer.
const OWN_MEMORY: u64 = 64 << 20;

/// Bytes that a file of SQLite's own may have beyond those of the database: an index of its log.
const OWN_FILES: u64 = 64 << 20;

/// What SQLite reads beside the database: randomness and the time zone.
const READ: [&str; 4] = ["/dev/urandom", "/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"];

/// Leaves the process the folder of its database, where the journal stands beside the file, and what SQLite reads of
/// the machine. A reader of a database with a log writes to the index of the log.
pub(super) fn confine(hello: &Hello) -> io::Result<()> {
    let size = fs::symlink_metadata(&hello.path).map_or(0, |file| file.len());
    let largest = if hello.writes { size.max(hello.file_bytes) } else { 0 };
    // A file in `/` has no folder that could be left to it.
    let folder = hello.path.parent().filter(|folder| folder.parent().is_some());
    let own = Place { path: folder.unwrap_or(&hello.path), used: Use::Write };
    let machine = READ.map(|path| Place { path: Path::new(path), used: Use::Read });
    let places: Vec<_> = [own].into_iter().chain(machine).collect();
    give_up(&Kept {
        files: FILES,
        memory_bytes: hello.memory_bytes.saturating_add(OWN_MEMORY),
        file_bytes: largest.saturating_add(OWN_FILES),
        places: &places,
    })
}
