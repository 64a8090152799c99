//! What a child process of the service gives up before it reads the first foreign byte: workers that open databases, and
//! those that read the code of packages.
//!
//! After it the process has the folders that it names, no network, no capabilities, and bounds on what it takes. A
//! process of root's is root without capabilities: after a fault of what it runs it could open every other file that
//! root owns, were it not for Landlock. A kernel without Landlock does not confine files and network.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, RestrictionStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, getpriority_process, setpriority_process, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

/// What the kernel is asked for; what it does not know it leaves out.
const ABI_USED: ABI = ABI::V5;

/// Less urgent than the service and its plugins.
const NICENESS: i32 = 5;

/// What is done with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Files are read and folders listed.
    Read,
    /// Files are also made, written and removed.
    Write,
}

/// A file, or a folder with all below it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// What is done there.
    pub used: Use,
}

/// What a process keeps.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Files that are open at a time.
    pub files: u64,
    /// Bytes of memory, stacks of threads included.
    pub memory_bytes: u64,
    /// Bytes of one file that is written.
    pub file_bytes: u64,
    /// Where it may go.
    pub places: &'a [Place<'a>],
}

/// Gives up all else, for this process and what it starts.
pub fn confine(kept: &Kept<'_>) -> io::Result<()> {
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Nofile, kept.files),
        (Resource::Data, kept.memory_bytes),
        (Resource::Fsize, kept.file_bytes),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    setpriority_process(None, niceness(getpriority_process(None)?))?;
    set_no_new_privs(true)?;
    confine_files(kept.places).map_err(io::Error::other)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// What a service that is itself nicer than that was given stays: only root may take it back.
fn niceness(present: i32) -> i32 {
    present.max(NICENESS)
}

fn confine_files(places: &[Place<'_>]) -> Result<RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI_USED))?
        .handle_access(AccessNet::from_all(ABI_USED))?
        .create()?;
    let ruled = places
        .iter()
        .try_fold(ruleset, |ruleset, place| ruleset.add_rules(path_beneath_rules([place.path], access(place))))?;
    ruled.restrict_self()
}

fn access(place: &Place<'_>) -> BitFlags<AccessFs> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let all = match place.used {
        Use::Read => reading,
        Use::Write => reading | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile,
    };
    if place.path.is_dir() { all } else { all & AccessFs::from_file(ABI_USED) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_worker_is_never_less_nice_than_its_service() {
        assert_eq!([niceness(-5), niceness(0), niceness(NICENESS), niceness(10)], [NICENESS, NICENESS, NICENESS, 10]);
    }

    #[test]
    fn nothing_but_the_named_places_is_left() {
        let (folder, read, elsewhere) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, code, other) =
            (folder.path().join("chat.db"), read.path().join("main.py"), elsewhere.path().join("master.key"));
        for (path, text) in [(&path, "database"), (&code, "code"), (&other, "key")] {
            fs::write(path, text).unwrap();
        }
        // The rules are for the thread that makes them, and for what it starts.
        let confined = std::thread::spawn(move || {
            set_no_new_privs(true).unwrap();
            let place = |path, used| Place { path, used };
            let places = [place(folder.path(), Use::Write), place(read.path(), Use::Read)];
            let status = confine_files(&places).unwrap().ruleset;
            let seen = |path: &Path| fs::read(path).map_err(|error| error.kind());
            let journal = fs::write(folder.path().join("chat.db-journal"), "x").is_ok();
            let written = fs::write(&code, "x").is_ok();
            let dialled = TcpStream::connect("127.0.0.1:1").map_err(|error| error.kind()).err();
            (
                status,
                [seen(&path), seen(&code), seen(&other)],
                fs::write(&other, "x").is_ok(),
                journal,
                written,
                dialled,
            )
        });
        let (status, [own, code, other], changed, journal, written, dialled) = confined.join().unwrap();
        assert_eq!((own.unwrap(), code.unwrap(), journal), (b"database".to_vec(), b"code".to_vec(), true));
        if status == landlock::RulesetStatus::NotEnforced {
            // This kernel has no Landlock.
            return;
        }
        assert_eq!((other, changed, written), (Err(io::ErrorKind::PermissionDenied), false, false));
        assert_eq!(dialled, Some(io::ErrorKind::PermissionDenied), "there is no network");
    }
}
