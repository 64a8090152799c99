//! `cargo xtask`: makes the places of something new, as `docs/development/adding-a-*.md` names them, each with a mark, and
//! a test that fails until no mark is left. It changes nothing unless all places can be made.
//!
//! ```text
//! cargo xtask new-host-function FAMILY.VERB
//! cargo xtask new-route FAMILY.VERB
//! cargo xtask new-setting SECTION.NAME
//! ```
//!
//! `--root DIR` before the command works on another copy of the tree.

mod edits;
mod host_function;
mod mark;
mod name;
mod route;
mod setting;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use edits::Edits;

const USAGE: &str = "\
usage: cargo xtask new-host-function FAMILY.VERB    such as weather.forecast
       cargo xtask new-route FAMILY.VERB            such as weather.report
       cargo xtask new-setting SECTION.NAME         such as storage.cache_mb, with the unit at the end
";

fn main() -> ExitCode {
    let (mut code, text) = match run(std::env::args_os().skip(1)) {
        Ok(text) => (ExitCode::SUCCESS, text),
        Err(problem) => (ExitCode::FAILURE, format!("error: {problem}\n")),
    };
    let is_good = code == ExitCode::SUCCESS;
    let written =
        if is_good { io::stdout().write_all(text.as_bytes()) } else { io::stderr().write_all(text.as_bytes()) };
    if written.is_err() {
        code = ExitCode::FAILURE;
    }
    code
}

/// Does what the command line says. Gives what to print.
fn run(words: impl Iterator<Item = OsString>) -> Result<String, String> {
    let words: Vec<OsString> = words.collect();
    let (root, words) = match words.as_slice() {
        [flag, root, rest @ ..] if flag == "--root" => (PathBuf::from(root), rest),
        rest => (Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), rest),
    };
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let mut edits = Edits::new(root.clone());
    let next = match words.as_slice() {
        ["new-host-function", name] => host_function::make(&mut edits, name)?,
        ["new-route", name] => route::make(&mut edits, name)?,
        ["new-setting", name] => setting::make(&mut edits, name)?,
        ["-h" | "--help"] => return Ok(USAGE.to_owned()),
        _ => return Err(format!("expected a command and a name\n{USAGE}")),
    };
    let made = edits.write()?.join("\n  ");
    format_all(&root)?;
    let marked = mark::of(words[1]);
    Ok(format!("Made; where something has to be written stands `{marked}`:\n  {made}\n{next}"))
}

/// Lines that were made are longer or shorter than the formatter wants them, by the length of the name.
#[expect(clippy::disallowed_methods, reason = "the formatter is a program")]
fn format_all(root: &Path) -> Result<(), String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["fmt", "--all", "--manifest-path"]).arg(root.join("Cargo.toml"));
    let status =
        cargo.status().map_err(|error| format!("all places are made, and cargo fmt did not start: {error}"))?;
    if status.success() { Ok(()) } else { Err("all places are made, and cargo fmt failed".to_owned()) }
}
