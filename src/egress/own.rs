//! Which addresses are this machine's own.
//!
//! A service that listens on every address of a machine is often closed by a firewall that looks at what comes in from
//! outside. What comes from the machine itself passes it, so a plugin must not get there by a public address either.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::net::TcpStream;

/// Tells whether what is sent there stays on this machine. The kernel is asked, as a list of interfaces would lack what
/// is only routed here. Nothing is sent.
pub(super) fn is_own(address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address.ip())
}

/// Tells whether a connection leads from this machine to itself.
pub(super) fn leads_here(stream: &TcpStream) -> bool {
    stream.local_addr().is_ok_and(|local| stream.peer_addr().is_ok_and(|peer| peer.ip() == local.ip()))
}
