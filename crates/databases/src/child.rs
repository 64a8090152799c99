//! The service's side of one worker: starts the process, asks it one thing at a time, and ends it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::message::{Hello, Identity, Order, Reply, Work};

/// How long a worker may go on after it should have answered; then it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// How long a worker may take to end by itself.
const END_GRACE: Duration = Duration::from_secs(2);

/// Bytes of a line beside the result in it.
const LINE_ROOM: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The process ended, or said what it must not say.
    Ended,
    /// It did not react.
    Silent,
}

/// A running worker. Killed when it is dropped.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub(super) identity: Identity,
    max_line: usize,
    last_id: u64,
}

impl Worker {
    /// Starts a worker, which opens its file. The answer says whether it could.
    pub(super) async fn start(program: &Path, hello: &Hello, deadline: Instant) -> std::io::Result<(Self, Reply)> {
        let mut worker = Self::spawn(program, hello)?;
        let lost = |lost: Lost| std::io::Error::other(format!("the worker did not begin: {lost:?}"));
        let line = line_of(hello);
        let reply = worker.exchange(0, &line, deadline, std::future::pending()).await.map_err(lost)?;
        Ok((worker, reply))
    }

    fn spawn(program: &Path, hello: &Hello) -> std::io::Result<Self> {
        let mut command = Command::new(program);
        command.arg("db-worker").env_clear().current_dir("/").kill_on_drop(true);
        // A signal for the service's terminal is no signal for its workers.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // The owner of the file can do nothing with it that is new, and the operator's programs keep access to
        // whatever is made beside it.
        if rustix::process::geteuid().is_root() && hello.identity.user != 0 {
            command.uid(hello.identity.user).gid(hello.identity.group);
        }
        let mut child = command.spawn()?;
        let taken = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = taken else { return Err(std::io::Error::other("no pipes")) };
        let (identity, max_line) = (hello.identity, hello.result_bytes.saturating_add(LINE_ROOM));
        Ok(Self { child, stdin, stdout: BufReader::new(stdout), identity, max_line, last_id: 0 })
    }

    /// Has something run. When `gone` completes, nobody waits any more: it is cancelled.
    pub(super) async fn ask(
        &mut self,
        work: Work,
        deadline: Instant,
        gone: impl Future<Output = ()>,
    ) -> Result<Reply, Lost> {
        self.last_id = self.last_id.saturating_add(1);
        let id = self.last_id;
        let milliseconds = millis_until(deadline);
        self.exchange(id, &line_of(&Order::Run { id, milliseconds, work }), deadline, gone).await
    }

    async fn exchange(
        &mut self,
        id: u64,
        line: &[u8],
        deadline: Instant,
        gone: impl Future<Output = ()>,
    ) -> Result<Reply, Lost> {
        let latest = deadline + GRACE;
        let written = timeout_at(latest, self.stdin.write_all(line)).await.map_err(|_elapsed| Lost::Silent)?;
        written.map_err(|_broken| Lost::Ended)?;
        let reply = read_reply(&mut self.stdout, self.max_line);
        tokio::pin!(reply);
        let reply = tokio::select! {
            reply = &mut reply => reply?,
            () = gone => {
                // A worker that has just ended says so below.
                self.stdin.write_all(&line_of(&Order::Cancel { id })).await.ok();
                timeout(GRACE, reply).await.map_err(|_elapsed| Lost::Silent)??
            }
            () = tokio::time::sleep_until(latest) => return Err(Lost::Silent),
        };
        let (Reply::Done { id: answered, .. } | Reply::Failed { id: answered, .. }) = &reply;
        if *answered == id { Ok(reply) } else { Err(Lost::Ended) }
    }

    /// Whether the process is gone, or going: it closes its files a moment before the system tells of its end.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None)) || self.is_deaf()
    }

    fn is_deaf(&self) -> bool {
        let mut stdin = [PollFd::new(&self.stdin, PollFlags::OUT)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut stdin, Some(&at_once)).is_ok() && stdin[0].revents().contains(PollFlags::ERR)
    }

    /// Completes when the process is gone.
    pub(super) async fn ended(&mut self) {
        // It cannot fail for a child of ours; were it to, the worker is of no use either.
        self.child.wait().await.ok();
    }

    /// Lets the process end, and kills it if it does not.
    pub(super) async fn end(self) {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        if timeout(END_GRACE, child.wait()).await.is_err() {
            // It may have ended this very moment.
            child.kill().await.ok();
        }
    }

    /// Ends the process now.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.ok();
    }
}

pub(super) fn millis_until(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now()).as_millis();
    u64::try_from(left).unwrap_or(u64::MAX).max(1)
}

/// One line. A line break between the tokens of a parameter would end it early.
fn line_of(message: &impl serde::Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("texts and numbers serialise");
    for byte in &mut line {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line
}

/// The next line of a worker that ran hostile SQL: no longer than allowed, and of the form agreed on.
async fn read_reply(stdout: &mut BufReader<ChildStdout>, max_line: usize) -> Result<Reply, Lost> {
    let mut line = Vec::new();
    let mut limited = stdout.take(max_line as u64);
    let read = limited.read_until(b'\n', &mut line).await;
    if read.is_err() || line.last() != Some(&b'\n') {
        return Err(Lost::Ended);
    }
    serde_json::from_slice(&line).map_err(|_another_form| Lost::Ended)
}
