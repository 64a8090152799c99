//! Runs pip and turns its failures into what to do.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};

use indicatif::ProgressBar;

use super::vendor::{Target, Wishes};
use crate::cli::failure::{Failure, Local};
use crate::domain::escape;

/// Lines of a failed program that are repeated.
const SHOWN_LINES: usize = 15;

/// Runs pip. What it prints is shown only if it fails.
#[expect(clippy::disallowed_methods, reason = "pip fetches what the author asked for, on the author's machine")]
pub(super) fn pip(
    arguments: &[String],
    wishes: &Wishes,
    target: &Target,
    spinner: &ProgressBar,
) -> Result<(), Failure> {
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
            spinner.set_message(escape(line.trim()));
        }
    }
    let status = child.wait().map_err(start_failed)?;
    let lines = errors.join().unwrap_or_default();
    if status.success() { Ok(()) } else { Err(explain(&lines, wishes, target)) }
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

/// Turns pip's words into what to do. A missing wheel is the usual case: the package has source code only.
fn explain(lines: &[String], wishes: &Wishes, target: &Target) -> Failure {
    let version = target.version();
    let missing =
        lines.iter().find_map(|line| line.split_once("No matching distribution found for ").map(|found| found.1));
    let Some(missing) = missing else {
        let shown: Vec<String> = lines.iter().map(|line| escape(line)).collect();
        let how = "read what pip says; behind a proxy or on an own index, configure pip as usual";
        return Failure::local(Local::VendoringFailed, format!("pip failed:\n{}", shown.join("\n")), how);
    };
    let name = escape(missing.split(" (from").next().unwrap_or(missing).trim());
    let quoted: Vec<String> = wishes.arguments().iter().map(|text| format!("'{}'", escape(text))).collect();
    let detail = format!("there is no wheel of `{name}` for Python {version} on Linux x86_64");
    let how = format!(
        "if the name is right, make the wheel on Linux x86_64: python{version} -m pip wheel --wheel-dir wheels {} — then \
         pack again with --find-links wheels",
        quoted.join(" ")
    );
    Failure::local(Local::VendoringFailed, detail, how)
}
