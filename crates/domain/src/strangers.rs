//! Hosts that name no owner: those below names where anybody can have one (`com`, `co.uk`, `github.io`), and those of services
//! that hand on what they get to anybody who asks them to.

/// Zones of one label that are not in the public DNS. Any other is: a list of those never knows the newest.
const PRIVATE_ZONES: [&str; 12] = [
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
    "private",
    "test",
];

/// What a rule says that covers hosts of anybody.
pub(super) const ANYBODY: &str = "is for hosts that anybody can register";

const ANY_ADDRESS: &str = "leads to any address that anybody writes into the name";
const COLLECTED: &str = "is a service that shows what it gets to anybody who made an address there";
const TUNNEL: &str = "is a service that leads to the machine of anybody who asks for a name there";

/// Such services, with all names below theirs. Anybody has a name there in a moment and without being asked who it is, so
/// even a single name vouches for no owner. The list is of those that are known for it, and complete it cannot be.
const RELAYS: [(&str, &[&str]); 3] = [
    (ANY_ADDRESS, &["nip.io", "sslip.io", "xip.io", "traefik.me"]),
    (
        COLLECTED,
        &[
            "beeceptor.com",
            "burpcollaborator.net",
            "ceye.io",
            "dnslog.cn",
            "hookbin.com",
            "interact.sh",
            "oast.fun",
            "oast.live",
            "oast.me",
            "oast.online",
            "oast.pro",
            "oast.site",
            "oastify.com",
            "pipedream.net",
            "requestbin.com",
            "requestbin.net",
            "requestcatcher.com",
            "webhook.site",
        ],
    ),
    (
        TUNNEL,
        &[
            "bore.pub",
            "devtunnels.ms",
            "lhr.life",
            "loca.lt",
            "localhost.run",
            "localtunnel.me",
            "ngrok-free.app",
            "ngrok-free.dev",
            "ngrok.app",
            "ngrok.dev",
            "ngrok.io",
            "pinggy.io",
            "pinggy.link",
            "serveo.net",
            "serveousercontent.com",
            "trycloudflare.com",
        ],
    ),
];

/// Why a host of this name is anybody's, if it is of such a service. `name` is canonical.
pub(super) fn relay(name: &str) -> Option<&'static str> {
    let is_of = |zone: &&str| name.strip_suffix(*zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    RELAYS.iter().find(|(_, zones)| zones.iter().any(is_of)).map(|(why, _)| *why)
}

/// Tells whether strangers can have names directly below this one, by the Public Suffix List. `parent` is canonical.
pub(super) fn can_register_below(parent: &str) -> bool {
    if !parent.contains('.') {
        return !PRIVATE_ZONES.contains(&parent);
    }
    // Asked for a name below: rules such as `*.ck` are about those.
    let below = format!("x.{parent}");
    plugbay_suffixes::known_suffix(below.as_bytes()).is_some_and(|suffix| suffix.len() >= parent.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_suffixes_belong_to_strangers() {
        for parent in [
            "com",
            "net",
            "org",
            "io",
            "uk",
            "co.uk",
            "github.io",
            "pages.dev",
            "xn--p1ai",
            "ck",
            "kawasaki.jp",
            "brandnewtld",
        ] {
            assert!(can_register_below(parent), "{parent}");
        }
        for parent in [
            "example.com",
            "api.example.co.uk",
            "plugbay.github.io",
            "internal",
            "lan",
            "service.consul",
            "cluster.local",
            "wild.test",
        ] {
            assert!(!can_register_below(parent), "{parent}");
        }
    }

    #[test]
    fn services_that_serve_anybody_are_told_with_the_reason() {
        for (name, why) in [
            ("nip.io", ANY_ADDRESS),
            ("10.0.0.1.nip.io", ANY_ADDRESS),
            ("app-10-0-0-1.sslip.io", ANY_ADDRESS),
            ("webhook.site", COLLECTED),
            ("c23b2la0kl1krjcrdj10.oast.pro", COLLECTED),
            ("eo1234.m.pipedream.net", COLLECTED),
            ("d2f1.ngrok-free.app", TUNNEL),
            ("a.b.ngrok.io", TUNNEL),
        ] {
            assert_eq!(relay(name), Some(why), "{name}");
        }
        for name in ["example.com", "notwebhook.site", "nip.io.example.com", "ip.io", "site", ""] {
            assert_eq!(relay(name), None, "{name}");
        }
    }
}
