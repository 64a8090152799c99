//! The way to `log.sock`. A service that is slow or gone costs lines, never the plugin's progress.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::json::Value;
use crate::sys::{self, PollFd, WRITABLE};

/// How long a line waits for room before lines are dropped.
const PATIENCE_MS: u64 = 100;

#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<State>>);

struct State {
    /// None once the service has closed it.
    socket: Option<UnixStream>,
    /// The rest of a line that was sent in part.
    pending: Vec<u8>,
    dropped: u64,
}

impl Log {
    pub(crate) fn new(socket: UnixStream) -> Self {
        let socket = socket.set_nonblocking(true).ok().map(|()| socket);
        Self(Arc::new(Mutex::new(State { socket, pending: Vec::new(), dropped: 0 })))
    }

    /// One line of a stream; dropped and counted when there is no room.
    pub(crate) fn line(&self, stream: &str, text: &str, is_cut: bool) {
        let mut members = vec![("stream", stream.into()), ("text", text.into())];
        if is_cut {
            members.push(("cut", Value::Bool(true)));
        }
        self.send(&Value::object(members));
    }

    /// The last line.
    pub(crate) fn exit(&self, code: Option<i32>, signal: Option<i32>, oom: bool) {
        let number = |number: Option<i32>| number.map_or(Value::Null, |number| i64::from(number).into());
        let exit = Value::object([("code", number(code)), ("signal", number(signal)), ("oom", Value::Bool(oom))]);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.wait();
        drop(state);
        self.send(&Value::object([("exit", exit)]));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }

    fn send(&self, line: &Value) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.flush();
        // Once lines are dropped none waits any more, until there is room again.
        if !state.pending.is_empty() && state.dropped == 0 {
            state.wait();
        }
        if state.socket.is_none() || !state.pending.is_empty() {
            state.dropped += 1;
            return;
        }
        if state.dropped > 0 {
            let dropped = i64::try_from(state.dropped).unwrap_or(i64::MAX);
            state.pending = Value::object([("dropped", dropped.into())]).to_line().into_bytes();
            state.dropped = 0;
        }
        state.pending.extend_from_slice(line.to_line().as_bytes());
        state.flush();
    }
}

impl State {
    fn flush(&mut self) {
        while let Some(socket) = self.socket.as_mut().filter(|_| !self.pending.is_empty()) {
            match socket.write(&self.pending) {
                Ok(count) if count > 0 => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.socket = None,
            }
        }
    }

    /// Gives the service a moment to take what is pending.
    fn wait(&mut self) {
        if self.socket.is_some() && !self.pending.is_empty() {
            sys::wait_for(&mut [PollFd::new(self.socket.as_ref(), WRITABLE)], Some(PATIENCE_MS));
            self.flush();
        }
    }
}
