//! Carries bytes between a plugin and a host that was decided on, within limits. No byte is looked at twice.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf as TcpRead, WriteHalf as TcpWrite};
use tokio::net::unix::{ReadHalf as PluginRead, WriteHalf as PluginWrite};
use tokio::time::Instant;

use super::body::Body;
use super::{EgressError, Exit, Incoming, Spoken, Target};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// How often the limits of time are looked at.
const TICK: Duration = Duration::from_millis(250);

/// Longest silence once the plugin has said all it had to say. Through the bridge that looks like hanging up.
const HALF_CLOSED: Duration = Duration::from_secs(10);

/// Limits of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle: Duration,
    pub(super) total: Duration,
    pub(super) bytes: u64,
}

/// A connection to a host.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    pub(super) target: Target,
    pub(super) spoken: Spoken,
}

/// What both directions share.
struct Meter<'a> {
    exit: &'a Exit,
    began: Instant,
    /// Milliseconds from the start to the last byte.
    last: AtomicU64,
    /// Bytes that may still pass.
    left: AtomicU64,
    /// The plugin sends no more.
    is_half_closed: AtomicBool,
}

impl Meter<'_> {
    fn count(&self, bytes: usize) -> io::Result<()> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(bytes as u64), Ordering::Relaxed);
        // The watch below says why.
        if left < bytes as u64 { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
    }

    /// Waits for a limit, and names it where the plugin should learn of it.
    async fn watch(&self, limits: Limits) -> Result<(), &'static str> {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            let age = self.began.elapsed();
            let idle = age.saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
            if age >= limits.total {
                return Err("egress.tunnel_seconds are over");
            }
            if self.is_half_closed.load(Ordering::Relaxed) && idle >= limits.idle.min(HALF_CLOSED) {
                return Ok(());
            }
            if idle >= limits.idle {
                return Err("nothing passed for egress.idle_seconds");
            }
        }
    }
}

/// Carries both directions until both have ended, a limit is hit, or the grant is gone. With a body, what the plugin sends
/// is one request: what comes after it ends the connection.
pub(super) async fn relay(
    exit: &Exit,
    incoming: &mut Incoming,
    upstream: &mut Upstream,
    request: Option<Body>,
    limits: Limits,
) -> Result<(), EgressError> {
    let Upstream { stream, target, spoken } = upstream;
    let ended = |limit| EgressError::Ended { target: target.to_string(), limit };
    let meter = Meter {
        exit,
        began: Instant::now(),
        last: AtomicU64::new(0),
        left: AtomicU64::new(limits.bytes),
        is_half_closed: AtomicBool::new(false),
    };
    let begun = std::mem::take(&mut incoming.buffer);
    let (mut plugin_read, mut plugin_write) = incoming.stream.split();
    let (mut host_read, mut host_write) = stream.split();
    let is_request = request.is_some();
    let up = async {
        match request {
            Some(body) => send_request(&meter, &begun, body, &mut plugin_read, &mut host_write).await,
            None => send_all(&meter, &begun, &mut plugin_read, &mut host_write).await,
        }
    };
    let down = receive(&meter, &mut host_read, &mut plugin_write);
    let both = async {
        tokio::pin!(up, down);
        tokio::select! {
            sent = &mut up => match sent {
                Ok(()) => down.await,
                Err(error) => Err(error),
            },
            // The answer to one request is all there is; else the plugin may go on sending.
            received = &mut down => match received {
                Ok(()) if !is_request => up.await,
                other => other,
            },
        }
    };
    tokio::select! {
        biased;
        () = exit.lost(target, *spoken) => Err(ended("the grant was taken back")),
        over = both => match over {
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => Err(ended("egress.tunnel_mb have passed")),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(EgressError::Http { problem: error.to_string() })
            }
            // Resets are ends.
            Ok(()) | Err(_) => Ok(()),
        },
        over = meter.watch(limits) => over.map_err(ended),
    }
}

async fn send_all(meter: &Meter<'_>, begun: &[u8], from: &mut PluginRead<'_>, to: &mut TcpWrite<'_>) -> io::Result<()> {
    if !begun.is_empty() {
        meter.count(begun.len())?;
        to.write_all(begun).await?;
        meter.exit.count_sent(begun.len());
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            meter.is_half_closed.store(true, Ordering::Relaxed);
            return to.shutdown().await;
        }
        meter.count(count)?;
        to.write_all(&buffer[..count]).await?;
        meter.exit.count_sent(count);
    }
}

/// Sends the body of one request and nothing after it.
async fn send_request(
    meter: &Meter<'_>,
    begun: &[u8],
    mut body: Body,
    from: &mut PluginRead<'_>,
    to: &mut TcpWrite<'_>,
) -> io::Result<()> {
    let invalid = |problem: &'static str| io::Error::new(io::ErrorKind::InvalidData, problem);
    let mut buffer = begun.to_vec();
    buffer.reserve(BUFFER_BYTES.saturating_sub(buffer.len()));
    loop {
        let count = body.pass(&buffer).map_err(invalid)?;
        if count > 0 {
            meter.count(count)?;
            to.write_all(&buffer[..count]).await?;
            meter.exit.count_sent(count);
        }
        if count < buffer.len() {
            // A second request on this connection would not be decided on. Ended without a word, a client sends it again
            // on a connection of its own.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        buffer.clear();
        if from.read_buf(&mut buffer).await? == 0 {
            return if body.is_done() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

async fn receive(meter: &Meter<'_>, from: &mut TcpRead<'_>, to: &mut PluginWrite<'_>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        meter.count(count)?;
        to.write_all(&buffer[..count]).await?;
        meter.exit.count_received(count);
    }
}
