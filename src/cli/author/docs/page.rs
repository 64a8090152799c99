//! What a page holds, before it is written in one form or another. Texts are an author's own; each form escapes them.

use crate::domain::printable;

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    /// Its name without an ending, such as `tools`.
    pub(super) name: &'static str,
    pub(super) title: String,
    pub(super) blocks: Vec<Block>,
}

#[derive(Debug)]
pub(super) enum Block {
    Heading(Vec<Inline>),
    Paragraph(Vec<Inline>),
    Code(&'static str, String),
    Table(Vec<&'static str>, Vec<Vec<Vec<Inline>>>),
    List(Vec<Vec<Inline>>),
}

/// A part of a line.
#[derive(Clone, Debug)]
pub(super) enum Inline {
    Text(String),
    Code(String),
    /// A page of this documentation.
    Link(String, &'static str),
}

/// Plain text on one line.
pub(super) fn text(text: impl AsRef<str>) -> Inline {
    Inline::Text(one_line(text.as_ref()))
}

/// A name or a value.
pub(super) fn code(text: impl AsRef<str>) -> Inline {
    Inline::Code(one_line(text.as_ref()))
}

/// The paragraphs of a docstring or description.
pub(super) fn paragraphs(prose: &str) -> Vec<Block> {
    let lines: Vec<&str> = prose.lines().map(str::trim).collect();
    let parts = lines.split(|line| line.is_empty()).filter(|part| !part.is_empty());
    parts.map(|part| Block::Paragraph(prose_line(&part.join(" ")))).collect()
}

/// Prose with names in backticks, one or two of them.
fn prose_line(prose: &str) -> Vec<Inline> {
    let whole = one_line(prose).replace("``", "`");
    let parts: Vec<&str> = whole.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return vec![Inline::Text(whole)];
    }
    let part = |(place, part): (usize, &&str)| {
        let part = (*part).to_owned();
        if place.is_multiple_of(2) { Inline::Text(part) } else { Inline::Code(part) }
    };
    parts.iter().enumerate().map(part).collect()
}

fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}
