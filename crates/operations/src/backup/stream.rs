//! From the thread that writes a backup to whoever reads it, a few pieces ahead.

use std::io;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use plugbay_domain::Digest;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pieces that may wait.
pub(crate) const PIECES: usize = 8;

/// Size of a piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Longest time in which a reader takes nothing; then it counts as gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// The backup is not complete; the service's log tells why.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the backup was not completed")]
pub struct CutOff;

/// What goes to the reader.
pub(crate) type Piece = Result<Bytes, CutOff>;

/// A backup as it comes. Dropping it ends it.
#[derive(Debug)]
pub struct BackupStream {
    /// A name for the file.
    pub file_name: String,
    /// Its bytes. An error means that it is not complete.
    pub pieces: mpsc::Receiver<Result<Bytes, CutOff>>,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) sha256: Digest,
    pub(crate) entries: usize,
}

/// Where the backup is written to.
pub(crate) struct Outlet {
    pieces: mpsc::Sender<Piece>,
    stop: CancellationToken,
    runtime: Handle,
    waiting: Vec<u8>,
    hash: Sha256,
    bytes: u64,
}

impl Outlet {
    pub(crate) fn new(pieces: mpsc::Sender<Piece>, stop: CancellationToken, runtime: Handle) -> Self {
        Self { pieces, stop, runtime, waiting: Vec::with_capacity(PIECE_BYTES), hash: Sha256::new(), bytes: 0 }
    }

    /// What went through it, once everything has.
    pub(crate) fn finish(self, entries: usize) -> Written {
        Written { bytes: self.bytes, sha256: Digest::from_bytes(self.hash.finalize().into()), entries }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE_BYTES - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..count]);
        if self.waiting.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.hash.update(&self.waiting);
        self.bytes += self.waiting.len() as u64;
        let piece = Bytes::from(std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE_BYTES)));
        self.runtime.block_on(async {
            let gone = |text: &str| io::Error::new(io::ErrorKind::BrokenPipe, text);
            tokio::select! {
                () = self.stop.cancelled() => Err(gone("the service stops")),
                sent = tokio::time::timeout(PATIENCE, self.pieces.send(Ok(piece))) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_closed)) => Err(gone("whoever asked for it has gone")),
                    Err(_elapsed) => Err(gone("whoever asked for it takes nothing")),
                },
            }
        })
    }
}
