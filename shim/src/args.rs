//! The command line of the shim. Written by the engine, so a mistake in it is a fault of plugbay and ends the start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::sys::MAX_GROUPS;

/// What to run, and how it is spoken to.
pub(crate) struct Arguments {
    pub(crate) runtime: Runtime,
    pub(crate) run_dir: PathBuf,
    /// Whether there is a way out, by the bridge.
    pub(crate) has_egress: bool,
    /// The program and its arguments; never empty.
    pub(crate) program: Vec<OsString>,
}

pub(crate) enum Runtime {
    Python,
    Stdio,
    Exec(Limits),
}

/// Bounds of the `exec` runtime.
#[derive(Clone)]
pub(crate) struct Limits {
    /// Methods offered in the answer to `initialize`.
    pub(crate) methods: Vec<String>,
    /// Longest time for one call, whatever deadline it brings.
    pub(crate) timeout: Duration,
    /// Longest output of one call.
    pub(crate) output_bytes: usize,
    /// Calls that may run at once.
    pub(crate) calls: usize,
    /// An answer counts, with any exit code after it.
    pub(crate) any_exit: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            methods: vec!["execute".to_owned()],
            timeout: Duration::from_secs(30),
            // Leaves room for the frame around the result in a line of 4 MiB.
            output_bytes: 2 << 20,
            calls: 16,
            any_exit: false,
        }
    }
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let (mut runtime, mut run_dir) = (None, PathBuf::from("/run/plugbay"));
        let (mut limits, mut limited, mut has_egress) = (Limits::default(), false, false);
        loop {
            let word = words.next().ok_or("`--` and the program are missing")?;
            let word = word.to_str().ok_or("an option is not UTF-8")?.to_owned();
            if word == "--" {
                break;
            }
            if word == "--egress" {
                has_egress = true;
                continue;
            }
            if word == "--any-exit" {
                (limits.any_exit, limited) = (true, true);
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
            if word == "--run-dir" {
                run_dir = PathBuf::from(value);
                continue;
            }
            let value = value.to_str().ok_or_else(|| format!("the value of `{word}` is not UTF-8"))?.to_owned();
            limited |= word != "--runtime";
            match word.as_str() {
                "--runtime" => runtime = Some(value),
                "--methods" => limits.methods = value.split(',').map(str::to_owned).collect(),
                "--timeout-ms" => limits.timeout = Duration::from_millis(positive(&word, &value)? as u64),
                "--output-bytes" => limits.output_bytes = positive(&word, &value)?,
                "--calls" => limits.calls = positive(&word, &value)?.min(MAX_GROUPS),
                _ => return Err(format!("unknown option `{word}`")),
            }
        }
        let runtime = match runtime.as_deref() {
            Some("exec") => Runtime::Exec(limits),
            _ if limited => return Err("limits belong to `--runtime exec`".to_owned()),
            Some("python") => Runtime::Python,
            Some("stdio") => Runtime::Stdio,
            _ => return Err("`--runtime` must be python, stdio or exec".to_owned()),
        };
        let program: Vec<_> = words.collect();
        if program.is_empty() {
            return Err("the program is missing".to_owned());
        }
        Ok(Self { runtime, run_dir, has_egress, program })
    }
}

fn positive(word: &str, value: &str) -> Result<usize, String> {
    // 32 bits keep sums of times and sizes far from overflow.
    let number = value.parse::<u32>().ok().filter(|number| *number > 0);
    number.map(|number| number as usize).ok_or_else(|| format!("`{word}` needs a positive number, not `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::{Arguments, Runtime};

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn all_after_the_dashes_is_the_programs() {
        let arguments = parse("--runtime python --egress --run-dir /r -- python3 --runtime --").expect("it is right");
        assert!(matches!(arguments.runtime, Runtime::Python));
        assert!(arguments.has_egress);
        assert_eq!(arguments.run_dir.to_str(), Some("/r"));
        assert_eq!(arguments.program, ["python3", "--runtime", "--"]);
    }

    #[test]
    fn calls_are_never_more_than_groups() {
        let line = "--runtime exec --methods a,b --timeout-ms 7 --output-bytes 9 --calls 5000 -- x";
        let Ok(Arguments { runtime: Runtime::Exec(limits), .. }) = parse(line) else { panic!("it is right") };
        assert_eq!(limits.methods, ["a", "b"]);
        assert_eq!((limits.timeout.as_millis(), limits.output_bytes, limits.calls), (7, 9, 64));
    }

    #[test]
    fn refused_lines() {
        for (line, problem) in [
            ("", "`--` and the program are missing"),
            ("--runtime python --", "the program is missing"),
            ("--runtime cobol -- x", "`--runtime` must be python, stdio or exec"),
            ("--runtime stdio --calls 3 -- x", "limits belong to `--runtime exec`"),
            ("--runtime exec --calls 0 -- x", "`--calls` needs a positive number, not `0`"),
            (
                "--runtime exec --output-bytes 4294967296 -- x",
                "`--output-bytes` needs a positive number, not `4294967296`",
            ),
            ("--runtime exec --speed 3 -- x", "unknown option `--speed`"),
            ("--runtime", "`--runtime` needs a value"),
        ] {
            assert_eq!(parse(line).err().as_deref(), Some(problem), "{line}");
        }
    }
}
