//! The built program, as authors run it.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

#[path = "../support/mod.rs"]
mod support;

mod approve;
mod backup;
mod client;
mod client_access;
mod config;
mod docs;
mod index;
mod init;
mod pack;
mod running;
mod scan;
mod scripted;
mod secrets;
mod serve;
mod sign;
mod tools;
mod upload;
mod validate;
mod validate_code;
mod vendor;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// What one run left behind.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Run {
    /// Asserts that it worked.
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    /// Asserts how it failed, and that it said so.
    #[track_caller]
    fn failed(self, code: i32, message: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains(message), "{}", self.stderr);
        assert!(self.stdout.is_empty(), "{}", self.stdout);
        self
    }

    /// The one JSON value on stdout.
    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// The program in a folder, with an environment of its own.
#[expect(clippy::disallowed_methods, reason = "the program under test is started here")]
fn command(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    for name in ["SOURCE_DATE_EPOCH", "NO_COLOR", "PLUGBAY_URL", "PLUGBAY_TOKEN", "PLUGBAY_DATA_DIR", "PLUGBAY_CONFIG"]
    {
        command.env_remove(name);
    }
    command
}

fn finish(output: &Output) -> Run {
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `plugbay` in a folder.
fn plugbay(folder: &Path, arguments: &[&str]) -> Run {
    finish(&command(folder, env!("CARGO_BIN_EXE_plugbay")).args(arguments).output().unwrap())
}

/// Runs a line of shell in a folder; `plugbay` is `$PLUGBAY`.
fn shell(folder: &Path, line: &str) -> Run {
    let mut command = command(folder, "sh");
    finish(&command.args(["-c", line]).env("PLUGBAY", env!("CARGO_BIN_EXE_plugbay")).output().unwrap())
}

/// A folder with a plugin `demo` in it.
fn demo() -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    plugbay(base.path(), &["init", "demo"]).ok();
    base
}

/// Writes a plugin of two files and returns its base folder.
fn plugin(manifest: &str) -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("demo");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("plugin.yaml"), manifest).unwrap();
    fs::write(folder.join("main.py"), "class Demo:\n    def execute(self, context):\n        return {}\n").unwrap();
    base
}

#[test]
fn help_and_usage_have_their_exit_codes() {
    let here = Path::new(".");
    assert!(plugbay(here, &["--help"]).ok().stdout.contains("Usage:"));
    assert!(plugbay(here, &["--version"]).ok().stdout.starts_with("plugbay "));
    assert_eq!(plugbay(here, &[]).code, 2);
    assert_eq!(plugbay(here, &["no-such-command"]).code, 2);
    assert_eq!(plugbay(here, &["validate"]).code, 2);
    for name in ["init", "validate", "tools", "docs", "pack", "keygen", "sign", "verify", "completions", "man"] {
        let help = plugbay(here, &[name, "--help"]).ok().stdout;
        assert!(help.contains("Example: plugbay"), "{help}");
    }
}

#[test]
fn completions_and_manual_are_written_to_stdout() {
    let here = Path::new(".");
    for shell in ["bash", "zsh", "fish"] {
        assert!(plugbay(here, &["completions", shell]).ok().stdout.contains("plugbay"));
    }
    assert!(plugbay(here, &["man"]).ok().stdout.contains(".TH plugbay"));
    assert!(plugbay(here, &["man", "--json"]).ok().json()["man"].is_string());
}
