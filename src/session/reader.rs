//! Takes what a plugin sends. The first broken rule ends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use super::PluginLog;
use super::calls::Calls;
use super::outbound::Outbound;
use crate::domain::{CallId, escape};
use crate::protocol::{CancelReason, Incoming, LineBuffer, METHOD_NOT_FOUND, Outgoing, Violation};

/// Log and progress notes per second beyond which a plugin does nothing but shout.
const MAX_NOTES_PER_SECOND: u32 = 20_000;

/// Lines that are taken in a row before other tasks get their turn.
const LINES_IN_A_ROW: u32 = 256;

/// Why the reader ended.
#[derive(Debug)]
pub(super) enum ReaderEnd {
    /// The connection is closed.
    Closed,
    /// A rule was broken.
    Broken(Violation),
}

pub(super) struct Reader {
    pub(super) stream: Arc<UnixStream>,
    pub(super) lines: LineBuffer,
    pub(super) calls: Arc<Calls>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) log: Arc<PluginLog>,
}

impl Reader {
    pub(super) async fn run(mut self) -> ReaderEnd {
        let mut notes = Notes { since: Instant::now(), count: 0 };
        loop {
            if let Err(violation) = self.take_lines(&mut notes).await {
                return ReaderEnd::Broken(violation);
            }
            if self.stream.readable().await.is_err() {
                return ReaderEnd::Closed;
            }
            match self.stream.try_read_buf(self.lines.room()) {
                Ok(0) => return ReaderEnd::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return ReaderEnd::Closed,
            }
        }
    }

    async fn take_lines(&mut self, notes: &mut Notes) -> Result<(), Violation> {
        let mut taken = 0_u32;
        while let Some(line) = self.lines.next_line().map_err(|error| Violation::new(error.to_string()))? {
            match Incoming::read(&line)? {
                Incoming::Answer { id, outcome } => self.calls.answer(id, outcome)?,
                Incoming::Chunk(chunk) => {
                    let overfull = self.calls.chunk(&chunk)?;
                    self.cancel(overfull);
                }
                Incoming::Progress(progress) => {
                    notes.count_one()?;
                    let overfull = self.calls.progress(progress);
                    self.cancel(overfull);
                }
                Incoming::Log(note) => {
                    notes.count_one()?;
                    self.log.add("log", Some(level_of(&note.level).to_owned()), &note.message, Some(note.fields));
                }
                Incoming::Request { id, method } => {
                    let text = format!("there is no host function `{}`", escape(&method));
                    self.outbound.send_patiently(Outgoing::refusal(id, METHOD_NOT_FOUND, &text)).await;
                }
            }
            taken += 1;
            if taken.is_multiple_of(LINES_IN_A_ROW) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn cancel(&self, call: Option<CallId>) {
        if let Some(call) = call {
            // Whoever does not read is noticed by the actor.
            self.outbound.send(Outgoing::cancel(call, CancelReason::Client)).ok();
        }
    }
}

/// One word for each level, whatever the plugin's language calls it.
fn level_of(said: &str) -> &'static str {
    const WORDS: [(&str, &str); 7] = [
        ("trace", "DEBUG"),
        ("debug", "DEBUG"),
        ("warn", "WARNING"),
        ("warning", "WARNING"),
        ("error", "ERROR"),
        ("critical", "CRITICAL"),
        ("fatal", "CRITICAL"),
    ];
    WORDS.iter().find(|(word, _)| said.eq_ignore_ascii_case(word)).map_or("INFO", |(_, level)| level)
}

/// Notes in the present second.
struct Notes {
    since: Instant,
    count: u32,
}

impl Notes {
    fn count_one(&mut self) -> Result<(), Violation> {
        self.count += 1;
        if self.count <= MAX_NOTES_PER_SECOND {
            return Ok(());
        }
        if self.since.elapsed() < Duration::from_secs(1) {
            let rule = format!("more than {MAX_NOTES_PER_SECOND} log and progress notes in a second");
            return Err(Violation::new(rule));
        }
        *self = Self { since: Instant::now(), count: 1 };
        Ok(())
    }
}
