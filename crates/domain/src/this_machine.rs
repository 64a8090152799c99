//! The machine that the service runs on, as plugins name it. Every sandbox has a `localhost` of its own, so that name and
//! the loopback addresses lead nowhere else, with any grant.

use std::net::IpAddr;

use super::{AllowedHost, NetworkHost, NetworkRule};

/// The machine's loopback, for plugins that were granted this name where `egress.allow_private` lists it.
pub const THIS_MACHINE: &str = "host.plugbay.internal";

/// What the hosts file of every sandbox says of itself, beside `localhost`.
const SANDBOX: &str = "plugin";

impl NetworkRule {
    /// What to write instead, if the rule is for the sandbox itself: the same port of this machine.
    pub fn meant_for_this_machine(&self) -> Option<Self> {
        let is_inside = match self.host() {
            NetworkHost::Name(name) => is_inside(name),
            NetworkHost::Below(parent) => is_below_localhost(parent),
            NetworkHost::Address(address) => is_loopback(*address),
        };
        is_inside.then(|| self.with_host(NetworkHost::Name(THIS_MACHINE.to_owned())))
    }
}

impl AllowedHost {
    /// Why plugins reach nothing by this host, or too much, if so.
    pub fn mistake_for_plugins(&self) -> Option<String> {
        let (host, port) = (self.host(), self.port());
        if host == THIS_MACHINE && port.is_none() {
            return Some(format!(
                "`{host}` is every port of this machine, the service's own among them; name the port, such as `{host}:11434`"
            ));
        }
        let is_inside = host.parse().map_or_else(|_name| is_inside(host), is_loopback);
        let port = port.map_or_else(|| "PORT".to_owned(), |port| port.to_string());
        is_inside.then(|| {
            format!("`{host}` is the sandbox itself for every plugin; this machine is `{THIS_MACHINE}:{port}` there")
        })
    }
}

/// `name` is canonical.
fn is_inside(name: &str) -> bool {
    name == SANDBOX || is_below_localhost(name)
}

/// Programs take these for the loopback without asking anything.
fn is_below_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_the_sandbox_are_told_with_what_to_write_instead() {
        let instead = |text: &str| {
            let rule: NetworkRule = text.parse().unwrap();
            rule.meant_for_this_machine().map(|rule| rule.to_string())
        };
        for (text, wanted) in [
            ("localhost", "host.plugbay.internal:443"),
            ("http://LOCALHOST.:9099", "http://host.plugbay.internal:9099"),
            ("a.b.localhost:8443", "host.plugbay.internal:8443"),
            ("*.localhost", "host.plugbay.internal:443"),
            ("http://plugin:80", "http://host.plugbay.internal:80"),
            ("tcp://127.0.0.1:5432", "tcp://host.plugbay.internal:5432"),
            ("tcp://127.9.9.9:1", "tcp://host.plugbay.internal:1"),
            ("tcp://[::1]:1", "tcp://host.plugbay.internal:1"),
            ("tcp://[::ffff:127.0.0.1]:1", "tcp://host.plugbay.internal:1"),
        ] {
            assert_eq!(instead(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["host.plugbay.internal:1", "localhost.example", "notlocalhost", "tcp://10.0.0.1:1", "*.plugin"] {
            assert_eq!(instead(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_for_plugins_names_the_machine_by_its_name_and_port() {
        let mistake = |text: &str| text.parse::<AllowedHost>().unwrap().mistake_for_plugins();
        for text in ["localhost", "localhost:9099", "127.0.0.1:9099", "[::1]:9099", "x.localhost", "plugin"] {
            assert!(mistake(text).is_some_and(|text| text.contains(THIS_MACHINE)), "{text}");
        }
        assert!(mistake(THIS_MACHINE).unwrap().contains("name the port"));
        for text in ["host.plugbay.internal:11434", "ollama.internal", "10.0.0.7:8443"] {
            assert_eq!(mistake(text), None, "{text}");
        }
    }
}
