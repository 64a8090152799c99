//! Where a plugin may connect to: one rule of `network.allow`.
//!
//! The parsed rule decides and is dialled; the text it came from is never looked at again.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::escape;
use super::strangers::{ANYBODY, can_register_below, relay};

/// One place a plugin may reach, such as `api.example.com:443` or `tcp://db.example:5432`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkRule {
    scheme: NetworkScheme,
    host: NetworkHost,
    port: u16,
}

/// What is spoken there, and so how much of it can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetworkScheme {
    /// TLS whose server name is the host. Written without a scheme.
    Tls,
    /// Plain HTTP whose Host header is the host.
    Http,
    /// Any bytes; nothing of it can be inspected.
    Tcp,
}

/// Which hosts a rule covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetworkHost {
    /// This name: lower-case ASCII without a trailing dot.
    Name(String),
    /// Every name with exactly one label before this one.
    Below(String),
    /// This address; only for `tcp://`, because a certificate cannot vouch for it.
    Address(IpAddr),
}

/// Why a text is not a network rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Another scheme than `http` or `tcp`.
    #[error(
        "`{found}` has an unknown scheme; write `host` or `host:port` for TLS, `http://host:port` or `tcp://host:port`"
    )]
    Scheme {
        /// The text, escaped.
        found: String,
    },
    /// More than a host and a port.
    #[error("`{found}` is not a host; expected a name such as `api.example.com`, without path, user or spaces")]
    Host {
        /// The text, escaped.
        found: String,
    },
    /// `*` anywhere but in place of one whole first label.
    #[error("`{found}` covers too much: `*` stands for exactly one label at the front, such as `*.example.org`")]
    Wildcard {
        /// The text, escaped.
        found: String,
    },
    /// An address without `tcp://`.
    #[error("`{found}` is an IP address; addresses are reached with `tcp://address:port` only")]
    Address {
        /// The text, escaped.
        found: String,
    },
    /// An address that no single machine has.
    #[error("`{found}` is not the address of one machine")]
    NotOneMachine {
        /// The text, escaped.
        found: String,
    },
    /// No port, or not a number from 1 to 65535.
    #[error("`{found}` needs a port from 1 to 65535")]
    Port {
        /// The text, escaped.
        found: String,
    },
}

impl NetworkRule {
    /// What is spoken.
    pub const fn scheme(&self) -> NetworkScheme {
        self.scheme
    }

    /// Which hosts.
    pub const fn host(&self) -> &NetworkHost {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The same for another host.
    pub(super) fn with_host(&self, host: NetworkHost) -> Self {
        Self { host, ..self.clone() }
    }

    /// Tells whether it covers hosts of anybody who wants one, such as `*.com`: as good as every public host.
    pub fn is_for_strangers(&self) -> bool {
        matches!(&self.host, NetworkHost::Below(parent) if can_register_below(parent))
    }

    /// Why the rule names no owner, in words that follow on it: it covers hosts of strangers, or a service that hands on what it
    /// gets to anybody.
    pub fn names_nobody(&self) -> Option<&'static str> {
        match &self.host {
            _ if self.is_for_strangers() => Some(ANYBODY),
            NetworkHost::Name(name) | NetworkHost::Below(name) => relay(name),
            NetworkHost::Address(_) => None,
        }
    }

    /// Tells whether everything `other` reaches is reached by this rule too.
    pub fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.port == other.port && self.host.covers(&other.host)
    }

    /// Tells whether the rule is for this host. `host` has the form of [`canonical_name`].
    pub fn is_for(&self, scheme: NetworkScheme, host: &str, port: u16) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let asked = address.map_or_else(|| NetworkHost::Name(host.to_owned()), NetworkHost::Address);
        self.scheme == scheme && self.port == port && self.host.covers(&asked)
    }
}

impl NetworkHost {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Below(parent), Self::Name(name)) => {
                name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
            _ => self == other,
        }
    }
}

impl FromStr for NetworkRule {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let found = || escape(text);
        let (scheme, rest) = match text.split_once("://") {
            None => (NetworkScheme::Tls, text),
            Some(("http", rest)) => (NetworkScheme::Http, rest),
            Some(("tcp", rest)) => (NetworkScheme::Tcp, rest),
            Some(_) => return Err(NetworkError::Scheme { found: found() }),
        };
        if rest.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\?#@%".contains(c)) {
            return Err(NetworkError::Host { found: found() });
        }
        let (host, port) = split_port(rest).ok_or_else(|| NetworkError::Port { found: found() })?;
        let port = match (port, scheme) {
            (Some(port), _) => port,
            (None, NetworkScheme::Tls) => 443,
            (None, NetworkScheme::Http) => 80,
            (None, NetworkScheme::Tcp) => return Err(NetworkError::Port { found: found() }),
        };
        let host = parse_host(host, text)?;
        if matches!(host, NetworkHost::Address(_)) && scheme != NetworkScheme::Tcp {
            return Err(NetworkError::Address { found: found() });
        }
        Ok(Self { scheme, host, port })
    }
}

/// Splits at the last colon that is not inside brackets. `None` for a port that is no port.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let colon = text.rfind(':').filter(|at| !text[*at..].contains(']'));
    // An address such as `::1` without brackets has more colons and no port.
    let colon = colon.filter(|at| text.starts_with('[') || !text[..*at].contains(':'));
    let Some(at) = colon else { return Some((text, None)) };
    let digits = &text[at + 1..];
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    let port = digits.parse().ok().filter(|port| is_canonical && *port > 0)?;
    Some((&text[..at], Some(port)))
}

