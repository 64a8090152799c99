//! Runs pip and turns its failures into what to do.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};

use indicatif::ProgressBar;

use super::index::{Cause, Findings, MAX_LINES};
use super::vendor::Choice;
use crate::cli::failure::{Failure, Local};
use crate::domain::escape;

/// Lines of a failed program that are repeated.
const SHOWN_LINES: usize = 15;

/// Runs pip. What it prints is shown only if it fails.
pub(super) fn pip(arguments: &[String], choice: &Choice<'_>, spinner: &ProgressBar) -> Result<(), Failure> {
    let ended = run(arguments, |line| spinner.set_message(escape(line.trim())))?;
    if ended.is_well { Ok(()) } else { Err(explain(&ended.last_lines, choice)) }
}

/// How pip ended.
struct Ended {
    is_well: bool,
    last_lines: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "pip fetches what the author asked for, on the author's machine")]
fn run(arguments: &[String], mut each: impl FnMut(&str)) -> Result<Ended, Failure> {
    let start_failed = |error: io::Error| {
        let how = "install Python 3 with pip (Debian, Ubuntu: apt install python3-pip)";
        Failure::local(Local::VendoringFailed, format!("failed to start `python3 -m pip`: {error}"), how)
    };
    let mut child = Command::new("python3")
        .args(["-m", "pip", "--no-input", "--disable-pip-version-check", "--no-color"])
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start_failed)?;
    let errors = child.stderr.take();
    // Both streams are read at once: a full pipe that nobody reads would stop pip for good.
    let errors = std::thread::spawn(move || errors.map(last_lines).unwrap_or_default());
    if let Some(lines) = child.stdout.take() {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            each(&line);
        }
    }
    let status = child.wait().map_err(start_failed)?;
    Ok(Ended { is_well: status.success(), last_lines: errors.join().unwrap_or_default() })
}

fn last_lines(stream: impl Read) -> Vec<String> {
    let mut last = VecDeque::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last.into()
}

/// Turns pip's words into what to do.
fn explain(lines: &[String], choice: &Choice<'_>) -> Failure {
    let failed = |detail: String, how: &str| Failure::local(Local::VendoringFailed, detail, how);
    let missing =
        lines.iter().find_map(|line| line.split_once("No matching distribution found for ").map(|found| found.1));
    let Some(missing) = missing else {
        let shown: Vec<String> = lines.iter().map(|line| escape(line)).collect();
        let how = "read what pip says; behind a proxy or on an own index, configure pip as usual";
        return failed(format!("pip failed:\n{}", shown.join("\n")), how);
    };
    let wish = missing.split(" (from").next().unwrap_or(missing).trim();
    let (shown, version) = (escape(wish), choice.target.version());
    match find_cause(wish, choice) {
        Cause::Unreachable { index, why } => {
            let how = "check the network and the proxy, or name another index as pip reads it: PIP_INDEX_URL; \
                       --find-links DIR needs none";
            failed(format!("the index {index} cannot be reached: {why}"), how)
        }
        Cause::NoPackage => {
            let name: String = shown.chars().take_while(|c| c.is_alphanumeric() || "-_.".contains(*c)).collect();
            let how = "correct the name under `dependencies` in plugin.yaml or in requirements.txt; a package of your \
                       own index needs PIP_INDEX_URL";
            failed(format!("there is no package `{name}` at the index"), how)
        }
        Cause::NoVersion { found } => {
            let how = "correct the version under `dependencies` in plugin.yaml or in requirements.txt";
            failed(format!("there is no version of `{shown}`; there are {}", found.join(", ")), how)
        }
        Cause::NoWheel => {
            let quoted: Vec<String> =
                choice.wishes.arguments().iter().map(|text| format!("'{}'", escape(text))).collect();
            let how = format!(
                "make the wheel on Linux x86_64: python{version} -m pip wheel --wheel-dir wheels {} — then pack again with \
                 --find-links wheels",
                quoted.join(" ")
            );
            failed(format!("there is no wheel of `{shown}` for Python {version} on Linux x86_64"), &how)
        }
    }
}

/// Asks pip once more about one wish, with everything it sees. It fails again, and says why.
fn find_cause(wish: &str, choice: &Choice<'_>) -> Cause {
    let mut findings = Findings::default();
    let Ok(folder) = tempfile::tempdir() else { return findings.cause() };
    let mut arguments = ["download", "-vv", "--no-deps", "--retries=0"].map(ToOwned::to_owned).to_vec();
    arguments.push(format!("--dest={}", folder.path().display()));
    arguments.extend(choice.options());
    arguments.extend(["--".to_owned(), wish.to_owned()]);
    let mut left = MAX_LINES;
    let asked = run(&arguments, |line| {
        left = left.saturating_sub(1);
        if left > 0 {
            findings.take(line);
        }
    });
    for line in asked.map(|ended| ended.last_lines).unwrap_or_default() {
        findings.take(&line);
    }
    findings.cause()
}
