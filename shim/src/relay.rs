//! One connection of the plugin's, carried to the service and back. Nothing is kept but what the other side does not take.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use crate::sys::{self, PollFd, READABLE, WRITABLE};

/// Longest line with which the service answers.
const MAX_LINE: usize = 1024;

/// Reads for one connection before others get their turn.
const TURNS: usize = 8;

pub(crate) struct Relay {
    plugin: TcpStream,
    service: UnixStream,
    /// What the service said so far, until its line is whole; None once the connection is open.
    line: Option<Vec<u8>>,
    up: Flow,
    down: Flow,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and not yet taken.
    pending: Vec<u8>,
    /// Nothing more is to be read.
    ended: bool,
}

/// How a connection goes on.
#[derive(PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Over,
    /// The plugin must see that it was refused.
    Reset,
}

impl Relay {
    /// With an answer from the service first, or without.
    pub(crate) fn new(plugin: TcpStream, service: UnixStream, has_answer: bool) -> io::Result<Self> {
        plugin.set_nonblocking(true)?;
        // Small pieces are not collected here.
        plugin.set_nodelay(true)?;
        service.set_nonblocking(true)?;
        let line = has_answer.then(Vec::new);
        Ok(Self { plugin, service, line, up: Flow::default(), down: Flow::default() })
    }

    /// What is waited for. A side of which nothing is wanted is left out: its end would be told for ever.
    pub(crate) fn interests(&self) -> [PollFd; 2] {
        let events = |from: &Flow, to: &Flow| {
            let read = if !from.ended && from.pending.is_empty() { READABLE } else { 0 };
            read | if to.pending.is_empty() { 0 } else { WRITABLE }
        };
        let (plugin, service) = (events(&self.up, &self.down), events(&self.down, &self.up));
        // Once it has ended what it had to say, only its hanging up is news.
        let is_watched = service != 0 || self.down.ended;
        [
            PollFd::new((plugin != 0).then_some(&self.plugin), plugin),
            PollFd::new(is_watched.then_some(&self.service), service),
        ]
    }

    /// Carries what can be carried now.
    pub(crate) fn carry(&mut self, buffer: &mut [u8]) -> Fate {
        if let Some(fate) = self.hear(buffer) {
            return fate;
        }
        let up = carry(&mut self.up, &mut self.plugin, &mut self.service, buffer);
        if up.is_ok_and(|has_ended| has_ended) {
            // The other side may have gone first.
            self.service.shutdown(Shutdown::Write).ok();
        }
        // What the service said before it hung up still reaches the plugin.
        let down = if self.line.is_some() {
            Ok(false)
        } else {
            carry(&mut self.down, &mut self.service, &mut self.plugin, buffer)
        };
        match down {
            Err(_) => Fate::Over,
            Ok(true) => {
                self.plugin.shutdown(Shutdown::Write).ok();
                // The service closes as a whole: nobody listens to the plugin any more.
                if self.up.ended { Fate::Over } else { self.hung_up() }
            }
            Ok(false) => Fate::Open,
        }
    }

    /// Ends what the plugin still sends, once nobody takes it.
    fn hung_up(&self) -> Fate {
        let mut fds = [PollFd::new(Some(&self.service), 0)];
        sys::wait_for(&mut fds, Some(0));
        if fds[0].is_ready() { Fate::Over } else { Fate::Open }
    }

    /// Waits for the service's line. Some when the connection ends with it.
    fn hear(&mut self, buffer: &mut [u8]) -> Option<Fate> {
        let line = self.line.as_mut()?;
        loop {
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                if &line[..end] != b"ok" {
                    return Some(Fate::Reset);
                }
                // What came with the line is the host's.
                self.down.pending = line.split_off(end + 1);
                self.line = None;
                return None;
            }
            if line.len() > MAX_LINE {
                return Some(Fate::Reset);
            }
            match self.service.read(buffer) {
                Ok(0) => return Some(Fate::Reset),
                Ok(count) => line.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => return Some(Fate::Reset),
            }
        }
    }

    /// Ends the connection so that the plugin sees an error and no end.
    pub(crate) fn reset(self) {
        sys::reset_on_close(&self.plugin);
    }
}

/// True once a direction has ended and everything of it was taken. An error ends it at its receiver.
fn carry(flow: &mut Flow, from: &mut impl Read, to: &mut impl Write, buffer: &mut [u8]) -> io::Result<bool> {
    for _ in 0..TURNS {
        if !flow.pending.is_empty() {
            match to.write(&flow.pending) {
                Ok(count) => drop(flow.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    *flow = Flow { pending: Vec::new(), ended: true };
                    return Err(error);
                }
            }
            continue;
        }
        // Memory of a burst is given back.
        flow.pending = Vec::new();
        if flow.ended {
            return Ok(true);
        }
        match from.read(buffer) {
            Ok(0) => flow.ended = true,
            Ok(count) => {
                let taken = match to.write(&buffer[..count]) {
                    Ok(taken) => taken,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
                    Err(error) => {
                        flow.ended = true;
                        return Err(error);
                    }
                };
                flow.pending.extend_from_slice(&buffer[taken..count]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(_) => flow.ended = true,
        }
    }
    Ok(false)
}
