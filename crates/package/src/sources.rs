//! What of a plugin's folder is packed, and what is left out by which rule.
//!
//! Only the folder itself decides: `.pluginignore` files in it and the rules below. Settings of git differ between
//! machines.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::beneath::{FILE_MODE, RUNNABLE_MODE};
use super::{EntryPath, PackageError};
use plugbay_domain::escape;

/// What to leave out, in gitignore's syntax. The file itself is left out too.
pub const IGNORE_FILE: &str = ".pluginignore";

/// Never packed, whatever `.pluginignore` says.
const NEVER: [&str; 2] = [".git", IGNORE_FILE];

/// Left out unless a line with `!` in `.pluginignore` says otherwise.
const USUALLY: [&str; 10] = [
    ".env*",
    "*.key",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "__pycache__",
    ".venv",
    "**/node_modules/.cache",
    ".plugbay",
];

/// How deep folders are looked into. Archives allow less.
const MAX_DEPTH: usize = 128;

/// What of a folder is packed and what is not.
#[derive(Debug, Default)]
pub struct Sources {
    /// Files and folders to pack, sorted by the bytes of their paths.
    pub packed: Vec<Source>,
    /// What stays out, sorted alike. A folder stands for all that is in it.
    pub left_out: Vec<LeftOut>,
}

/// One file or folder to pack.
#[derive(Debug)]
pub struct Source {
    /// Its place in the package.
    pub path: EntryPath,
    /// Where it is.
    pub from: PathBuf,
    /// Size and mode of a file; nothing for a folder.
    pub file: Option<(u64, u32)>,
}

/// Something that is not packed.
#[derive(Debug)]
pub struct LeftOut {
    /// Its place in the folder, escaped; `/` ends a folder.
    pub path: String,
    /// Where it is.
    pub from: PathBuf,
    /// The line that says so.
    pub rule: String,
    /// The file with that line, relative to the folder; nothing for a rule of plugbay itself.
    pub file: Option<String>,
}

impl LeftOut {
    /// The rule and where it stands, for people.
    pub fn reason(&self) -> String {
        let place = self.file.as_deref().unwrap_or("built in");
        format!("{place}: `{}`", self.rule)
    }
}

/// Tells what of a folder is packed. A link or special file is an error, because an archive that holds one is refused.
pub fn sources(folder: &Path) -> Result<Sources, PackageError> {
    let mut walk = Walk { folder, usually: usually(folder)?, ignores: Vec::new(), sources: Sources::default() };
    walk.enter(folder, 0)?;
    let Sources { mut packed, mut left_out } = walk.sources;
    packed.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    left_out.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(Sources { packed, left_out })
}

fn usually(folder: &Path) -> Result<Gitignore, PackageError> {
    let mut rules = GitignoreBuilder::new(folder);
    for rule in USUALLY {
        rules.add_line(None, rule).map_err(other("read the rules for", folder))?;
    }
    rules.build().map_err(other("read the rules for", folder))
}

fn other(action: &'static str, path: &Path) -> impl FnOnce(ignore::Error) -> PackageError {
    move |error| PackageError::io(action, path)(io::Error::other(error))
}

struct Walk<'a> {
    folder: &'a Path,
    usually: Gitignore,
    /// One for each `.pluginignore` between the folder and where the walk is.
    ignores: Vec<Gitignore>,
    sources: Sources,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Path, depth: usize) -> Result<(), PackageError> {
        let ignore_file = folder.join(IGNORE_FILE);
        let has_rules = ignore_file.is_file();
        if has_rules {
            let (rules, error) = Gitignore::new(&ignore_file);
            error.map_or(Ok(()), |error| Err(other("read", &ignore_file)(error)))?;
            self.ignores.push(rules);
        }
        for entry in fs::read_dir(folder).map_err(PackageError::io("read", folder))? {
            let from = entry.map_err(PackageError::io("read", folder))?.path();
            self.visit(from, depth)?;
        }
        if has_rules {
            self.ignores.pop();
        }
        Ok(())
    }

    fn visit(&mut self, from: PathBuf, depth: usize) -> Result<(), PackageError> {
        let metadata = fs::symlink_metadata(&from).map_err(PackageError::io("look at", &from))?;
        let kind = metadata.file_type();
        let inner = from.strip_prefix(self.folder).unwrap_or(&from).to_owned();
        if let Some((rule, file)) = self.rule_against(&from, kind.is_dir()) {
            let path = escape(&inner.to_string_lossy()) + if kind.is_dir() { "/" } else { "" };
            self.sources.left_out.push(LeftOut { path, from, rule, file });
            return Ok(());
        }
        let path = EntryPath::parse(inner.as_os_str().as_bytes())?;
        let file = if kind.is_dir() {
            None
        } else if kind.is_file() {
            let mode = if metadata.permissions().mode() & 0o100 != 0 { RUNNABLE_MODE } else { FILE_MODE };
            Some((metadata.len(), mode))
        } else {
            let found = if kind.is_symlink() { "symbolic link" } else { "device, socket or FIFO" };
            return Err(PackageError::SourceKind { path: escape(path.as_str()), found });
        };
        let deeper = file.is_none().then(|| from.clone());
        self.sources.packed.push(Source { path, from, file });
        match deeper {
            Some(folder) if depth < MAX_DEPTH => self.enter(&folder, depth.saturating_add(1)),
            Some(folder) => {
                let error = io::Error::other(format!("folders lie more than {MAX_DEPTH} deep"));
                Err(PackageError::io("read", &folder)(error))
            }
            None => Ok(()),
        }
    }

    /// The rule that keeps a file or folder out. The `.pluginignore` nearest to it says more than those above.
    fn rule_against(&self, from: &Path, is_folder: bool) -> Option<(String, Option<String>)> {
        let name = from.file_name().unwrap_or_default();
        if let Some(never) = NEVER.iter().find(|never| name == **never) {
            return Some(((*never).to_owned(), None));
        }
        for rules in self.ignores.iter().rev().chain([&self.usually]) {
            match rules.matched(from, is_folder) {
                Match::None => {}
                Match::Whitelist(_) => return None,
                Match::Ignore(glob) => {
                    let file = glob.from().map(|file| file.strip_prefix(self.folder).unwrap_or(file));
                    return Some((escape(glob.original()), file.map(|file| escape(&file.to_string_lossy()))));
                }
            }
        }
        None
    }
}
