//! The Host check. Without it, a web page could point its own name at a loopback address and have a visitor's
//! browser talk to plugbay (DNS rebinding).

use std::net::SocketAddr;

use actix_web::dev::RequestHead;
use actix_web::http::header::HOST;
use plugbay_domain::{AllowedHost, Code, escape};

use super::problem::Problem;

/// What a Host header without a port means.
const HTTP_PORT: u16 = 80;

/// Names this service answers to.
#[derive(Debug)]
pub(crate) struct AllowedHosts {
    /// In lower case, whatever the port.
    names: Vec<String>,
    /// What the operator adds.
    listed: Vec<AllowedHost>,
}

impl AllowedHosts {
    /// Loopback names, the listen address, and what the operator lists.
    pub(crate) fn new(listen: SocketAddr, listed: &[AllowedHost]) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        names.push(match listen {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        });
        Self { names, listed: listed.to_vec() }
    }

    /// Refuses a request that was meant for another host.
    pub(super) fn check(&self, head: &RequestHead) -> Result<(), Problem> {
        let mut headers = head.headers.get_all(HOST);
        let first = headers.next().and_then(|value| value.to_str().ok());
        // An absolute target overrides the header, so both are looked at.
        let target = head.uri.authority().map(actix_web::http::uri::Authority::as_str);
        let Some(host) = first.filter(|_| headers.next().is_none()) else {
            return Err(Problem::new(Code::HostRefused, "the request has no Host header, or several"));
        };
        for name in [Some(host), target].into_iter().flatten() {
            if !self.contains(name) {
                let detail = format!("`{}` is not a name of this service", escape(name));
                return Err(Problem::new(Code::HostRefused, detail));
            }
        }
        Ok(())
    }

    fn contains(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port.parse().ok()),
            _ => (host.as_str(), None),
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        self.names.iter().any(|allowed| allowed == name)
            || self.listed.iter().any(|allowed| allowed.covers(bare, port.unwrap_or(HTTP_PORT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_with_and_without_port_and_in_any_case() {
        let hosts = AllowedHosts::new("10.1.2.3:8000".parse().unwrap(), &["Plugins.Example".parse().unwrap()]);
        for name in
            ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]", "10.1.2.3", "plugins.example:443"]
        {
            assert!(hosts.contains(name), "{name}");
        }
        for name in ["evil.com", "localhost.evil.com", "127.0.0.1.evil.com:8000", "", ":8000", "user@localhost"] {
            assert!(!hosts.contains(name), "{name}");
        }
    }
}
