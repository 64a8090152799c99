//! The text of a Python file: its encoding, and places in it.

use ruff_text_size::TextSize;

use crate::model::Place;

/// Bytes of a line up to which a column is counted in characters. Counting is linear, and a line may be the whole file.
const MAX_COUNTED: usize = 4096;

/// Encodings that are UTF-8 or part of it.
const UTF8: [&str; 6] = ["utf-8", "utf8", "u8", "utf-8-sig", "ascii", "us-ascii"];

/// The text, or what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<&str, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(name) = declared_encoding(bytes) {
        let canonical = name.to_ascii_lowercase().replace('_', "-");
        if !UTF8.contains(&canonical.as_str()) {
            return Err(format!("declares the encoding `{name}`; only UTF-8 is read"));
        }
    }
    std::str::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8: byte {} begins no character", error.valid_up_to() + 1))
}

/// The encoding that one of the first two lines declares: <https://peps.python.org/pep-0263/>.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    // The lines of `\r\n` are two here, of which the second is empty.
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).take(4);
    let mut left = 2;
    for line in lines.filter(|line| !line.is_empty()) {
        let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t' | 0x0c))?;
        if left == 0 || line[start] != b'#' {
            return None;
        }
        left -= 1;
        let line = &line[..line.len().min(512)];
        let found = line.windows(7).position(|part| part == b"coding:" || part == b"coding=");
        if let Some(at) = found {
            let rest = &line[at + 7..];
            let skipped = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let name: Vec<u8> = rest[skipped..].iter().take_while(is_name).copied().collect();
            return String::from_utf8(name).ok().filter(|name| !name.is_empty());
        }
    }
    None
}

/// Finds the places of offsets in a text.
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    is_ascii: bool,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts, is_ascii: text.is_ascii() }
    }

    pub(crate) fn place(&self, offset: TextSize) -> Place {
        let offset = offset.to_usize().min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts[line - 1];
        let column = if self.is_ascii || offset - start > MAX_COUNTED {
            offset - start
        } else {
            self.text.get(start..offset).map_or(offset - start, |before| before.chars().count())
        };
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Place { line: number(line), column: number(column + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_declared_in_the_first_two_lines() {
        assert_eq!(declared_encoding(b"# -*- coding: latin-1 -*-\n").as_deref(), Some("latin-1"));
        assert_eq!(
            declared_encoding(b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n").as_deref(),
            Some("cp1252")
        );
        assert_eq!(declared_encoding(b"#!/bin/python\r\n# coding=utf-7\r\n").as_deref(), Some("utf-7"));
        assert_eq!(declared_encoding(b"#\n#\n# coding: utf-7\n"), None);
        assert_eq!(declared_encoding(b"x = 1 # coding: utf-7\n"), None);
        assert!(decode(b"# coding: UTF_8\nx = 1\n").is_ok());
        assert!(decode(b"# coding: rot13\nx = 1\n").unwrap_err().contains("rot13"));
        assert!(decode(b"x = '\xff'\n").unwrap_err().contains("byte 6"));
        assert_eq!(decode(b"\xef\xbb\xbfx"), Ok("x"));
    }

    #[test]
    fn columns_count_characters_and_every_line_end_counts() {
        let text = "a\r\nä = b\rc\nd";
        let lines = Lines::new(text);
        let place = |word: &str| {
            let place = lines.place(TextSize::try_from(text.find(word).unwrap()).unwrap());
            (place.line, place.column)
        };
        assert_eq!(place("b"), (2, 5));
        assert_eq!(place("c"), (3, 1));
        assert_eq!(place("d"), (4, 1));
    }
}
