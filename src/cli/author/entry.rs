//! What can be told of an entry point without running it: whether a script says what runs it, whether Python can read it,
//! and whether the class is in it that plugin.yaml names.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::domain::{DeclaredMain, FieldError, Manifest, Runtime, escape};

/// Bytes of a file that is looked at. Longer ones are made by programs.
const MAX_BYTES: u64 = 1024 * 1024;

/// What a program of Linux begins with, and a script.
const ELF: &[u8] = b"\x7fELF";
const SCRIPT: &[u8] = b"#!";

/// Reads Python as its own parser does, which runs nothing of it. Older parsers than that of the image know less, and say
/// nothing; a file that costs them too much is left alone, too.
const READER: &str = r#"
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
import ast, json
if sys.version_info < (3, 11):
    sys.exit(1)
wanted, found, classes = sys.argv[1], False, []
try:
    tree = ast.parse(sys.stdin.buffer.read())
except SyntaxError as error:
    print(json.dumps({"error": str(error.msg), "line": error.lineno or 1, "column": error.offset or 1}))
    sys.exit()
except ValueError as error:
    print(json.dumps({"error": str(error), "line": 1, "column": 1}))
    sys.exit()
for node in ast.walk(tree):
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        found |= node.name in (wanted, "__getattr__")
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        found |= any((name.asname or name.name.split(".")[0]) in (wanted, "*") for name in node.names)
    elif isinstance(node, ast.Name):
        makes_names = node.id in ("globals", "vars", "locals", "exec", "eval", "setattr")
        found |= makes_names or node.id == wanted and isinstance(node.ctx, ast.Store)
classes = [node.name[:64] for node in tree.body if isinstance(node, ast.ClassDef)][:5]
print(json.dumps({"found": found, "classes": classes}))
"#;

/// What the reader says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Read {
    Wrong { error: String, line: u64, column: u64 },
    Right { found: bool, classes: Vec<String> },
}

/// Looks at the entry point of a plugin's folder.
pub(super) fn look(folder: &Path, main: &DeclaredMain, manifest: &Manifest) -> Vec<FieldError> {
    let mut bytes = Vec::new();
    let read = File::open(folder.join(&main.path)).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    match manifest.runtime {
        Runtime::Python if bytes.len() as u64 <= MAX_BYTES => look_at_python(&bytes, main, manifest),
        Runtime::Python => Vec::new(),
        Runtime::Stdio | Runtime::Exec => look_at_program(&bytes, main).into_iter().collect(),
    }
}

fn look_at_program(bytes: &[u8], main: &DeclaredMain) -> Option<FieldError> {
    let shown = &main.path;
    if bytes.starts_with(ELF) {
        return None;
    }
    if !bytes.starts_with(SCRIPT) {
        let message = format!(
            "`{shown}` is no program of Linux, and its first line names none that runs it; begin it with `#!/bin/sh` or \
             `#!/usr/bin/env python3`"
        );
        return Some(main.mistake(message));
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let message =
        format!("the first line of `{shown}` ends with a carriage return; save it with the line ends of Linux");
    line.ends_with(b"\r").then(|| main.mistake(message))
}

fn look_at_python(bytes: &[u8], main: &DeclaredMain, manifest: &Manifest) -> Vec<FieldError> {
    let wanted = manifest.class.as_deref().filter(|class| !class.contains('.'));
    match read_python(bytes, wanted.unwrap_or_default()) {
        Some(Read::Wrong { error, line, column }) => {
            let message = format!("not valid Python: {} (in {})", escape(&error), main.path);
            vec![FieldError { pointer: String::new(), line: Some(line), column: Some(column), message }]
        }
        Some(Read::Right { found: false, classes }) => {
            wanted.map(|wanted| missing_class(wanted, &classes, main)).into_iter().collect()
        }
        Some(Read::Right { found: true, .. }) | None => Vec::new(),
    }
}

fn missing_class(wanted: &str, classes: &[String], main: &DeclaredMain) -> FieldError {
    let has = match classes {
        [] => "it has none at its top level".to_owned(),
        classes => format!("it has {}", escape(&classes.join(", "))),
    };
    main.class_mistake(format!("`{}` has no class `{}`; {has}", main.path, escape(wanted)))
}

/// Nothing where there is no Python that could tell.
#[expect(
    clippy::disallowed_methods,
    reason = "Python's own parser, on the author's machine; it runs nothing of the file"
)]
fn read_python(bytes: &[u8], wanted: &str) -> Option<Read> {
    let mut child = Command::new("python3")
        .args(["-I", "-S", "-c", READER, wanted])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // One that ends before it has read everything says nothing.
    drop(child.stdin.take()?.write_all(bytes));
    let output = child.wait_with_output().ok()?;
    serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
}
