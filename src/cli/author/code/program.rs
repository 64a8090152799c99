//! Programs of `stdio` and `exec`: whether Linux could start them.

use std::fs::File;
use std::io::Read as _;

use super::Look;
use crate::analyze::{FindingKind, Limits, analyze_source};
use crate::domain::FieldError;

/// What a program of Linux begins with, and a script.
const ELF: &[u8] = b"\x7fELF";
const SCRIPT: &[u8] = b"#!";

/// Programs of the image that a first line can name. A near-miss is told, anything else may be in the image.
const KNOWN: [&str; 8] = ["sh", "bash", "dash", "env", "python", "python3", "python3.11", "node"];

impl Look<'_> {
    /// Looks at the first bytes of a program, and at a script of Python as a whole.
    pub(super) fn program(&mut self) {
        let shown = self.code.declared.path.clone();
        let mut bytes = Vec::new();
        let most = Limits::default().python_bytes as u64;
        let opened = File::open(self.code.folder.join(&shown));
        if opened.and_then(|file| file.take(most).read_to_end(&mut bytes)).is_err() || bytes.starts_with(ELF) {
            return;
        }
        if !bytes.starts_with(SCRIPT) {
            let message = format!(
                "`{shown}` is no program of Linux, and its first line names none that runs it; begin it with `#!/bin/sh` \
                 or `#!/usr/bin/env python3`"
            );
            return self.in_manifest("/main", message);
        }
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.ends_with(b"\r") {
            let message =
                format!("the first line of `{shown}` ends with a carriage return; save it with the line ends of Linux");
            return self.in_manifest("/main", message);
        }
        let line = String::from_utf8_lossy(&line[SCRIPT.len()..]).into_owned();
        self.interpreter(&shown, &line);
        if line.contains("python") {
            self.script(&shown, &bytes);
        }
    }

    fn interpreter(&mut self, shown: &str, line: &str) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let place = |message: String| FieldError { pointer: String::new(), line: Some(1), column: Some(3), message };
        if !first.starts_with('/') {
            let message = format!("the first line names `{first}`, which is no path from the root; write `#!/bin/sh`");
            let mistake = self.in_file(shown, place(message));
            return self.found.mistakes.push(mistake);
        }
        let program = first.rsplit('/').next().unwrap_or(first);
        let program =
            if program == "env" { words.find(|word| !word.starts_with('-')).unwrap_or(program) } else { program };
        if KNOWN.contains(&program) {
            return;
        }
        let hint = super::hint(program, KNOWN);
        if !hint.is_empty() {
            let mistake = self.in_file(shown, place(format!("the first line names the program `{program}`{hint}")));
            self.found.warnings.push(mistake);
        }
    }

    fn script(&mut self, shown: &str, bytes: &[u8]) {
        let analysis = analyze_source(shown, bytes, &Limits::default());
        for finding in analysis.findings {
            let (line, column) = finding.place.map(|place| (place.line.into(), place.column.into())).unzip();
            let field = FieldError { pointer: String::new(), line, column, message: finding.message };
            let mistake = self.in_file(shown, field);
            match finding.kind {
                FindingKind::Syntax => self.found.mistakes.push(mistake),
                _ => self.found.warnings.push(mistake),
            }
        }
    }
}
