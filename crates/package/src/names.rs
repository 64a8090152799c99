//! The tree of an archive's names, so that no two of them can mean one file on any file system.

use std::collections::HashMap;

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

use super::archive::EntryKind;
use super::error::Limit;
use super::{EntryPath, PackageError};
use plugbay_domain::escape;

/// All names seen, each below its folder. Folders that only appear within a longer path count as well: they are
/// created too, so an archive of deep paths must not make more of them than entries are allowed.
#[derive(Debug)]
pub(super) struct Names {
    nodes: HashMap<(u32, String), Node>,
    most: u64,
}

#[derive(Debug)]
struct Node {
    id: u32,
    path: Box<str>,
    kind: NodeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeKind {
    File,
    Folder,
    /// A folder that no entry of its own has named yet.
    Implied,
}

impl Names {
    pub(super) fn new(most: u64) -> Self {
        Self { nodes: HashMap::new(), most }
    }

    /// Adds an entry, or tells which earlier one it collides with.
    pub(super) fn add(&mut self, path: &EntryPath, kind: EntryKind) -> Result<(), PackageError> {
        let text = path.as_str();
        let mut parent = 0;
        let mut end: usize = 0;
        for component in path.components() {
            end = end.saturating_add(component.len());
            let prefix = text.get(..end).unwrap_or(text);
            let kind = match kind {
                _ if prefix.len() < text.len() => NodeKind::Implied,
                EntryKind::File => NodeKind::File,
                EntryKind::Folder => NodeKind::Folder,
            };
            parent = self.add_node(parent, component, prefix, kind, text)?;
            end = end.saturating_add(1);
        }
        Ok(())
    }

    fn add_node(
        &mut self,
        parent: u32,
        name: &str,
        path: &str,
        kind: NodeKind,
        entry: &str,
    ) -> Result<u32, PackageError> {
        let key = (parent, folded(name));
        let Some(node) = self.nodes.get_mut(&key) else {
            let count = self.nodes.len() as u64;
            if count >= self.most {
                let place = "the archive".to_owned();
                return Err(PackageError::ArchiveTooLarge { place, limit: Limit::Entries, most: self.most });
            }
            let id = u32::try_from(count.saturating_add(1)).unwrap_or(u32::MAX);
            self.nodes.insert(key, Node { id, path: path.into(), kind });
            return Ok(id);
        };
        let collision = |rule| {
            let (entry, other) = (escape(entry), escape(&node.path));
            Err(PackageError::PathCollision { entry, other, rule })
        };
        if &*node.path != path {
            return collision("they differ only in case or Unicode form");
        }
        match (node.kind, kind) {
            (NodeKind::Implied, NodeKind::Folder) => node.kind = NodeKind::Folder,
            (NodeKind::Folder | NodeKind::Implied, NodeKind::Implied) => {}
            (NodeKind::File, NodeKind::Implied | NodeKind::Folder) | (_, NodeKind::File) if node.kind != kind => {
                return collision("one is a file and the other a folder");
            }
            _ => return collision("the name appears twice"),
        }
        Ok(node.id)
    }

    /// Every folder, named or implied, in an order in which each comes after the one it lies in.
    pub(super) fn folders(&self) -> Vec<&str> {
        let is_folder = |node: &&Node| node.kind != NodeKind::File;
        let mut folders: Vec<&str> = self.nodes.values().filter(is_folder).map(|node| &*node.path).collect();
        folders.sort_unstable();
        folders
    }
}

/// What names are compared by: compatibility forms unified, then case folded, then unified again, because folding can
/// produce what the first step would have changed.
fn folded(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let unified: String = name.nfkc().collect();
    UniCase::unicode(unified).to_folded_case().nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::{Code, Refusal};

    fn collide(first: (&str, EntryKind), second: (&str, EntryKind)) -> bool {
        let mut names = Names::new(100);
        names.add(&first.0.parse().unwrap(), first.1).unwrap();
        names.add(&second.0.parse().unwrap(), second.1).is_err_and(|error| error.code() == Code::PathCollision)
    }

    #[test]
    fn names_that_some_file_system_takes_for_one_collide() {
        use EntryKind::{File, Folder};
        let pairs = [
            ("a", "a"),
            ("README", "readme"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("\u{fb01}le", "file"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{212a}", "k"),
            ("\u{17f}", "s"),
            ("\u{1c4}", "d\u{17e}"),
            ("\u{3a3}", "\u{3c2}"),
            ("Src/a", "src/b"),
        ];
        for (first, second) in pairs {
            assert!(collide((first, File), (second, File)), "{first} {second}");
        }
        assert!(collide(("a", File), ("a/b", File)));
        assert!(collide(("a/b", File), ("a", File)));
        assert!(collide(("a", File), ("a", Folder)));
        assert!(collide(("a", Folder), ("a", File)));
        assert!(collide(("a", Folder), ("a", Folder)));
    }

    #[test]
    fn a_folder_may_be_named_after_what_is_in_it() {
        use EntryKind::{File, Folder};
        assert!(!collide(("a/b", File), ("a", Folder)));
        assert!(!collide(("a", Folder), ("a/b", Folder)));
        assert!(!collide(("a/b", File), ("c/b", File)));
    }

    #[test]
    fn implied_folders_count_as_entries() {
        let mut names = Names::new(3);
        names.add(&"a/b/c".parse().unwrap(), EntryKind::File).unwrap();
        let error = names.add(&"d".parse().unwrap(), EntryKind::File).unwrap_err();
        assert_eq!(error.code(), Code::ArchiveTooLarge);
        assert_eq!(names.folders(), ["a", "a/b"]);
    }
}
