//! A host an operator names in the configuration, with or without a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{canonical_name, escape};

/// One host, such as `ollama.internal` or `127.0.0.1:8081`; without a port all of its ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

/// The text is not a host.
#[derive(Debug, thiserror::Error)]
#[error("`{found}` is not a host; expected `name`, `name:port`, `address` or `[address]:port`, without wildcards")]
pub struct AllowedHostError {
    found: String,
}

impl AllowedHost {
    /// Tells whether this is the host and port. `host` is canonical; addresses stand without brackets.
    pub fn covers(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port.is_none_or(|own| own == port)
    }

    /// The name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if only one is meant.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), port: None });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { host: address.ip().to_string(), port: Some(address.port()) });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok().filter(|port: &u16| *port > 0))),
            None => (text, None),
        };
        let host = canonical_name(name).filter(|_| port != Some(None));
        let host = host.ok_or_else(|| AllowedHostError { found: escape(text) })?;
        Ok(Self { host, port: port.flatten() })
    }
}

impl TryFrom<String> for AllowedHost {
    type Error = AllowedHostError;

    fn try_from(text: String) -> Result<Self, AllowedHostError> {
        text.parse()
    }
}

impl From<AllowedHost> for String {
    fn from(host: AllowedHost) -> Self {
        host.to_string()
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_covers_its_ports() {
        let host = |text: &str| text.parse::<AllowedHost>().unwrap();
        assert!(host("Ollama.Internal.").covers("ollama.internal", 11434));
        assert!(host("127.0.0.1:8081").covers("127.0.0.1", 8081));
        assert!(!host("127.0.0.1:8081").covers("127.0.0.1", 80));
        assert!(host("[::1]:80").covers("::1", 80));
        assert_eq!(host("[::1]:80").to_string(), "[::1]:80");
        for text in ["", "*", "*.a.example", "a.example:0", "a.example:x", "https://a.example", "10.0.0.0/8", "127.1"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
