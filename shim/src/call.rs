//! One call of the `exec` runtime: a process from its start to its last byte.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use crate::args::Limits;
use crate::children::{self, Children, Ended, Started};
use crate::json::Value;
use crate::lines::Lines;
use crate::log::Log;
use crate::oom::OomCounter;
use crate::sys::{self, PollFd, READABLE, WRITABLE};

/// Lines of stderr that go into an error.
const TRACE_LINES: usize = 20;
/// How long output is still read after the program ended.
const DRAIN: Duration = Duration::from_millis(200);

pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) input: Vec<u8>,
    pub(crate) timeout: Duration,
    /// Hangs up when the call is cancelled.
    pub(crate) cancelled: UnixStream,
}

/// Why a call has no result.
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) trace: String,
}

impl Failure {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), code: None, signal: None, trace: String::new() }
    }
}

/// The pipes of a running program, and what came through them.
struct Traffic<'a> {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    input: &'a [u8],
    output: Vec<u8>,
    errors: Lines,
    trace: VecDeque<String>,
    log: &'a Log,
}

impl Call<'_> {
    /// Runs the program to its end, its deadline or its cancellation. Nothing of its group is left afterwards.
    pub(crate) fn run(
        &self,
        children: &Children,
        program: &[OsString],
        limits: &Limits,
        log: &Log,
    ) -> Result<Value, Failure> {
        let oom = OomCounter::start();
        let deadline = Instant::now() + self.timeout;
        let mut command = children::command(program);
        command.env("PLUGBAY_METHOD", self.method);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut started =
            children.spawn(&mut command).map_err(|problem| Failure::new("NotStarted", not_started(&problem)))?;
        let mut traffic = Traffic::new(&mut started, &self.input, log);
        let ended = self.exchange(&mut started, &mut traffic, deadline, limits.output_bytes);
        traffic.finish();
        let trace = Vec::from(traffic.trace).join("\n");
        let failed =
            |kind, message: String, code, signal| Failure { kind, message, code, signal, trace: trace.clone() };
        let last = trace.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        match ended {
            Err(failure) => Err(Failure { trace, ..failure }),
            Ok(Ended::Signal(signal)) if oom.explains(Some(signal)) => {
                Err(failed("OutOfMemory", "killed for want of memory".to_owned(), None, Some(signal)))
            }
            Ok(Ended::Signal(signal)) => Err(failed("Signal", format!("signal {signal}{last}"), None, Some(signal))),
            Ok(Ended::Code(code)) => {
                let answer = if code == 0 || limits.any_exit { Value::parse(&traffic.output) } else { None };
                answer.ok_or_else(|| match code {
                    0 => failed("OutputInvalid", not_json(&traffic.output), Some(0), None),
                    code => failed("ExitCode", format!("exit code {code}{last}"), Some(code), None),
                })
            }
        }
    }

    fn exchange(
        &self,
        started: &mut Started,
        traffic: &mut Traffic<'_>,
        mut deadline: Instant,
        output_bytes: usize,
    ) -> Result<Ended, Failure> {
        let mut ended = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let exit = if ended.is_none() { Some(&started.exit) } else { None };
            let mut fds = [
                PollFd::new(exit, READABLE),
                PollFd::new(Some(&self.cancelled), READABLE),
                PollFd::new(traffic.stdin.as_ref(), WRITABLE),
                PollFd::new(traffic.stdout.as_ref(), READABLE),
                PollFd::new(traffic.stderr.as_ref(), READABLE),
            ];
            // Rounded up: a wait of 0 ms would spin through the last millisecond.
            let wait = if ended.is_some() { 0 } else { u64::try_from(left.as_millis()).unwrap_or(u64::MAX) + 1 };
            sys::wait_for(&mut fds, Some(wait));
            let [has_ended, cancelled, input, output, errors] = fds.map(|fd| fd.is_ready());
            if cancelled {
                return Err(Failure::new("Cancelled", "the call was cancelled"));
            }
            traffic.pass(input, output, errors);
            if traffic.output.len() > output_bytes {
                return Err(Failure::new("OutputTooLarge", format!("stdout is longer than {output_bytes} bytes")));
            }
            match ended {
                Some(ended) if (!output && !errors) || Instant::now() >= deadline => return Ok(ended),
                None if has_ended => {
                    ended = Some(started.status());
                    traffic.stdin = None;
                    deadline = Instant::now() + DRAIN;
                }
                None if Instant::now() >= deadline => {
                    let after = self.timeout.as_millis();
                    return Err(Failure::new("Timeout", format!("no result after {after} ms")));
                }
                _ => {}
            }
        }
    }
}

