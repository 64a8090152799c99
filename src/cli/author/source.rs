//! The author's folder: its build command, and a copy that can be added to.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::failure::{Failure, Local};
use crate::cli::output::Output;
use crate::domain::escape;
use crate::package::{self, IGNORE_FILE, LeftOut, Sources};

/// Runs the author's build command in the plugin's folder. Its output is for people, so it goes to stderr.
#[expect(clippy::disallowed_methods, reason = "the author's own command, on the author's machine")]
pub(super) fn run_build(folder: &Path, build: &str, output: &Output) -> Result<(), Failure> {
    output.message(&format!("Running `{}`", escape(build)));
    let failed = |detail: String| {
        let how = format!("correct `build` in plugin.yaml, or run it yourself: cd {} && {build}", folder.display());
        Failure::local(Local::BuildFailed, detail, how)
    };
    let status = Command::new("sh")
        .args(["-c", build])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| failed(format!("failed to start sh: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("`{}` ended with {status}", escape(build)))) }
}

/// Copies what would be packed, and the rules for it, which hold for what is added to the copy, too.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| Failure::io(format_args!("copy `{path}`"), &error)
    };
    let Sources { packed, left_out } = package::sources(from)?;
    for source in packed {
        let target = to.join(source.path.as_str());
        let copied = match source.file {
            None => fs::create_dir_all(&target),
            Some(_) => fs::copy(&source.from, &target).map(|_bytes| ()),
        };
        copied.map_err(failed(&source.from))?;
    }
    for LeftOut { from: rules, .. } in left_out {
        if rules.file_name().is_some_and(|name| name == IGNORE_FILE) && rules.is_file() {
            let target = to.join(rules.strip_prefix(from).unwrap_or(&rules));
            fs::copy(&rules, &target).map_err(failed(&rules))?;
        }
    }
    Ok(())
}
