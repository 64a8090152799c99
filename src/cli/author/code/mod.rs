//! What can be told of a plugin's code without running it: that it is valid Python, that the class and the handlers are
//! there which plugin.yaml names, that its imports are provided, and that a script says what runs it.

mod class;
mod imports;
mod offered;
mod program;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::analyze::{Analysis, Finding, FindingKind, Limits, Module, SourceFile, analyze_files};
use crate::cli::mistake::{Document, Mistake};
use crate::domain::{DeclaredCode, FieldError, Runtime};
use crate::package::Source;

/// The Python of the image, as `python` of a manifest speaks of it.
const IMAGE: [u64; 3] = [3, 11, 99];

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// What makes the plugin fail.
    pub(super) mistakes: Vec<Mistake>,
    /// What deserves a word.
    pub(super) warnings: Vec<Mistake>,
}

/// What is looked at.
pub(super) struct Code<'a> {
    pub(super) folder: &'a Path,
    pub(super) packed: &'a [Source],
    pub(super) declared: &'a DeclaredCode,
    pub(super) manifest: &'a Document<'a>,
    /// Whether packages are still to be fetched into `vendor/`.
    pub(super) vendors: bool,
}

/// Looks at the code of a folder.
pub(super) fn look(code: &Code<'_>) -> Found {
    let mut look = Look { code, analysis: Analysis::default(), texts: BTreeMap::new(), found: Found::default() };
    match code.declared.runtime {
        Some(Runtime::Python) => look.python(),
        Some(Runtime::Stdio | Runtime::Exec) => look.program(),
        None => {}
    }
    look.found
}

/// A look at one plugin.
struct Look<'a> {
    code: &'a Code<'a>,
    analysis: Analysis,
    /// Files that were read to show lines of them.
    texts: BTreeMap<String, Vec<u8>>,
    found: Found,
}

impl Look<'_> {
    fn python(&mut self) {
        let own = |source: &&Source| source.file.is_some() && !source.path.as_str().starts_with("vendor/");
        let file = |source: &Source| SourceFile { path: source.path.to_string(), from: source.from.clone() };
        self.analysis = analyze_files(self.code.packed.iter().filter(own).map(file).collect(), &Limits::default());
        let reached = imports::reached(&self.analysis, &self.code.declared.path);
        self.findings(&reached);
        self.class();
        self.imports(&reached);
    }

    /// Tells what could not be read. It stops what imports the file, and nothing else: tests and templates travel, too.
    fn findings(&mut self, reached: &[String]) {
        let main = self.code.declared.path.as_str();
        let is_image = self.code.declared.python.as_ref().is_none_or(|python| python.allows(IMAGE));
        for finding in self.analysis.findings.clone() {
            let is_used = finding.path == main || reached.contains(&finding.path);
            let Finding { kind, path, message, .. } = &finding;
            match kind {
                FindingKind::Version if !is_image => continue,
                FindingKind::Elf | FindingKind::Link => continue,
                _ => {}
            }
            let (line, column) = finding.place.map(|place| (place.line.into(), place.column.into())).unzip();
            let field = FieldError { pointer: String::new(), line, column, message: message.clone() };
            let mistake = if path.is_empty() { field.into() } else { self.in_file(path, field) };
            if is_used && matches!(kind, FindingKind::Syntax | FindingKind::Version) {
                self.found.mistakes.push(mistake);
            } else {
                self.found.warnings.push(mistake);
            }
        }
    }

    fn main(&self) -> Option<&Module> {
        self.analysis.module(&self.code.declared.path)
    }

    /// A mistake in a file of the plugin.
    fn in_file(&mut self, path: &str, field: FieldError) -> Mistake {
        let from = self.code.folder.join(path);
        let text = self.texts.entry(path.to_owned()).or_insert_with(|| {
            let (mut text, most) = (Vec::new(), Limits::default().python_bytes as u64);
            let read = File::open(&from).and_then(|file| file.take(most).read_to_end(&mut text));
            if read.is_ok() { text } else { Vec::new() }
        });
        Document { file: path, path: super::archive::shown(self.code.folder, path), text }.mistake(field)
    }

    /// A mistake at a value of plugin.yaml.
    fn in_manifest(&mut self, pointer: &str, message: String) {
        let mistake = self.code.manifest.mistake(self.code.declared.mistake(pointer, message));
        self.found.mistakes.push(mistake);
    }
}

/// `; did you mean …?`, where a known word is near.
fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    crate::domain::nearest(word, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}
