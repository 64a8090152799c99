//! Starts and reaps processes. One thread waits for all of them, also for orphans that the kernel gives to process 1;
//! who started a child reads its end from a socket, so it can poll for it together with the child's output.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::sys::{self, GROUPS};

#[derive(Clone, Default)]
pub(crate) struct Children(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    started: Condvar,
}

#[derive(Default)]
struct State {
    /// `/proc/self/oom_score_adj` and what it held; None where it cannot be written.
    score: Option<(File, String)>,
    /// Rises with every start, so that the reaper misses none between looking and waiting.
    starts: u64,
    waiting: Vec<(i32, UnixStream)>,
}

/// A started program, the leader of its own process group.
pub(crate) struct Started {
    pub(crate) group: i32,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
    /// Readable once the program has ended; see [`Started::status`].
    pub(crate) exit: UnixStream,
}

/// How a program ended.
#[derive(Clone, Copy)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

/// A program, which is never empty, with its arguments.
#[expect(clippy::disallowed_methods, reason = "here alone programs are started")]
pub(crate) fn command(program: &[OsString]) -> Command {
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]);
    command
}

impl Children {
    /// Starts the reaper. Called while the shim is dumpable: later it could not open its own score.
    pub(crate) fn start() -> io::Result<Self> {
        let children = Self::default();
        let file = File::options().write(true).open("/proc/self/oom_score_adj").ok();
        children.state().score = file.zip(fs::read_to_string("/proc/self/oom_score_adj").ok());
        let reaper = children.clone();
        std::thread::Builder::new().name("reaper".to_owned()).stack_size(64 << 10).spawn(move || reaper.reap_all())?;
        Ok(children)
    }

    /// Starts a program in a group of its own. It is the first to go when memory runs out.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Started> {
        let (exit, sender) = UnixStream::pair()?;
        // Held until the child is known: the reaper must neither meet a stranger nor take a child that failed to
        // exec away from std, which waits for that one itself.
        let mut state = self.state();
        // Inherited, because a child's own file is closed to us in the first moments after its exec.
        let set_score = |state: &State, score: Option<&str>| {
            if let Some((file, own)) = &state.score {
                drop(file.write_all_at(score.unwrap_or(own).trim().as_bytes(), 0));
            }
        };
        set_score(&state, Some("1000"));
        let child = command.process_group(0).spawn();
        set_score(&state, None);
        let mut child = child?;
        let group = i32::try_from(child.id()).map_err(io::Error::other)?;
        for place in &GROUPS {
            if place.compare_exchange(0, group, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                break;
            }
        }
        state.waiting.push((group, sender));
        state.starts += 1;
        self.0.started.notify_all();
        Ok(Started { group, stdin: child.stdin.take(), stdout: child.stdout.take(), stderr: child.stderr.take(), exit })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap_all(&self) {
        let mut seen = 0;
        loop {
            if !sys::wait_for_any_child() {
                // Orphans come only from children, so without any there is nothing until the next start.
                let state = self.0.started.wait_while(self.state(), |state| state.starts == seen);
                seen = state.unwrap_or_else(PoisonError::into_inner).starts;
                continue;
            }
            let mut state = self.state();
            while let Some((pid, status)) = sys::reap() {
                if let Some(at) = state.waiting.iter().position(|(waited, _)| *waited == pid) {
                    let (_, mut sender) = state.waiting.swap_remove(at);
                    // Whoever waited may have given up.
                    drop(sender.write_all(&status.to_ne_bytes()));
                }
            }
        }
    }
}

impl Started {
    /// Waits for the end of the program.
    pub(crate) fn status(&mut self) -> Ended {
        let mut status = [0; 4];
        let status = self.exit.read_exact(&mut status).map_or(0, |()| i32::from_ne_bytes(status));
        match status & 0x7f {
            0 => Ended::Code((status >> 8) & 0xff),
            signal => Ended::Signal(signal),
        }
    }
}

impl Drop for Started {
    /// Nothing of a program's group outlives it.
    fn drop(&mut self) {
        sys::kill_group(self.group);
        for place in &GROUPS {
            if place.compare_exchange(self.group, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                break;
            }
        }
    }
}
