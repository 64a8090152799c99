//! Tells public addresses from all others. It decides on an address that was resolved already, and the caller connects
//! to exactly that address, so that a name cannot change its meaning in between.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::own::is_own;
use plugbay_domain::AddressRange;

/// What an address is, where it is not a public one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `0.0.0.0/8`, `::`
    Unspecified,
    /// `127.0.0.0/8`, `::1`
    Loopback,
    /// `10/8`, `172.16/12`, `192.168/16`, `fc00::/7`, `fec0::/10`
    Private,
    /// `169.254/16` (where clouds answer with credentials), `fe80::/10`
    LinkLocal,
    /// `100.64/10`
    CarrierNat,
    /// `224/4`, `ff00::/8`
    Multicast,
    /// Documentation, benchmarking, protocol assignments, future use, broadcast.
    Reserved,
    /// An IPv6 form that carries an IPv4 address past this check: mapped, compatible, NAT64, 6to4, Teredo.
    Embedded,
    /// In `egress.deny`.
    Denied,
    /// Of this machine.
    Own,
    /// Where the service itself listens.
    Service,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::CarrierNat => "a carrier NAT address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
            Self::Embedded => "an IPv6 form of an IPv4 address",
            Self::Denied => "in a range of `egress.deny`",
            Self::Own => "an address of this machine",
            Self::Service => "where plugbay itself listens",
        })
    }
}

/// `Ok` for public addresses of other machines, outside of the ranges that the operator denies.
pub fn check_foreign(address: SocketAddr, denied: &[AddressRange]) -> Result<(), Refused> {
    check_public(address.ip())?;
    if denied.iter().any(|range| range.contains(address.ip())) {
        return Err(Refused::Denied);
    }
    if is_own(address) { Err(Refused::Own) } else { Ok(()) }
}

/// `Ok` for public addresses only, by their number alone.
pub(super) fn check_public(address: IpAddr) -> Result<(), Refused> {
    match address {
        IpAddr::V4(address) => check_v4(address),
        IpAddr::V6(address) => check_v6(address),
    }
}

fn check_v4(address: Ipv4Addr) -> Result<(), Refused> {
    let refused = match address.octets() {
        [0, ..] => Refused::Unspecified,
        [127, ..] => Refused::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Refused::Private,
        [169, 254, ..] => Refused::LinkLocal,
        [100, 64..=127, ..] => Refused::CarrierNat,
        [224..=239, ..] => Refused::Multicast,
        [240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Refused::Reserved,
        _ => return Ok(()),
    };
    Err(refused)
}

fn check_v6(address: Ipv6Addr) -> Result<(), Refused> {
    let refused = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Refused::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Refused::Loopback,
        [0, 0, 0, 0, ..] | [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..] => Refused::Embedded,
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Refused::Private,
        [0xfe80..=0xfebf, ..] => Refused::LinkLocal,
        [0xff00..=0xffff, ..] => Refused::Multicast,
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Refused::Reserved,
        // Only 2000::/3 is handed out to hosts.
        [0x2000..=0x3fff, ..] => return Ok(()),
        _ => Refused::Reserved,
    };
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), Refused> {
        check_public(text.parse().unwrap())
    }

    #[test]
    fn public_addresses_pass() {
        for text in ["1.1.1.1", "9.255.255.255", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn ranges_of_the_operator_are_refused() {
        let denied: Vec<AddressRange> = ["45.33.0.0/16", "2a00:1450::/32"].map(|text| text.parse().unwrap()).into();
        let check = |text: &str| check_foreign(SocketAddr::new(text.parse().unwrap(), 443), &denied);
        for text in ["45.33.32.156", "2a00:1450::1"] {
            assert_eq!(check(text), Err(Refused::Denied), "{text}");
        }
        assert_eq!(check("10.0.0.1"), Err(Refused::Private));
        assert_eq!(check("45.34.0.1"), Ok(()));
    }

    #[test]
    fn everything_else_is_refused_by_its_kind() {
        let cases = [
            ("0.0.0.0", Refused::Unspecified),
            ("127.0.0.1", Refused::Loopback),
            ("10.0.0.1", Refused::Private),
            ("172.31.255.255", Refused::Private),
            ("192.168.65.7", Refused::Private),
            ("169.254.169.254", Refused::LinkLocal),
            ("100.100.100.200", Refused::CarrierNat),
            ("224.0.0.1", Refused::Multicast),
            ("255.255.255.255", Refused::Reserved),
            ("192.0.2.1", Refused::Reserved),
            ("198.18.0.1", Refused::Reserved),
            ("::", Refused::Unspecified),
            ("::1", Refused::Loopback),
            ("::7f00:1", Refused::Embedded),
            ("::ffff:127.0.0.1", Refused::Embedded),
            ("::ffff:8.8.8.8", Refused::Embedded),
            ("64:ff9b::a9fe:a9fe", Refused::Embedded),
            ("64:ff9b:1::a00:1", Refused::Embedded),
            ("2002:7f00:1::", Refused::Embedded),
            ("2001:0:7f00:1::", Refused::Embedded),
            ("fd00:ec2::254", Refused::Private),
            ("fec0::1", Refused::Private),
            ("fe80::1", Refused::LinkLocal),
            ("ff02::1", Refused::Multicast),
            ("2001:db8::1", Refused::Reserved),
            ("2001:20::1", Refused::Reserved),
            ("3fff::1", Refused::Reserved),
            ("100::1", Refused::Reserved),
            ("5f00::1", Refused::Reserved),
        ];
        for (text, kind) in cases {
            assert_eq!(check(text), Err(kind), "{text}");
        }
    }
}
