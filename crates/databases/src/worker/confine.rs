//! What the process gives up before it reads the first byte of a file or of SQL.

use std::fs;
use std::io;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, getpriority_process, setpriority_process, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use super::Hello;

/// Open files: the database, what SQLite keeps beside it, the pipes.
const FILES: u64 = 24;

/// Bytes of memory beside that of statements: the program itself, one order, one answer.
const OWN_MEMORY: u64 = 64 << 20;

/// Bytes that a file of SQLite's own may have beyond those of the database: an index of its log.
const OWN_FILES: u64 = 64 << 20;

/// What SQLite reads beside the database: randomness and the time zone.
const READ: [&str; 4] = ["/dev/urandom", "/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"];

/// What the kernel is asked for; what it does not know it leaves out.
const ABI_USED: ABI = ABI::V5;

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
    setpriority_process(None, niceness(getpriority_process(None)?))?;
    set_no_new_privs(true)?;
    confine_files(hello).map_err(io::Error::other)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// What a service that is itself nicer than that was given stays: only root may take it back.
fn niceness(present: i32) -> i32 {
    present.max(NICENESS)
}

/// Leaves the process the folder of its database, where the journal stands beside the file, what SQLite reads of the
/// machine, and no network. A worker for a file of root's is root without capabilities: after a fault of SQLite it could
/// open every other file that root owns. A kernel without Landlock does not confine it further.
fn confine_files(hello: &Hello) -> Result<RestrictionStatus, RulesetError> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    // A reader of a database with a log writes to the index of the log.
    let own = reading | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    let folder = hello.path.parent().filter(|folder| folder.parent().is_some());
    // A file in `/` has no folder that could be left to it.
    let (place, access) =
        folder.map_or((hello.path.as_path(), own & AccessFs::from_file(ABI_USED)), |path| (path, own));
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI_USED))?
        .handle_access(AccessNet::from_all(ABI_USED))?
        .create()?
        .add_rules(path_beneath_rules([place], access))?
        .add_rules(path_beneath_rules(READ, reading))?
        .restrict_self()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Identity;

    #[test]
    fn a_worker_is_never_less_nice_than_its_service() {
        assert_eq!([niceness(-5), niceness(0), niceness(NICENESS), niceness(10)], [NICENESS, NICENESS, NICENESS, 10]);
    }

    #[test]
    fn nothing_but_the_folder_of_the_database_is_left() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, other) = (folder.path().join("chat.db"), elsewhere.path().join("master.key"));
        fs::write(&path, "database").unwrap();
        fs::write(&other, "key").unwrap();
        let identity = Identity { device: 0, inode: 0, user: 0, group: 0 };
        let hello = Hello {
            path: path.clone(),
            identity,
            writes: true,
            rows: 1,
            result_bytes: 1,
            memory_bytes: 1,
            file_bytes: 1,
            milliseconds: 1,
        };
        // The rules are for the thread that makes them, and for what it starts.
        let confined = std::thread::spawn(move || {
            set_no_new_privs(true).unwrap();
            let status = confine_files(&hello).unwrap().ruleset;
            let seen = |path: &std::path::Path| fs::read(path).map_err(|error| error.kind());
            let journal = fs::write(folder.path().join("chat.db-journal"), "x");
            let dialled = std::net::TcpStream::connect("127.0.0.1:1").map_err(|error| error.kind());
            (status, seen(&path), seen(&other), fs::write(&other, "x").is_ok(), journal.is_ok(), dialled.err())
        });
        let (status, own, other, changed, journal, dialled) = confined.join().unwrap();
        assert_eq!((own.unwrap().as_slice(), journal), (&b"database"[..], true));
        if status == landlock::RulesetStatus::NotEnforced {
            // This kernel has no Landlock.
            return;
        }
        assert_eq!((other, changed), (Err(io::ErrorKind::PermissionDenied), false));
        assert_eq!(dialled, Some(io::ErrorKind::PermissionDenied), "there is no network");
    }
}
