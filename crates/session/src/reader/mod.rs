//! Takes what a plugin sends. The first broken rule ends it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

use super::PluginLog;
use super::calls::Calls;
use super::outbound::Outbound;
use super::pending::Taken;
use super::requests::Requests;
use plugbay_domain::CallId;
use plugbay_protocol::{CancelReason, Incoming, LineBuffer, Outgoing, Violation};

/// Notes per second in the long run, beyond which a plugin does nothing but shout: log, progress, and parts of answers that
/// nobody waits for any more. Parts that somebody waits for are not counted, their bytes are.
const NOTES_PER_SECOND: f64 = 5_000.0;

/// Notes that may come at once.
const MOST_NOTES: f64 = 10_000.0;

/// Requests per second. Faster ones are read later: whoever asks waits for the answer anyway.
const REQUESTS_PER_SECOND: f64 = 5_000.0;

/// Requests that may come at once.
const MOST_REQUESTS: f64 = 1_000.0;

/// Longest time from the first byte of a line to its end. A line that never ends would keep its place in memory, and every
/// answer behind it from its caller.
const LINE_PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of lines that are taken in a row before other tasks get their turn.
const BYTES_IN_A_ROW: usize = 64 * 1024;

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
    pub(super) requests: Requests,
}

impl Reader {
    pub(super) async fn run(self) -> ReaderEnd {
        self.run_with_patience(LINE_PATIENCE).await
    }

    async fn run_with_patience(mut self, patience: Duration) -> ReaderEnd {
        let mut rates = Rates {
            notes: Allowance::new(NOTES_PER_SECOND, MOST_NOTES),
            requests: Allowance::new(REQUESTS_PER_SECOND, MOST_REQUESTS),
            in_a_row: 0,
        };
        // When the line that has begun must have ended.
        let mut due: Option<Instant> = None;
        loop {
            match self.take_lines(&mut rates).await {
                Err(violation) => return ReaderEnd::Broken(violation),
                Ok(_) if !self.lines.is_unfinished() => due = None,
                Ok(0) if due.is_some() => {}
                Ok(_) => due = Some(Instant::now() + patience),
            }
            let readable = match due {
                None => self.stream.readable().await,
                // Also for one that sends a byte from time to time: what is there when the time is over is too late.
                Some(due) => match tokio::time::timeout_at(due, self.stream.readable()).await {
                    Ok(readable) if Instant::now() < due => readable,
                    _ => {
                        let rule = format!("a line was unfinished for {} s", patience.as_secs());
                        return ReaderEnd::Broken(Violation::new(rule));
                    }
                },
            };
            if readable.is_err() {
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

    /// Takes every whole line, and says how many there were.
    async fn take_lines(&mut self, rates: &mut Rates) -> Result<u32, Violation> {
        let mut taken = 0_u32;
        while let Some(line) = self.lines.next_line().map_err(|error| Violation::new(error.to_string()))? {
            match read(&line)? {
                Incoming::Answer { id, outcome } => self.calls.answer(id, outcome)?,
                Incoming::Chunk(chunk) => match self.calls.chunk(&chunk)? {
                    Taken::Wanted => {}
                    Taken::Dropped => rates.count_note()?,
                    Taken::TooMuch(call) => self.cancel(call),
                },
                Incoming::Progress(progress) => {
                    rates.count_note()?;
                    if let Taken::TooMuch(call) = self.calls.progress(progress) {
                        self.cancel(call);
                    }
                }
                Incoming::Log(note) => {
                    rates.count_note()?;
                    self.log.add("log", Some(level_of(&note.level).to_owned()), &note.message, note.fields);
                }
                Incoming::Request { id, method, params } => {
                    rates.requests.wait().await;
                    self.requests.begin(id, &method, params).await;
                }
            }
            taken = taken.saturating_add(1);
            // What holding a line costs beside its bytes.
            rates.in_a_row = rates.in_a_row.saturating_add(line.len()).saturating_add(256);
            if rates.in_a_row >= BYTES_IN_A_ROW {
                rates.in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
        Ok(taken)
    }

    fn cancel(&self, call: CallId) {
        // Whoever does not read is noticed by the actor.
        self.outbound.send(Outgoing::cancel(call, CancelReason::Client)).ok();
    }
}

/// Reads a line. A long one takes long: what waits for this thread goes on in another meanwhile, because a task that was
/// woken here, such as the reader of a neighbour, cannot always be taken over.
fn read(line: &[u8]) -> Result<Incoming<'_>, Violation> {
    let has_others = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if line.len() >= BYTES_IN_A_ROW && has_others() {
        tokio::task::block_in_place(|| Incoming::read(line))
    } else {
        Incoming::read(line)
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

/// What a plugin may still say.
struct Rates {
    notes: Allowance,
    requests: Allowance,
    /// Bytes since others had their turn; reads are small, so a flood is many of them.
    in_a_row: usize,
}

impl Rates {
    fn count_note(&mut self) -> Result<(), Violation> {
        if self.notes.take() {
            return Ok(());
        }
        let rule = format!("more than {NOTES_PER_SECOND} notes a second that nobody waits for");
        Err(Violation::new(rule))
    }
}

/// So many per second, and a few more at once.
struct Allowance {
    per_second: f64,
    most: f64,
    left: f64,
    refilled: Instant,
}

impl Allowance {
    fn new(per_second: f64, most: f64) -> Self {
        Self { per_second, most, left: most, refilled: Instant::now() }
    }

    fn take(&mut self) -> bool {
        if self.left < 1.0 {
            let now = Instant::now();
            let earned = now.duration_since(self.refilled).as_secs_f64() * self.per_second;
            (self.left, self.refilled) = ((self.left + earned).min(self.most), now);
        }
        let has_one = self.left >= 1.0;
        if has_one {
            self.left -= 1.0;
        }
        has_one
    }

    async fn wait(&mut self) {
        while !self.take() {
            tokio::time::sleep(Duration::from_secs_f64(1.0 / self.per_second)).await;
        }
    }
}

#[cfg(test)]
mod tests;
