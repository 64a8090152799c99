//! Which addresses are this machine's own.
//!
//! A service that listens on every address of a machine is often closed by a firewall that looks at what comes in from
//! outside. What comes from the machine itself passes it, so a plugin must not get there by a public address either.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use tokio::net::TcpStream;

/// Tells whether what is sent there stays on this machine. The kernel is asked, as a list of interfaces would lack what
/// is only routed here. Nothing is sent.
pub(super) fn is_own(address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address.ip()) || is_routed_here(address.ip())
}

/// Tells whether what listens at `listening` is what a connection to an address would find.
pub(super) fn is_answered_by(listening: SocketAddr, address: SocketAddr) -> bool {
    if listening.port() != address.port() {
        return false;
    }
    let (listening, asked) = (listening.ip().to_canonical(), address.ip().to_canonical());
    // An unspecified address is connected to as the loopback of this machine.
    listening == asked
        || asked.is_unspecified()
        || (listening.is_unspecified() && is_own(SocketAddr::new(asked, address.port())))
}

/// Tells whether a connection leads from this machine to itself.
pub(super) fn leads_here(stream: &TcpStream) -> bool {
    let Ok(peer) = stream.peer_addr() else { return false };
    stream.local_addr().is_ok_and(|local| peer.ip() == local.ip()) || is_routed_here(peer.ip())
}

/// Tells whether the kernel's route to an address ends on this machine. With IPv6 a whole range can, and what is sent
/// there comes from another address.
fn is_routed_here(address: IpAddr) -> bool {
    route_kind(address).is_ok_and(|kind| kind == Some(route::LOCAL))
}

/// What of rtnetlink(7) is needed to ask for one route.
mod route {
    /// The header of a message, and the one of a route in it.
    pub(super) const HEADERS: usize = 16 + 12;
    /// Where the kind of a message stands.
    pub(super) const MESSAGE_KIND: usize = 4;
    /// Where the kind of a route stands.
    pub(super) const KIND: usize = 16 + 7;
    pub(super) const REQUEST: u16 = 1;
    pub(super) const NEW_ROUTE: u16 = 24;
    pub(super) const GET_ROUTE: u16 = 26;
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const LOCAL: u8 = 2;
}

/// The kind of the route to an address; `None` when there is none.
fn route_kind(address: IpAddr) -> rustix::io::Result<Option<u8>> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &question(address), SendFlags::empty())?;
    let mut answer = [0; 1024];
    // The kernel has answered before `send` returns.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    let answer = &answer[..length];
    let message_kind = answer.get(route::MESSAGE_KIND..route::MESSAGE_KIND + 2);
    let is_route = message_kind == Some(&route::NEW_ROUTE.to_ne_bytes()[..]);
    Ok(answer.get(route::KIND).copied().filter(|_| is_route))
}

/// Asks for the route to one address.
fn question(address: IpAddr) -> Vec<u8> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (AddressFamily::INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AddressFamily::INET6, address.octets().to_vec()),
    };
    // Both fit: an address has 16 bytes at most.
    let attribute = u16::try_from(4 + bytes.len()).unwrap_or_default();
    let bits = u8::try_from(8 * bytes.len()).unwrap_or_default();
    let length = u32::try_from(route::HEADERS).unwrap_or_default() + u32::from(attribute);
    let mut question = length.to_ne_bytes().to_vec();
    question.extend(route::GET_ROUTE.to_ne_bytes());
    question.extend(route::REQUEST.to_ne_bytes());
    // Sequence and sender are of no use to one question.
    question.extend([0; 8]);
    question.extend([u8::try_from(family.as_raw()).unwrap_or_default(), bits]);
    question.extend([0; 10]);
    question.extend(attribute.to_ne_bytes());
    question.extend(route::DESTINATION.to_ne_bytes());
    question.extend(bytes);
    question
}
