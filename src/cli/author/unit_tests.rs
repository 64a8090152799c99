//! A plugin's own tests, as its author runs them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::startup::write_sdk;

/// How the tests are run. Without compiled files, because the author's folder is read and never written.
const ARGUMENTS: [&str; 6] = ["-B", "-m", "unittest", "discover", "-s", "tests"];

/// What became of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum UnitTests {
    /// There are none.
    None,
    /// All passed.
    Passed,
}

/// Runs the tests in the folder `tests`, if there are any, with the SDK of this version and the plugin's dependencies
/// at hand as they are in the sandbox. What they write is for people, so it goes to stderr.
#[expect(clippy::disallowed_methods, reason = "the author's own tests, on the author's machine")]
pub(in crate::cli) fn run(folder: &Path, vendor: &Path, context: &Context) -> Result<UnitTests, Failure> {
    let output = &context.output;
    if !has_tests(&folder.join("tests")) {
        output.message("There is no tests/test*.py, so no unit tests were run");
        return Ok(UnitTests::None);
    }
    let line = format!("python3 {}", ARGUMENTS.join(" "));
    output.message(&format!("Running `{line}`"));
    let failed = |detail: String| {
        let how = format!("mend what they show; to run them alone: plugbay test {} --no-sandbox", folder.display());
        Failure::local(Local::TestsFailed, detail, how)
    };
    let place = tempfile::tempdir().map_err(|error| Failure::io("make a temporary folder", &error))?;
    let path = python_path(&write_sdk(place.path())?, vendor, context)?;
    let status = Command::new("python3")
        .args(ARGUMENTS)
        .env("PYTHONPATH", path)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| failed(format!("failed to start python3: {error}")))?;
    if status.success() { Ok(UnitTests::Passed) } else { Err(failed(format!("python3 ended with {status}"))) }
}

/// What the author's own path has comes last: the tests see the plugin as the sandbox does.
fn python_path(sdk: &Path, vendor: &Path, context: &Context) -> Result<OsString, Failure> {
    let mut folders = vec![sdk.to_owned()];
    if vendor.is_dir() {
        folders.push(vendor.canonicalize().map_err(|error| Failure::read(vendor, &error))?);
    }
    let own = context.environment.get("PYTHONPATH").unwrap_or_default();
    folders.extend(env::split_paths(own).filter(|folder| !folder.as_os_str().is_empty()));
    env::join_paths(folders).map_err(|error| Failure::io("make PYTHONPATH", &io::Error::other(error)))
}

fn has_tests(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    names.any(|name| name.starts_with("test") && Path::new(&name).extension().is_some_and(|ending| ending == "py"))
}
