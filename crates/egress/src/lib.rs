//! What leaves plugins: every connection is decided on by name and by address, dialled at the address that was decided
//! on, and held to what its first bytes say. Also which addresses plugbay itself may fetch from.
//!
//! ```text
//! egress.listen      one per session with network access: accepts what comes in at that session's egress.sock
//! └─ egress.tunnel   one per connection: decides, dials, carries
//!    └─ egress.lookup   one per name that is looked up, until the name servers answer, whoever still waits for it
//! ```
//!
//! A sandbox has no network. Its shim answers names and takes connections inside, and hands each of them over as one
//! connection to `egress.sock`; whoever connects there is that plugin, whether it is the shim or not. The first line says
//! what it is for:
//!
//! | line | then |
//! | --- | --- |
//! | `names` | each line with a name is answered by a line with the ports it may be reached on, or `-` |
//! | `tunnel NAME:PORT` | `ok` and the bytes of the connection in both directions, or `refused RULE TEXT` and the end |
//! | `proxy` | one connection to an HTTP proxy, which answers for itself |
//!
//! Bytes after the first line may be sent without waiting for its answer.
//!
//! Requests that the service itself makes for a plugin (`client`) are decided, dialled and counted in the same way.
//!
//! What was refused is noted in [`Denials`], from where it comes to audit log and plugin log. Nothing here knows either.

mod body;
mod client;
mod client_hello;
mod decision;
mod error;
mod exit;
mod head;
mod incoming;
mod kept;
mod lookups;
mod names;
mod own;
pub mod policy;
mod proxy;
mod relay;
mod resolver;
mod target;
#[cfg(test)]
mod tests;
mod tunnel;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use client::{Streaming, TrustError, WebAddress, WebAnswer, WebBody, WebRequest, stream};
pub use decision::Spoken;
pub use error::EgressError;
pub use exit::{Exit, MostOut, Place, StreamPlaces};
pub use resolver::{Resolver, SystemResolver};
pub use target::{Target, TargetHost};

use client::Trust;
use incoming::{Deadline, Incoming};
use lookups::Lookups;
use plugbay_config::EgressConfig;
use plugbay_runtime::denials::{Denial, Denials, Door};
use plugbay_runtime::shutdown::Shutdown;

/// How long a connection may take to say what it is for.
const FIRST_LINE: Duration = Duration::from_secs(5);

/// Longest first line: a name of 253 bytes and a port.
const MAX_FIRST_LINE: usize = 300;

/// Connections beside those that carry something: the shim's questions, and some that are being refused.
const SPARE: usize = 16;

/// The way out for all plugins. One per process.
#[derive(Debug)]
pub struct Egress {
    config: EgressConfig,
    lookups: Lookups,
    denials: Arc<Denials>,
    shutdown: Shutdown,
    trust: Trust,
}

impl Egress {
    /// The way out; what is refused on it is noted.
    pub fn new(
        config: EgressConfig,
        resolver: Arc<dyn Resolver>,
        denials: Arc<Denials>,
        shutdown: Shutdown,
    ) -> Result<Arc<Self>, TrustError> {
        let trust = Trust::load(config.ca_file.as_deref())?;
        let lookups = Lookups::new(resolver, shutdown.clone());
        Ok(Arc::new(Self { config, lookups, denials, shutdown, trust }))
    }

    /// Lets the plugin with this uid out through its socket, until the guard is dropped. Then every connection ends.
    pub fn listen(self: &Arc<Self>, exit: &Arc<Exit>, listener: UnixListener, uid: u32) -> DropGuard {
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let gate = Gate {
            egress: Arc::clone(self),
            exit: Arc::clone(exit),
            uid,
            connections: Arc::new(Semaphore::new(self.config.max_tunnels + SPARE)),
            ended,
        };
        // Ends with the session and not with the process: calls that may still end may need it.
        self.shutdown.spawn("egress.listen", |_| async move {
            let ended = gate.ended.clone();
            ended.run_until_cancelled(gate.accept(listener)).await;
        });
        guard
    }

    /// Takes note of what did not leave.
    pub fn note(&self, exit: &Exit, error: &EgressError) {
        self.note_denial(exit, error.denial(exit.name.as_str()));
    }

    /// The same for what is written down in the words of the caller, who knows what must not stand there.
    pub fn note_denial(&self, exit: &Exit, denial: Denial) {
        // Without the text: it repeats what the plugin or a host said.
        tracing::debug!(plugin.name = %exit.name, rule = denial.rule, "Refused a connection");
        exit.count_not_served(denial.is_by_rule);
        self.denials.note(exit.plugin, &exit.name, Door::Network, denial, Instant::now());
    }

    /// Serves one connection to its end.
    async fn serve(&self, exit: &Exit, stream: UnixStream) -> Result<(), EgressError> {
        let mut incoming = Incoming::new(stream);
        let line = incoming.line(Deadline::after(FIRST_LINE), MAX_FIRST_LINE).await?;
        if line == "names" {
            return self.serve_names(exit, incoming).await;
        }
        // Held to the end of the connection.
        let held = exit.place();
        let full = || EgressError::TooMany { most: self.config.max_tunnels };
        if line == "proxy" {
            if let Some(held) = held {
                return self.serve_proxy(exit, &held, incoming).await;
            }
            let error = full();
            incoming.finish(&proxy::answer_of(&error, exit)).await;
            return Err(error);
        }
        let opened = async {
            let held = held.as_ref().ok_or_else(full)?;
            let strange = || EgressError::BadTarget { found: plugbay_domain::escape(&line) };
            let target = Target::parse(line.strip_prefix("tunnel ").ok_or_else(strange)?, None)?;
            let upstream = self.open(exit, held, target).await?;
            incoming.write(b"ok\n").await?;
            Ok(upstream)
        };
        match opened.await {
            Ok(upstream) => self.converse(exit, incoming, upstream).await,
            Err(error @ EgressError::Plugin(_)) => Err(error),
            Err(error) => {
                incoming.finish(format!("refused {} {}\n", error.rule(), error.for_plugin()).as_bytes()).await;
                Err(error)
            }
        }
    }
}

/// The socket of one session.
struct Gate {
    egress: Arc<Egress>,
    exit: Arc<Exit>,
    uid: u32,
    connections: Arc<Semaphore>,
    ended: CancellationToken,
}

impl Gate {
    async fn accept(&self, listener: UnixListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors: a little later there may be some.
                    tracing::warn!(plugin.name = %self.exit.name, %error, "A connection of a plugin was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // The socket is in a folder that only this sandbox sees, and belongs to its user.
            if !stream.peer_cred().is_ok_and(|peer| peer.uid() == self.uid) {
                tracing::warn!(plugin.name = %self.exit.name, "Somebody else connected to a plugin's way out");
                continue;
            }
            let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
                self.egress.note(&self.exit, &EgressError::TooMany { most: self.egress.config.max_tunnels });
                continue;
            };
            let (egress, exit, ended) = (Arc::clone(&self.egress), Arc::clone(&self.exit), self.ended.clone());
            self.egress.shutdown.spawn("egress.tunnel", |_| async move {
                let serving = async {
                    match egress.serve(&exit, stream).await {
                        // Nobody is told of plugins that hang up.
                        Ok(()) | Err(EgressError::Plugin(_)) => {}
                        Err(error) => egress.note(&exit, &error),
                    }
                };
                ended.run_until_cancelled(serving).await;
                drop(place);
            });
        }
    }
}
