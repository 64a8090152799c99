//! Reads one Python file: from bytes to a [`Module`] and what is wrong with it.

use ruff_text_size::Ranged;

use crate::budget::Budget;
use crate::collect;
use crate::model::{Analysis, Finding, FindingKind, Place};
use crate::parse::parse;
use crate::source::{self, Lines};

/// Mistakes of one file that are told.
const MAX_TOLD: usize = 5;

/// Reads a Python file into the analysis.
pub(crate) fn read(analysis: &mut Analysis, path: &str, bytes: &[u8], budget: &Budget) {
    budget.begin_file();
    let had_room = !budget.is_out_of_results();
    let findings = &mut analysis.findings;
    let mut tell = |kind, place, message: String| {
        findings.push(Finding { kind, path: path.to_owned(), place, message });
    };
    if bytes.len() > budget.limits.python_bytes {
        let message = format!("has more than {} bytes and was not looked at", budget.limits.python_bytes);
        return tell(FindingKind::TooLarge, None, message);
    }
    let text = match source::decode(bytes) {
        Ok(text) => text,
        Err(message) => return tell(FindingKind::Encoding, Some(Place { line: 1, column: 1 }), message),
    };
    let lines = Lines::new(text);
    let parsed = match parse(text, budget) {
        Ok(parsed) => parsed,
        Err((kind, at, message)) => return tell(kind, at.map(|at| lines.place(at)), message),
    };
    for error in parsed.unsupported_syntax_errors().iter().take(MAX_TOLD) {
        tell(FindingKind::Version, Some(lines.place(error.start())), format!("not valid in Python 3.11: {error}"));
    }
    // After the first mistake the parser guesses, and what follows is often the same mistake again.
    if let Some(error) = parsed.errors().first() {
        let message = format!("not valid Python: {}", error.error);
        return tell(FindingKind::Syntax, Some(lines.place(error.location.start())), message);
    }
    let module = collect::module(path, text, &lines, &parsed.syntax().body, budget);
    if budget.is_out_of_folds() {
        let message = "its constants cost too much to follow; not all of them were".to_owned();
        tell(FindingKind::Folding, None, message);
    }
    // The file that takes the last room is told by its name, as it may be there to do so.
    if budget.is_out_of_file_results() || (had_room && budget.is_out_of_results()) {
        tell(FindingKind::Results, None, "it has more results than what is kept".to_owned());
    }
    if !budget.has_time() {
        tell(FindingKind::Time, None, "there was no time to read it to its end".to_owned());
    }
    analysis.modules.push(module);
}
