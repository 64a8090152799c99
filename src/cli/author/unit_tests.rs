//! A plugin's own tests, as its author runs them.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::failure::{Failure, Local};
use crate::cli::output::Output;

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

/// Runs the tests in the folder `tests`, if there are any. What they write is for people, so it goes to stderr.
#[expect(clippy::disallowed_methods, reason = "the author's own tests, on the author's machine")]
pub(in crate::cli) fn run(folder: &Path, output: &Output) -> Result<UnitTests, Failure> {
    if !has_tests(&folder.join("tests")) {
        output.message("There is no tests/test*.py, so no unit tests were run");
        return Ok(UnitTests::None);
    }
    let line = format!("python3 {}", ARGUMENTS.join(" "));
    output.message(&format!("Running `{line}`"));
    let failed = |detail: String| {
        let how = format!("mend what they show; to run them alone: cd {} && {line}", folder.display());
        Failure::local(Local::TestsFailed, detail, how)
    };
    let status = Command::new("python3")
        .args(ARGUMENTS)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| failed(format!("failed to start python3: {error}")))?;
    if status.success() { Ok(UnitTests::Passed) } else { Err(failed(format!("python3 ended with {status}"))) }
}

fn has_tests(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    names.any(|name| name.starts_with("test") && Path::new(&name).extension().is_some_and(|ending| ending == "py"))
}
