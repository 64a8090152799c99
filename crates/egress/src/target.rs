//! Where a plugin wants to go, parsed once: the value that is decided on is the value that is dialled.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::EgressError;
use plugbay_domain::{canonical_name, escape};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    host: TargetHost,
    port: u16,
}

/// The host of a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetHost {
    /// Lower-case ASCII without a trailing dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Target {
    /// Reads `host:port`, or `host` where there is a default port. Nothing is mended: what two readers could read in two
    /// ways (`%00`, `@`, `\`, spaces, `0x7f.1`) is refused.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, EgressError> {
        let strange = || EgressError::BadTarget { found: escape(text) };
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or_else(strange)?;
            let address: Ipv6Addr = address.parse().map_err(|_not_one| strange())?;
            let port = match rest.strip_prefix(':') {
                Some(port) => parse_port(port),
                None if rest.is_empty() => default_port,
                None => None,
            };
            return Ok(Self { host: TargetHost::Address(address.into()), port: port.ok_or_else(strange)? });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, parse_port(port)),
            None => (text, default_port),
        };
        let host = parse_host(host).ok_or_else(strange)?;
        Ok(Self { host, port: port.ok_or_else(strange)? })
    }

    /// The host.
    pub const fn host(&self) -> &TargetHost {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// Only ASCII: a name is written as it is looked up.
fn parse_host(text: &str) -> Option<TargetHost> {
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Some(TargetHost::Address(address.into()));
    }
    if text.is_ascii() { canonical_name(text).map(TargetHost::Name) } else { None }
}

fn parse_port(text: &str) -> Option<u16> {
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_canonical)
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            TargetHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Option<String> {
        Target::parse(text, None).ok().map(|target| target.to_string())
    }

    #[test]
    fn targets_have_one_form() {
        for (text, form) in [
            ("api.example.com:443", "api.example.com:443"),
            ("API.Example.COM.:8443", "api.example.com:8443"),
            ("xn--mnchen-3ya.example:443", "xn--mnchen-3ya.example:443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::FFFF:127.0.0.1]:80", "[::ffff:127.0.0.1]:80"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(form), "{text}");
        }
        assert_eq!(Target::parse("a.example", Some(80)).unwrap().to_string(), "a.example:80");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "a.example",
            "a.example:",
            "a.example:0",
            "a.example:080",
            "a.example:+80",
            "a.example:65536",
            "a.example:80:80",
            "a.example..:80",
            ".a.example:80",
            "-a.example:80",
            "a_b.example:80",
            "ok.example@evil.example:443",
            "ok.example#@evil.example:443",
            "ok.example\\evil.example:443",
            "ok.example/evil.example:443",
            "ok.example?.evil.example:443",
            "ok.example\0.evil.example:443",
            "ok.example%00.evil.example:443",
            "ok.example%2eevil.example:443",
            "ok.example\r\nHost:evil.example:443",
            "ok example:443",
            "ok.example :443",
            "ok.example\u{ff0e}evil:443",
            "ⓔxample.com:443",
            "*.example:443",
            "0x7f.0.0.1:80",
            "0x7f000001:80",
            "2130706433:80",
            "0177.0.0.1:80",
            "127.1:80",
            "127.0.1:80",
            "127.0.0.1.:80",
            "00000127.0.0.1:80",
            "0:80",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[fe80::1%eth0]:80",
            "[::1]x:80",
            "[127.0.0.1]:80",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_in_its_own_form(text in "[ -~]{0,40}|[a-z0-9.:\\[\\]-]{0,40}") {
            if let Some(shown_once) = shown(&text) {
                prop_assert_eq!(shown(&shown_once), Some(shown_once.clone()));
                prop_assert!(shown_once.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte)));
            }
        }
    }
}
