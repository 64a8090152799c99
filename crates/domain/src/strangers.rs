//! Names below which anybody can have a host: `com`, `co.uk`, `github.io`. A wildcard there names nobody.

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
}
