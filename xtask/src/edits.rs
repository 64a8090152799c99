//! Changes of files, found by what stands in them. All are made in memory first: where a place is missing, nothing is
//! written.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Files that are changed or made, by their paths below the root.
pub(crate) struct Edits {
    root: PathBuf,
    files: BTreeMap<String, File>,
}

struct File {
    /// What it holds on disk; None where it is new.
    before: Option<String>,
    text: String,
}

impl Edits {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, files: BTreeMap::new() }
    }

    /// The text of a file, with the changes so far.
    pub(crate) fn text(&mut self, path: &str) -> Result<&mut String, String> {
        if !self.files.contains_key(path) {
            let text = fs::read_to_string(self.root.join(path)).map_err(|error| format!("{path}: {error}"))?;
            self.files.insert(path.to_owned(), File { before: Some(text.clone()), text });
        }
        let file = self.files.get_mut(path).ok_or_else(|| format!("{path}: it is gone"))?;
        Ok(&mut file.text)
    }

    /// Makes a file that is not there yet.
    pub(crate) fn create(&mut self, path: &str, text: String) -> Result<(), String> {
        if self.root.join(path).exists() || self.files.contains_key(path) {
            return Err(format!("{path}: it exists already"));
        }
        self.files.insert(path.to_owned(), File { before: None, text });
        Ok(())
    }

    /// Names of the files in a folder.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(self.root.join(folder)).map_err(|error| format!("{folder}: {error}"))?;
        let mut names: Vec<_> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// Inserts lines before the one line that begins so, spaces aside.
    pub(crate) fn before(&mut self, path: &str, anchor: &str, lines: &str) -> Result<(), String> {
        let text = self.text(path)?;
        let at = line_of(path, text, anchor)?;
        text.insert_str(at, lines);
        Ok(())
    }

    /// Inserts lines at the end of a block: after the one line that begins so, before the next one that begins with `end`
    /// as it is written.
    pub(crate) fn at_end(&mut self, path: &str, anchor: &str, end: &str, lines: &str) -> Result<(), String> {
        let text = self.text(path)?;
        let from = line_of(path, text, anchor)?;
        let found = text[from..].find(&format!("\n{end}"));
        let Some(found) = found else {
            return Err(format!("{path}: nothing that begins with `{end}` follows on `{anchor}`; was it moved?"));
        };
        text.insert_str(from + found + 1, lines);
        Ok(())
    }

    /// Inserts a row at the end of a table of Markdown, found by its head.
    pub(crate) fn row(&mut self, path: &str, head: &str, row: &str) -> Result<(), String> {
        let text = self.text(path)?;
        let from = line_of(path, text, head)?;
        let rows = text[from..].split_inclusive('\n').take_while(|line| line.starts_with('|'));
        let length: usize = rows.map(str::len).sum();
        text.insert_str(from + length, row);
        Ok(())
    }

    /// Inserts `mod name;` where it belongs by the alphabet.
    pub(crate) fn module(&mut self, path: &str, name: &str) -> Result<(), String> {
        let text = self.text(path)?;
        let (mut at, mut place, mut attributes) = (0, None, None);
        for line in text.split_inclusive('\n') {
            let other = line.strip_prefix("mod ").and_then(|rest| rest.trim_end().strip_suffix(';'));
            match other {
                Some(other) if other > name => {
                    place = Some(attributes.unwrap_or(at));
                    break;
                }
                Some(_) => place = Some(at + line.len()),
                None => {}
            }
            attributes = line.starts_with("#[").then_some(attributes.unwrap_or(at));
            at += line.len();
        }
        let place = place.ok_or_else(|| format!("{path}: it has no line `mod …;`; was the list moved?"))?;
        text.insert_str(place, &format!("mod {name};\n"));
        Ok(())
    }

    /// Makes a name of a module known in a file of Rust.
    pub(crate) fn import(&mut self, path: &str, module: &str, name: &str) -> Result<(), String> {
        let text = self.text(path)?;
        let head = format!("use {module}::");
        let listed = text.match_indices(&head).find_map(|(at, _)| {
            let names = text[at + head.len()..].split_once(';')?.0;
            let is_list = names.starts_with('{') || !names.contains("::");
            let is_first = at == 0 || text[..at].ends_with('\n');
            (is_list && is_first).then_some((at + head.len(), names.to_owned()))
        });
        let Some((at, listed)) = listed else {
            // Behind the head of the file; the formatter finds the order.
            let at = text.find("\nuse ").ok_or_else(|| format!("{path}: it has no line `use …;`"))?;
            text.insert_str(at + 1, &format!("{head}{name};\n"));
            return Ok(());
        };
        let mut names: Vec<&str> = listed.trim_matches(['{', '}']).split(',').map(str::trim).collect();
        names.retain(|listed| !listed.is_empty());
        if !names.contains(&name) {
            names.push(name);
            text.replace_range(at..at + listed.len(), &format!("{{{}}}", names.join(", ")));
        }
        Ok(())
    }

    /// Writes what is not as before. Gives the paths.
    pub(crate) fn write(mut self) -> Result<Vec<String>, String> {
        self.files.retain(|_, file| file.before.as_ref() != Some(&file.text));
        for (path, file) in &self.files {
            fs::write(self.root.join(path), &file.text).map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(self.files.into_keys().collect())
    }
}

/// Where the one line begins that begins so, spaces aside.
fn line_of(path: &str, text: &str, anchor: &str) -> Result<usize, String> {
    let mut at = 0;
    let mut found = Vec::new();
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with(anchor) {
            found.push(at);
        }
        at += line.len();
    }
    match found.as_slice() {
        [at] => Ok(*at),
        [] => Err(format!("{path}: no line begins with `{anchor}`; was it moved?")),
        more => Err(format!("{path}: {} lines begin with `{anchor}`; one was expected", more.len())),
    }
}
