//! A plugin's connection whose first bytes are looked at before they go anywhere.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::EgressError;

/// How long a connection that was refused is still read, so that its answer is not lost.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) stream: UnixStream,
    /// What was read and not yet used.
    pub(super) buffer: Vec<u8>,
}

impl Incoming {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Reads until `take` finds what it looks for in the bytes so far. Nothing is waited for longer than until `deadline`.
    pub(super) async fn read_until<T>(
        &mut self,
        deadline: Deadline,
        mut take: impl FnMut(&[u8]) -> Result<Option<T>, EgressError>,
    ) -> Result<T, EgressError> {
        loop {
            if let Some(found) = take(&self.buffer)? {
                return Ok(found);
            }
            let reading = self.stream.read_buf(&mut self.buffer);
            match timeout_at(deadline.at, reading).await {
                Ok(Ok(0)) => return Err(EgressError::Plugin(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(EgressError::Plugin(error)),
                Err(_elapsed) => return Err(EgressError::Silent { limit: deadline.limit }),
            }
        }
    }

    /// One line without its end, of at most `most` bytes.
    pub(super) async fn line(&mut self, deadline: Deadline, most: usize) -> Result<String, EgressError> {
        let strange = || EgressError::BadTarget { found: "a line that is none".to_owned() };
        let length = self
            .read_until(deadline, |bytes| {
                let found = bytes.iter().position(|byte| *byte == b'\n');
                if found.unwrap_or(bytes.len()) > most { Err(strange()) } else { Ok(found) }
            })
            .await?;
        let mut line: Vec<u8> = self.buffer.drain(..=length).collect();
        line.pop();
        String::from_utf8(line).map_err(|_not_text| strange())
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), EgressError> {
        self.stream.write_all(bytes).await.map_err(EgressError::Plugin)
    }

    /// Sends the last bytes of a connection and lets them arrive.
    pub(super) async fn finish(mut self, bytes: &[u8]) {
        let finishing = async {
            self.stream.write_all(bytes).await?;
            self.stream.shutdown().await?;
            // Closing with bytes unread would take the answer back.
            let mut rest = [0; 4096];
            while self.stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // Whoever was refused and does not listen loses nothing.
        timeout(LINGER, finishing).await.ok();
    }
}

/// Until when something is waited for, and how long that was at the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }
}
