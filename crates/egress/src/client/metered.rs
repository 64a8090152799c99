//! A connection that counts its bytes and ends when there are too many.

use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::Exit;

/// The bytes of one connection, as they pass on the wire.
#[derive(Debug)]
pub(super) struct Metered<E> {
    stream: TcpStream,
    /// Whose bytes they are; none for what the operator pays for.
    exit: Option<E>,
    left: u64,
}

impl<E: Deref<Target = Exit>> Metered<E> {
    pub(super) const fn new(stream: TcpStream, exit: Option<E>, most: u64) -> Self {
        Self { stream, exit, left: most }
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        let is_within = self.left >= bytes as u64;
        self.left = self.left.saturating_sub(bytes as u64);
        if is_within { Ok(()) } else { Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many bytes have passed")) }
    }
}

impl<E: Deref<Target = Exit> + Unpin> AsyncRead for Metered<E> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        if let Some(exit) = &self.exit {
            exit.count_received(count);
        }
        Poll::Ready(self.count(count))
    }
}

impl<E: Deref<Target = Exit> + Unpin> AsyncWrite for Metered<E> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        if let Some(exit) = &self.exit {
            exit.count_sent(count);
        }
        Poll::Ready(self.count(count).map(|()| count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
