//! The author's folder: its build command, and a copy that can be added to.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use ignore::WalkBuilder;

use crate::cli::failure::{Failure, Local};
use crate::cli::output::Output;
use crate::domain::escape;

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

/// Copies what would be packed. Links are copied as links, so that packing refuses them as it does without vendoring.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| Failure::io(format_args!("copy `{path}`"), &error)
    };
    let walk = WalkBuilder::new(from)
        .standard_filters(false)
        .add_custom_ignore_filename(".pluginignore")
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    for entry in walk {
        let entry = entry.map_err(|error| failed(from)(io::Error::other(error)))?;
        let inner = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let target = to.join(inner);
        let kind = fs::symlink_metadata(entry.path()).map_err(failed(entry.path()))?.file_type();
        let copied = if kind.is_dir() {
            fs::create_dir_all(&target)
        } else if kind.is_symlink() {
            fs::read_link(entry.path()).and_then(|link| std::os::unix::fs::symlink(link, &target))
        } else {
            fs::copy(entry.path(), &target).map(|_bytes| ())
        };
        copied.map_err(failed(entry.path()))?;
    }
    Ok(())
}
