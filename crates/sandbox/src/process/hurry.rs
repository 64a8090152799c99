//! What all sandboxes of this service weigh together. To the kernel their common folder is one program beside the service
//! and every other program of the machine. A start beside busy plugins would get the share of one program, so the folder
//! weighs more while a sandbox in it is hurried.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::cgroup::Group;
use crate::Pace;

/// As how many programs the sandboxes count while one of them is hurried. About half of that is the hurried one's.
const PROGRAMS: u64 = 8;

/// The sandboxes that are hurried now.
#[derive(Debug, Default)]
pub(super) struct Hurry {
    sessions: Mutex<HashSet<String>>,
}

impl Hurry {
    /// Notes the pace of a sandbox, and makes the service's folder `own` weigh what it must now.
    pub(super) fn note(&self, session: &str, pace: Pace, own: &Group) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let was_hurried = !sessions.is_empty();
        match pace {
            Pace::Hurried => sessions.insert(session.to_owned()),
            Pace::Usual => sessions.remove(session),
        };
        let is_hurried = !sessions.is_empty();
        if was_hurried != is_hurried {
            // Beneath the lock: a later change must not be written first.
            weigh(own, if is_hurried { PROGRAMS } else { 1 });
        }
    }
}

/// Starts are slower without it, and that is all: it is no reason to refuse one.
fn weigh(own: &Group, programs: u64) {
    // The weight of a new folder in each version.
    let (file, one) = if own.version == 2 { ("cpu.weight", 100) } else { ("cpu.shares", 1_024) };
    let weight = one * programs;
    for path in common(own).iter().map(|folder| folder.join(file)).filter(|path| path.exists()) {
        if let Err(error) = fs::write(&path, weight.to_string()) {
            tracing::warn!(path = %path.display(), weight, %error, "The weight of all sandboxes could not be set");
        }
    }
}

/// The service's own folder, and the one that it shares with other services of this program. Where two of them hurry at
/// once, the first that is done takes the weight from both, which only makes the other's start slower.
fn common(own: &Group) -> Vec<PathBuf> {
    let folders = own.folders.iter().map(|(_, folder)| folder.as_path());
    folders.flat_map(|folder| [folder.parent(), Some(folder)]).flatten().map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_folders_weigh_more_until_the_last_hurry_is_over() {
        for (version, file, usual, hurried) in [(1, "cpu.shares", "1024", "8192"), (2, "cpu.weight", "100", "800")] {
            let top = tempfile::tempdir().unwrap();
            let (outer, inner) = (top.path().join("plugbay"), top.path().join("plugbay").join("instance"));
            fs::create_dir_all(&inner).unwrap();
            let files = [outer.join(file), inner.join(file)];
            let own = Group { version, folders: vec![(String::new(), inner)] };
            for path in &files {
                fs::write(path, "untouched").unwrap();
            }
            let read = || files.each_ref().map(|path| fs::read_to_string(path).unwrap());
            let hurry = Hurry::default();
            hurry.note("never hurried", Pace::Usual, &own);
            assert_eq!(read(), ["untouched"; 2]);
            hurry.note("first", Pace::Hurried, &own);
            assert_eq!(read(), [hurried; 2]);
            hurry.note("second", Pace::Hurried, &own);
            hurry.note("first", Pace::Usual, &own);
            assert_eq!(read(), [hurried; 2]);
            hurry.note("second", Pace::Usual, &own);
            assert_eq!(read(), [usual; 2]);
        }
    }
}
