//! One connection out: decided by name, resolved, decided by address, dialled at exactly that address, and held to what
//! its first bytes say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::client_hello::{self, ClientHello, UNRECOGNIZED_NAME};
use super::decision::{check_addresses, is_listed};
use super::exit::Place;
use super::head::{self, Form, Head};
use super::incoming::Deadline;
use super::lookups::{Asker, NoAddress};
use super::own::{is_answered_by, leads_here};
use super::policy::{Refused, check_foreign};
use super::proxy::answer_of;
use super::relay::{Limits, Upstream, relay};
use super::{Egress, EgressError, Exit, Incoming, Target, TargetHost};
use plugbay_domain::THIS_MACHINE;

/// How long a plugin may take to send what is looked at.
const FIRST_BYTES: Duration = Duration::from_secs(5);

/// The first byte of TLS.
const TLS: u8 = 22;

/// Where servers of this machine listen that are for it alone.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

impl Egress {
    /// Connects to a target that the plugin may reach.
    pub(super) async fn open(&self, exit: &Exit, place: &Place, target: Target) -> Result<Upstream, EgressError> {
        let spoken = exit.decide(&target)?;
        let found = self.resolve(exit, place, &target).await?;
        self.check_not_service(&target, &found)?;
        let is_listed = is_listed(&target, spoken, &self.config.allow_private);
        if !is_listed {
            check_addresses(&target, &found, |address| check_foreign(address, &self.config.deny))?;
        }
        let stream = self.dial(&target, found).await?;
        if !is_listed && leads_here(&stream) {
            // Routes can change, and what the kernel has connected is what counts. Not a byte was sent.
            let address = stream.peer_addr().map_err(EgressError::Plugin)?.ip();
            return Err(EgressError::PrivateAddress { target: target.to_string(), address, kind: Refused::Own });
        }
        exit.count_opened();
        let address = stream.peer_addr().ok();
        tracing::debug!(plugin.name = %exit.name, %target, ?address, "Opened a connection for a plugin");
        Ok(Upstream { stream, target, spoken })
    }

    /// Refuses the service itself, also where it is granted and listed: with a token that a plugin came by it would rule all
    /// others, and `/metrics` needs none.
    fn check_not_service(&self, target: &Target, found: &[SocketAddr]) -> Result<(), EgressError> {
        let Some(service) = self.config.service else { return Ok(()) };
        check_addresses(
            target,
            found,
            |address| {
                if is_answered_by(service, address) { Err(Refused::Service) } else { Ok(()) }
            },
        )
    }