impl<'a> Traffic<'a> {
    fn new(started: &mut Started, input: &'a [u8], log: &'a Log) -> Self {
        // A program that does not read would otherwise stop this thread in a write. A pipe that cannot be set so
        // is closed: the program sees no input.
        let stdin = started.stdin.take().filter(|stdin| sys::set_nonblocking(stdin).is_ok());
        Self {
            stdin,
            stdout: started.stdout.take(),
            stderr: started.stderr.take(),
            input,
            output: Vec::new(),
            errors: Lines::default(),
            trace: VecDeque::new(),
            log,
        }
    }

    /// Moves what the ready pipes have or take.
    fn pass(&mut self, input: bool, output: bool, errors: bool) {
        let mut bytes = [0; 16 << 10];
        if input && let Some(stdin) = &mut self.stdin {
            match stdin.write(self.input) {
                Ok(count) if count > 0 => self.input = &self.input[count..],
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Ok(_) | Err(_) => self.input = &[],
            }
            if self.input.is_empty() {
                self.stdin = None;
            }
        }
        if output {
            let count = read(&mut self.stdout, &mut bytes);
            self.output.extend_from_slice(&bytes[..count]);
        }
        if errors {
            let count = read(&mut self.stderr, &mut bytes);
            let (trace, log) = (&mut self.trace, self.log);
            self.errors.push(&bytes[..count], |text, is_cut| keep(trace, log, text, is_cut));
        }
    }

    fn finish(&mut self) {
        let (trace, log) = (&mut self.trace, self.log);
        self.errors.finish(|text, is_cut| keep(trace, log, text, is_cut));
    }
}

fn keep(trace: &mut VecDeque<String>, log: &Log, text: &str, is_cut: bool) {
    log.line("stderr", text, is_cut);
    if trace.len() == TRACE_LINES {
        trace.pop_front();
    }
    trace.push_back(text.to_owned());
}

/// Reads once from a ready pipe; closes it at its end.
fn read(pipe: &mut Option<impl Read>, bytes: &mut [u8]) -> usize {
    match pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(bytes)) {
        Ok(count) if count > 0 => count,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        Ok(_) | Err(_) => {
            *pipe = None;
            0
        }
    }
}

/// Longest piece of an output that is shown.
const SHOWN_BYTES: usize = 100;

/// What was printed instead. Whole words only: the service masks secrets, and would not know half of one.
fn not_json(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    if text.is_empty() {
        return "stdout is empty; one JSON value is expected".to_owned();
    }
    let mut shown = String::new();
    for word in text.split_whitespace() {
        if shown.len() + word.len() > SHOWN_BYTES {
            shown.push('…');
            break;
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.extend(word.chars().flat_map(char::escape_debug));
    }
    format!("stdout is not one JSON value: it is `{shown}`; a text needs quotes")
}

/// Linux' numbers for a file that is no program, and for one whose interpreter is not there.
const ENOENT: i32 = 2;
const ENOEXEC: i32 = 8;

fn not_started(problem: &std::io::Error) -> String {
    match problem.raw_os_error() {
        Some(ENOEXEC) => format!("{problem}: the first line of a script names its interpreter, such as `#!/bin/sh`"),
        Some(ENOENT) => format!("{problem}: the interpreter that its first line names is not in the image"),
        _ => problem.to_string(),
    }
}
