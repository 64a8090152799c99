//! One mistake in a document, with its place: `plugin.yaml:5:15: error: …`, and the line under it.

use serde::Serialize;

use super::shown::printable;
use crate::domain::{FieldError, escape};

/// Characters of a source line that are shown. A line may be a whole file.
const MAX_SHOWN: usize = 160;

/// One wrong value, in a file of a plugin or elsewhere.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Mistake {
    /// The file, as the package names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    #[serde(flatten)]
    pub(super) field: FieldError,
    /// What a terminal shows of it.
    #[serde(skip)]
    source: Option<Source>,
}

/// Where the reader of a terminal finds it.
#[derive(Clone, Debug)]
struct Source {
    /// The file's path from the current folder, so that terminals and editors can jump.
    path: String,
    line: String,
}

/// A file in which mistakes are found.
pub(super) struct Document<'a> {
    /// Its path in the package.
    pub(super) file: &'a str,
    /// Its path from the current folder.
    pub(super) path: String,
    pub(super) text: &'a [u8],
}

impl Document<'_> {
    /// A mistake in it.
    pub(super) fn mistake(&self, field: FieldError) -> Mistake {
        let line = field.line.and_then(|line| usize::try_from(line.checked_sub(1)?).ok());
        let line = line.and_then(|line| lines(self.text).nth(line)).unwrap_or_default();
        let source = Some(Source { path: self.path.clone(), line });
        Mistake { file: Some(self.file.to_owned()), field, source }
    }
}

/// Lines end as Python and YAML end them.
fn lines(text: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)).replace("\r\n", "\n");
    let lines: Vec<String> = text.split(['\n', '\r']).map(str::to_owned).collect();
    lines.into_iter()
}

/// How much a mistake matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// It stops the command.
    Error,
    /// It stops nothing.
    Warning,
}

impl Mistake {
    /// The path that a reader can open from the current folder.
    pub(super) fn path(&self) -> Option<&str> {
        self.source.as_ref().map(|source| source.path.as_str())
    }

    /// What is wrong in one line: its place in the package, and the message.
    pub(super) fn sentence(&self) -> String {
        match (&self.file, self.field.line, self.field.column) {
            (Some(file), Some(line), Some(column)) => {
                format!("{}:{line}:{column}: {}", escape(file), self.field.message)
            }
            (Some(file), ..) => format!("{}: {}", escape(file), self.field.message),
            (None, ..) => self.field.to_string(),
        }
    }

    /// The lines that a terminal shows. The first begins with the place, or is indented where there is none.
    pub(super) fn told(&self, severity: Severity, word: &str) -> Vec<String> {
        let Some(Source { path, line: source }) = &self.source else {
            let head = if severity == Severity::Warning { format!("{word}: ") } else { "  ".to_owned() };
            return vec![format!("{head}{}", indented(&self.field.to_string()))];
        };
        let path = escape(path);
        let message = indented(&self.field.message);
        let (Some(line), Some(column)) = (self.field.line, self.field.column) else {
            return vec![format!("{path}: {word}: {message}")];
        };
        let mut told = vec![format!("{path}:{line}:{column}: {word}: {message}")];
        let number = line.to_string();
        if let Some((shown, before)) = excerpt(source, column) {
            told.push(format!("  {number} | {shown}"));
            told.push(format!("  {:width$} | {:before$}^", "", "", width = number.len()));
        }
        told
    }
}

/// Text whose further lines are indented, so that none of them passes for an output of this program.
fn indented(text: &str) -> String {
    super::shown::entry(text, 4)
}

/// A part of a line around a column, and how many cells of it are before that column.
fn excerpt(line: &str, column: u64) -> Option<(String, usize)> {
    if line.trim().is_empty() {
        return None;
    }
    let at = usize::try_from(column.saturating_sub(1)).ok()?;
    let skipped = at.saturating_sub(MAX_SHOWN / 2);
    let shown: String = line.chars().skip(skipped).take(MAX_SHOWN).collect();
    let before: String = shown.chars().take(at - skipped).collect();
    // A tab is as wide as its terminal likes.
    let cell = |text: &str| printable(&text.replace('\t', " "));
    let width = cell(&before).chars().count();
    Some((cell(&shown), width))
}

impl From<FieldError> for Mistake {
    fn from(field: FieldError) -> Self {
        Self { file: None, field, source: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, line: u64, column: u64) -> Vec<String> {
        let document = Document { file: "a.py", path: "demo/a.py".to_owned(), text: text.as_bytes() };
        let field =
            FieldError { pointer: String::new(), line: Some(line), column: Some(column), message: "no".to_owned() };
        document.mistake(field).told(Severity::Error, "error")
    }

    #[test]
    fn the_caret_stands_under_the_column() {
        let shown = told("a\nbä = x\n", 2, 6);
        assert_eq!(shown, ["demo/a.py:2:6: error: no", "  2 | bä = x", "    |      ^"]);
        assert_eq!(told("\tx\r\ny", 1, 2)[1..], ["  1 |  x", "    |  ^"]);
        assert_eq!(told("x\n\n", 2, 1), ["demo/a.py:2:1: error: no"]);
        assert_eq!(told("x\n", 9, 9), ["demo/a.py:9:9: error: no"]);
    }

    #[test]
    fn a_hostile_line_is_cut_and_escaped() {
        let long = format!("{}\u{1b}[2J!", "a".repeat(10_000));
        let shown = told(&long, 1, 10_005);
        assert!(shown[1].len() < 300 && shown[1].ends_with(r"\u{1b}[2J!"), "{}", shown[1]);
        assert!(shown[2].ends_with('^') && shown[2].len() == shown[1].len(), "{shown:?}");
    }
}