    /// Connects to one of these addresses of a target.
    pub(super) async fn dial(&self, target: &Target, addresses: Vec<SocketAddr>) -> Result<TcpStream, EgressError> {
        let limit = self.config.connect_timeout;
        let deadline = Instant::now() + limit;
        let mut last = None;
        let tried = addresses.len().min(MAX_ADDRESSES);
        for (at, address) in addresses.into_iter().take(tried).enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(tried - at).unwrap_or(1);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // What waits to be sent together was collected by whoever sends it.
                    stream.set_nodelay(true).ok();
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Some(error),
                Err(_elapsed) => {}
            }
        }
        let target = target.to_string();
        Err(match last {
            Some(source) => EgressError::Unreachable { target, source },
            None => EgressError::ConnectTimeout { target, limit },
        })
    }

    /// The addresses of a target of a plugin's. The place of the connection is held until the name is looked up.
    pub(super) async fn resolve(
        &self,
        exit: &Exit,
        place: &Place,
        target: &Target,
    ) -> Result<Vec<SocketAddr>, EgressError> {
        let at_port = |address: IpAddr| SocketAddr::new(address, target.port());
        let name = match target.host() {
            TargetHost::Address(address) => return Ok(vec![at_port(*address)]),
            // No resolver is asked, so nothing else can be what the operator listed under this name.
            TargetHost::Name(name) if name == THIS_MACHINE => return Ok(LOOPBACK.map(at_port).into()),
            TargetHost::Name(name) => name.clone(),
        };
        let limit = self.config.connect_timeout;
        let asker = Asker::Plugin(exit.plugin);
        match self.lookups.find(asker, Some(place.clone()), &name, Instant::now() + limit).await {
            Ok(found) if found.is_empty() => {
                Err(EgressError::Unresolved { name, source: std::io::ErrorKind::NotFound.into() })
            }
            Ok(found) => Ok(found.into_iter().map(at_port).collect()),
            Err(NoAddress::Failed(source)) => Err(EgressError::Unresolved { name, source }),
            Err(NoAddress::TimedOut) => Err(EgressError::ResolveTimeout { name, limit }),
            Err(NoAddress::StillSilent { seconds }) => Err(EgressError::StillSilent { name, seconds }),
        }
    }

    /// The addresses of a name that the service itself wants to reach, on a share of its own.
    pub async fn resolve_for_service(&self, name: &str, limit: Duration) -> std::io::Result<Vec<IpAddr>> {
        let timed_out = |text| std::io::Error::new(std::io::ErrorKind::TimedOut, text);
        match self.lookups.find(Asker::Service, None, name, Instant::now() + limit).await {
            Ok(found) if found.is_empty() => Err(std::io::ErrorKind::NotFound.into()),
            Ok(found) => Ok(found),
            Err(NoAddress::Failed(source)) => Err(source),
            Err(NoAddress::TimedOut) => Err(timed_out(format!("not resolved within {} s", limit.as_secs()))),
            Err(NoAddress::StillSilent { seconds }) => {
                Err(timed_out(format!("not resolved a moment ago; asked for again in {seconds} s")))
            }
        }
    }

    /// Lets a plugin talk to a host as far as that was granted. Takes care of what the plugin gets to see of a refusal.
    pub(super) async fn converse(
        &self,
        exit: &Exit,
        mut incoming: Incoming,
        mut upstream: Upstream,
    ) -> Result<(), EgressError> {
        if upstream.spoken.raw {
            return relay(exit, &mut incoming, &mut upstream, None, self.limits()).await;
        }
        let deadline = Deadline::after(FIRST_BYTES);
        let first = incoming.read_until(deadline, |bytes| Ok(bytes.first().copied())).await?;
        if first == TLS && upstream.spoken.tls {
            return match read_hello(&mut incoming, &upstream.target, deadline).await {
                Ok(()) => relay(exit, &mut incoming, &mut upstream, None, self.limits()).await,
                Err(error) => {
                    drop(upstream);
                    incoming.finish(&UNRECOGNIZED_NAME).await;
                    Err(error)
                }
            };
        }
        if !upstream.spoken.http {
            let problem =
                if first == TLS { "speaks TLS, and only http:// is granted" } else { "does not begin with TLS" };
            return Err(EgressError::Tls { target: upstream.target.to_string(), problem: problem.to_owned() });
        }
        match read_origin(&mut incoming, &upstream.target, deadline).await {
            Ok(head) => self.forward(exit, incoming, upstream, head).await,
            Err(error) => {
                drop(upstream);
                incoming.finish(&answer_of(&error, exit)).await;
                Err(error)
            }
        }
    }

    /// Sends one request on, and the whole answer back.
    pub(super) async fn forward(
        &self,
        exit: &Exit,
        mut incoming: Incoming,
        mut upstream: Upstream,
        head: Head,
    ) -> Result<(), EgressError> {
        let bytes = head.to_bytes(&upstream.target);
        let writing = tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, &bytes);
        let target = upstream.target.to_string();
        let until = Instant::now() + self.config.connect_timeout;
        match timeout_at(until, writing).await {
            Ok(Ok(())) => exit.count_sent(bytes.len()),
            Ok(Err(source)) => return Err(EgressError::Unreachable { target, source }),
            Err(_elapsed) => return Err(EgressError::ConnectTimeout { target, limit: self.config.connect_timeout }),
        }
        relay(exit, &mut incoming, &mut upstream, Some(head.body), self.limits()).await
    }

    fn limits(&self) -> Limits {
        Limits { idle: self.config.idle, total: self.config.tunnel_time, bytes: self.config.tunnel_bytes }
    }
}

/// Reads the whole `ClientHello`, which must be for the target by a name that can be read.
async fn read_hello(incoming: &mut Incoming, target: &Target, deadline: Deadline) -> Result<(), EgressError> {
    let refused = |problem: String| EgressError::Tls { target: target.to_string(), problem };
    let read = |bytes: &[u8]| client_hello::read(bytes).map_err(|problem| refused(problem.to_owned()));
    let ClientHello { server_name, is_encrypted } = incoming.read_until(deadline, read).await?;
    if is_encrypted {
        return Err(refused("hides its server name (ECH)".to_owned()));
    }
    let Some(name) = server_name else { return Err(refused("names no server (SNI)".to_owned())) };
    let is_target = plugbay_domain::canonical_name(&name).is_some_and(|name| *target.host() == TargetHost::Name(name));
    if is_target { Ok(()) } else { Err(refused(format!("names the server `{}`", plugbay_domain::escape(&name)))) }
}

/// Reads a request that is meant for the target itself.
async fn read_origin(incoming: &mut Incoming, target: &Target, deadline: Deadline) -> Result<Head, EgressError> {
    let (head, length) = incoming.read_until(deadline, head::read).await?;
    incoming.buffer.drain(..length);
    match &head.form {
        Form::Origin(_) => {}
        Form::Absolute { authority, .. } if Target::parse(authority, Some(80)).is_ok_and(|named| named == *target) => {}
        Form::Absolute { .. } | Form::Connect(_) => {
            let problem = format!("is for another host than `{target}`, which the connection is for");
            return Err(EgressError::Http { problem });
        }
    }
    head.check_host(target)?;
    Ok(head)
}