fn parse_host(host: &str, whole: &str) -> Result<NetworkHost, NetworkError> {
    let found = || escape(whole);
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        let is_group = match address {
            IpAddr::V4(address) => address.is_multicast() || address.is_broadcast() || address.octets()[0] == 0,
            IpAddr::V6(address) => address.is_multicast(),
        };
        if is_group || address.is_unspecified() {
            return Err(NetworkError::NotOneMachine { found: found() });
        }
        return Ok(NetworkHost::Address(address));
    }
    if let Some(parent) = host.strip_prefix("*.") {
        if parent.contains('*') {
            return Err(NetworkError::Wildcard { found: found() });
        }
        let parent = canonical_name(parent).ok_or_else(|| NetworkError::Host { found: found() })?;
        return Ok(NetworkHost::Below(parent));
    }
    if host.contains('*') {
        return Err(NetworkError::Wildcard { found: found() });
    }
    canonical_name(host).map(NetworkHost::Name).ok_or_else(|| NetworkError::Host { found: found() })
}

/// A host name in the one form that is compared: lower-case, IDNA as ASCII, without a trailing dot.
pub fn canonical_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let ascii = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else if text.contains('%') {
        return None;
    } else {
        match url::Host::parse(text).ok()? {
            url::Host::Domain(name) => name,
            url::Host::Ipv4(_) | url::Host::Ipv6(_) => return None,
        }
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = ascii.rsplit('.').next().unwrap_or_default();
    // Resolvers read `127.1`, `2130706433` and `0x7f.1` as addresses.
    let reads_as_address = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    (ascii.len() <= 253 && ascii.split('.').all(is_label) && !reads_as_address).then_some(ascii)
}

impl TryFrom<String> for NetworkRule {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<NetworkRule> for String {
    fn from(rule: NetworkRule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for NetworkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            NetworkScheme::Tls => "",
            NetworkScheme::Http => "http://",
            NetworkScheme::Tcp => "tcp://",
        };
        let port = self.port;
        match &self.host {
            NetworkHost::Name(name) => write!(f, "{scheme}{name}:{port}"),
            NetworkHost::Below(parent) => write!(f, "{scheme}*.{parent}:{port}"),
            NetworkHost::Address(IpAddr::V4(address)) => write!(f, "{scheme}{address}:{port}"),
            NetworkHost::Address(IpAddr::V6(address)) => write!(f, "{scheme}[{address}]:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, NetworkError> {
        text.parse::<NetworkRule>().map(|rule| rule.to_string())
    }

    #[test]
    fn rules_have_one_canonical_form() {
        for (text, canonical) in [
            ("api.example.com", "api.example.com:443"),
            ("API.Example.COM.:8443", "api.example.com:8443"),
            ("*.example.org:8443", "*.example.org:8443"),
            ("http://intranet.example:80", "http://intranet.example:80"),
            ("http://intranet.example", "http://intranet.example:80"),
            ("tcp://db.example:5432", "tcp://db.example:5432"),
            ("tcp://10.0.0.5:22", "tcp://10.0.0.5:22"),
            ("tcp://[2001:DB8::1]:22", "tcp://[2001:db8::1]:22"),
            ("bücher.example", "xn--bcher-kva.example:443"),
            ("localhost:8080", "localhost:8080"),
        ] {
            let rule = shown(text).unwrap();
            assert_eq!(rule, canonical);
            assert_eq!(shown(&rule).unwrap(), canonical, "the form is stable");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "*",
            "*:443",
            "0.0.0.0",
            "0.0.0.0:443",
            "tcp://0.0.0.0:1",
            "tcp://[::]:1",
            "tcp://255.255.255.255:1",
            "tcp://224.0.0.1:1",
            "10.0.0.5",
            "http://10.0.0.5:80",
            "[::1]:443",
            "::1",
            "*.*.example.org",
            "a.*.org",
            "a*.example.org",
            "https://example.com",
            "ftp://x",
            "http://x/path",
            "example.com/",
            "u@example.com",
            "example.com:0",
            "example.com:65536",
            "example.com:",
            "example.com:080",
            "example.com:+1",
            "exa mple.com",
            "-a.example",
            "a..b",
            ".",
            "a_b.example",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "tcp://db.example",
            "example.com:443:443",
            "0.0.0.0/0",
            "tcp://10.0.0.0/8:1",
            "*.",
            "*.0.0.1",
            "%31.example",
            "a\u{202e}b.example",
        ] {
            assert!(shown(text).is_err(), "{text}: {:?}", shown(text));
        }
        assert!(shown(&format!("{}.example", "a".repeat(64))).is_err());
        assert!(shown(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let rule: NetworkRule = "*.example.org".parse().unwrap();
        assert!(rule.is_for(NetworkScheme::Tls, "a.example.org", 443));
        assert!(!rule.is_for(NetworkScheme::Tls, "a.b.example.org", 443));
        assert!(!rule.is_for(NetworkScheme::Tls, "example.org", 443));
        assert!(!rule.is_for(NetworkScheme::Tls, "aexample.org", 443));
        assert!(!rule.is_for(NetworkScheme::Tls, "a.example.org", 8443));
        assert!(!rule.is_for(NetworkScheme::Tcp, "a.example.org", 443));
        assert!(rule.covers(&"a.example.org".parse().unwrap()));
        assert!(!"a.example.org".parse::<NetworkRule>().unwrap().covers(&rule));
    }
}
