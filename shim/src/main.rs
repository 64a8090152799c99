//! The first process of every sandbox. It introduces the sandbox to the service, starts the plugin's entry point, carries
//! what the plugin prints, and ends everything when the service or the entry point is gone. Static, standard library only:
//! it runs in images that hold nothing else of plugbay.
//!
//! ```text
//! shim --runtime python|stdio|exec [--run-dir DIR] [--egress] [for exec: --methods A,B --timeout-ms N --output-bytes N --calls N]
//!      -- PROGRAM ARG…
//! shim launch … (outside of sandboxes, see `launch.rs`)
//! ```
//!
//! It connects to `DIR/host.sock` and `DIR/log.sock` (DIR is `/run/plugbay` unless told), and sends `hello` with the
//! nonce in `DIR/nonce` and a report of what the kernel grants here. What the program gets depends on the runtime:
//!
//! - `python`: the socket as fd 3, nothing on fd 0, fd 1 and 2 carried to the log.
//! - `stdio`: the socket as fd 0 and 1, fd 2 carried to the log.
//! - `exec`: the shim speaks the protocol and starts the program once per call (`exec.rs`).
//!
//! With `--egress` it is the way out of a sandbox that has no network: names and connections go to the service through
//! `DIR/egress.sock` (`bridge.rs`).
//!
//! ```text
//! main      carries output and waits for the end of the entry point; in `exec`, reads the socket
//! ├─ reaper waits for every child, also adopted ones, and tells whoever started it
//! ├─ watch  waits for the service to hang up and never reads (python, stdio)
//! ├─ bridge carries names and connections out (only with `--egress`)
//! └─ call   one per running call: its stdin, stdout, stderr and deadline (exec)
//! ```
//!
//! Exit codes: those of the program, 128 + n for signal n, and 64 wrong arguments, 65 the service broke the protocol
//! (exec), 70 a fault of the shim, 72 no connection, 75 the service is gone, 76 out of memory, 127 program not startable,
//! 143 ended by SIGTERM. SIGTERM ends at once: the graceful way is the protocol's `shutdown`.

mod args;
mod bridge;
mod call;
mod children;
#[expect(unsafe_code, reason = "std has no mount, unshare, setrlimit and setresuid")]
mod confine;
mod dns;
mod entry;
mod exec;
mod json;
mod launch;
mod lines;
mod log;
mod names;
mod oom;
mod relay;
mod report;
#[expect(unsafe_code, reason = "std has no poll, waitpid(-1), dup2, prctl and signal")]
mod sys;

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use args::{Arguments, Runtime};
use bridge::Bridge;
use json::Value;

/// The shim's own exit codes.
pub(crate) mod exit {
    pub(crate) const USAGE: i32 = 64;
    pub(crate) const PROTOCOL: i32 = 65;
    pub(crate) const FAULT: i32 = 70;
    pub(crate) const CONNECT: i32 = 72;
    pub(crate) const SERVICE_GONE: i32 = 75;
    pub(crate) const OUT_OF_MEMORY: i32 = 76;
    pub(crate) const NOT_STARTED: i32 = 127;
}

/// Longest nonce that is read.
const MAX_NONCE_BYTES: usize = 256;

fn main() {
    // Descriptors that the engine left open would reach the plugin.
    sys::close_inherited();
    let mut words = std::env::args_os().skip(1).peekable();
    if words.next_if(|word| word == "launch").is_some() {
        end(exit::USAGE, &format!("launch: {}", launch::run(words)));
    }
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(problem) => end(exit::USAGE, &problem),
    };
    // Outside a pid namespace of its own, orphans of the plugin still come here.
    sys::become_subreaper();
    sys::end_on_sigterm();
    let Connected { host, log, bridge } = match connect(&arguments.run_dir, arguments.has_egress) {
        Ok(connected) => connected,
        Err(problem) => end(exit::CONNECT, &format!("no connection to the service: {problem}")),
    };
    let Ok(children) = children::Children::start() else { end(exit::FAULT, "cannot start a thread") };
    // A plugin has the shim's uid: dumpable, it could read and write /proc/1/mem.
    if sys::refuse_to_be_dumped().is_err() {
        end(exit::FAULT, "cannot become undumpable");
    }
    let log = log::Log::new(log);
    if bridge.is_some_and(|bridge| bridge.start(log.clone()).is_err()) {
        end(exit::FAULT, "cannot start a thread");
    }
    let code = match arguments.runtime {
        Runtime::Exec(limits) => exec::run(host, &log, children, arguments.program, limits),
        Runtime::Python => entry::run(host, &log, &children, &arguments.program, entry::Socket::Third),
        Runtime::Stdio => entry::run(host, &log, &children, &arguments.program, entry::Socket::Stdio),
    };
    sys::end(code)
}

/// What is there after `hello` is sent.
struct Connected {
    host: UnixStream,
    log: UnixStream,
    bridge: Option<Bridge>,
}

fn connect(run_dir: &Path, has_egress: bool) -> io::Result<Connected> {
    let mut host = UnixStream::connect(run_dir.join("host.sock"))?;
    let log = UnixStream::connect(run_dir.join("log.sock"))?;
    // After the sockets: the plugin's own must be free to become descriptor 3.
    let bridge = if has_egress { Some(Bridge::bind(run_dir)?) } else { None };
    let nonce = fs::read_to_string(run_dir.join("nonce"))?;
    let nonce = nonce.trim();
    if nonce.len() > MAX_NONCE_BYTES {
        return Err(io::Error::other("the nonce is too long"));
    }
    let hello = Value::object([
        ("jsonrpc", "2.0".into()),
        ("method", "hello".into()),
        (
            "params",
            Value::object([("nonce", nonce.into()), ("protocol", 1.into()), ("report", report::read(has_egress))]),
        ),
    ]);
    host.write_all(hello.to_line().as_bytes())?;
    Ok(Connected { host, log, bridge })
}

/// Ends before anything is started. The engine keeps no output, but a person trying the shim by hand sees why.
fn end(code: i32, problem: &str) -> ! {
    // Nobody can be told when stderr is closed.
    drop(writeln!(io::stderr(), "shim: {problem}"));
    sys::end(code)
}
