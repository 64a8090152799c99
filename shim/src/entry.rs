//! Runs an entry point that speaks the protocol itself. After the start no call passes through the shim.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::children::{self, Children, Ended, Started};
use crate::exit;
use crate::lines::Lines;
use crate::log::Log;
use crate::oom::OomCounter;
use crate::sys::{self, HUNG_UP, PollFd, READABLE};

/// How long output is still read after the entry point ended: a child that holds the pipe must not delay the end.
const DRAIN: Duration = Duration::from_millis(200);

/// Where the program finds the socket.
#[derive(Clone, Copy)]
pub(crate) enum Socket {
    /// As descriptor 3.
    Third,
    /// As stdin and stdout.
    Stdio,
}

/// Runs the program to its end and returns the shim's exit code.
pub(crate) fn run(host: UnixStream, log: &Log, children: &Children, program: &[OsString], place: Socket) -> i32 {
    let oom = OomCounter::start();
    let mut started = match start(host, children, program, place) {
        Ok(started) => started,
        Err(problem) => {
            log.line("stderr", &format!("plugbay: cannot start `{}`: {problem}", program[0].display()), false);
            log.exit(Some(exit::NOT_STARTED), None, false);
            return exit::NOT_STARTED;
        }
    };
    carry(&mut started, log);
    let (code, signal) = match started.status() {
        Ended::Code(code) => (Some(code), None),
        Ended::Signal(signal) => (None, Some(signal)),
    };
    let is_oom = oom.explains(signal);
    log.exit(code, signal, is_oom);
    match (code, signal) {
        _ if is_oom => exit::OUT_OF_MEMORY,
        (_, Some(signal)) => 128 + signal,
        (code, None) => code.unwrap_or(exit::FAULT),
    }
}

fn start(host: UnixStream, children: &Children, program: &[OsString], place: Socket) -> io::Result<Started> {
    watch(host.try_clone()?)?;
    let mut command = children::command(program);
    command.stderr(Stdio::piped());
    let third = match place {
        Socket::Third => {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            Some(sys::inherit_as_third(OwnedFd::from(host))?)
        }
        Socket::Stdio => {
            command.stdin(OwnedFd::from(host.try_clone()?)).stdout(OwnedFd::from(host));
            None
        }
    };
    let started = children.spawn(&mut command);
    // Copies here would keep the socket open after the plugin closed it.
    drop((third, command));
    started
}

/// Ends everything when the service hangs up. It never reads: a byte read here would be stolen from the plugin.
fn watch(host: UnixStream) -> io::Result<()> {
    let body = move || loop {
        let mut fds = [PollFd::new(Some(&host), HUNG_UP)];
        sys::wait_for(&mut fds, None);
        if fds[0].is_ready() {
            sys::end(exit::SERVICE_GONE);
        }
    };
    std::thread::Builder::new().name("watch".to_owned()).stack_size(64 << 10).spawn(body).map(drop)
}

/// Carries output to the log until the program has ended and its output is read.
fn carry(started: &mut Started, log: &Log) {
    let (mut stdout, mut stderr) = (started.stdout.take(), started.stderr.take());
    let (mut out_lines, mut err_lines) = (Lines::default(), Lines::default());
    let mut deadline: Option<Instant> = None;
    loop {
        let exit = if deadline.is_none() { Some(&started.exit) } else { None };
        let mut fds = [
            PollFd::new(exit, READABLE),
            PollFd::new(stdout.as_ref(), READABLE),
            PollFd::new(stderr.as_ref(), READABLE),
        ];
        sys::wait_for(&mut fds, deadline.map(|_| 0));
        let [ended, out, err] = fds.map(|fd| fd.is_ready());
        if out {
            pass(&mut stdout, &mut out_lines, "stdout", log);
        }
        if err {
            pass(&mut stderr, &mut err_lines, "stderr", log);
        }
        if ended {
            deadline = Some(Instant::now() + DRAIN);
        } else if deadline.is_some_and(|deadline| (!out && !err) || Instant::now() > deadline) {
            break;
        }
    }
    out_lines.finish(|text, is_cut| log.line("stdout", text, is_cut));
    err_lines.finish(|text, is_cut| log.line("stderr", text, is_cut));
}

/// Reads once from a ready pipe; closes it at its end.
fn pass(pipe: &mut Option<impl Read>, lines: &mut Lines, stream: &str, log: &Log) {
    let mut bytes = [0; 16 << 10];
    match pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(&mut bytes)) {
        Ok(count) if count > 0 => lines.push(&bytes[..count], |text, is_cut| log.line(stream, text, is_cut)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Ok(_) | Err(_) => *pipe = None,
    }
}
