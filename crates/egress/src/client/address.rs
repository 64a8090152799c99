//! The address of a request, parsed once: the value that is decided on is the value that is dialled and sent.

use std::fmt;

use url::Url;

use super::super::{EgressError, Target, TargetHost};
use plugbay_domain::{NetworkScheme, escape};

/// Longest address.
const MAX_BYTES: usize = 8_192;

/// A scheme, a host, a port, and a path with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAddress {
    is_tls: bool,
    target: Target,
    path: String,
}

impl WebAddress {
    /// Reads an address as it is: nothing is mended, and what two readers could read in two ways is refused.
    pub fn parse(text: &str) -> Result<Self, EgressError> {
        let refused = |problem| EgressError::BadAddress { found: shown(text), problem };
        if text.len() > MAX_BYTES {
            return Err(refused("is too long"));
        }
        let (is_tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return Err(refused("does not begin with `https://` or `http://`")),
        };
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
        if !rest.bytes().all(is_plain) {
            return Err(refused("has spaces, `\\`, braces or characters that are not ASCII; percent-encode them"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(refused("carries a user name or password; send a header in their place"));
        }
        let target = Target::parse(authority, Some(if is_tls { 443 } else { 80 }))?;
        // What follows `#` is for the reader of a page and never sent.
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_tls, target, path })
    }

    /// Where a redirect leads.
    pub fn join(&self, location: &str) -> Result<Self, EgressError> {
        let refused = |problem| EgressError::BadAddress { found: shown(location), problem };
        let base = Url::parse(&self.to_string()).map_err(|_not_one| refused("cannot be followed"))?;
        let joined = base.join(location).map_err(|_not_one| refused("is no address"))?;
        Self::parse(joined.as_str())
    }

    /// Another path below this one, which is the beginning of all of them.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    /// Host and port.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it is `https`.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Which rules are for it.
    pub const fn scheme(&self) -> NetworkScheme {
        if self.is_tls { NetworkScheme::Tls } else { NetworkScheme::Http }
    }

    /// Tells whether both are the same server, spoken to in the same way.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.is_tls == other.is_tls && self.target == other.target
    }

    /// The path with its query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands in the `Host` header.
    pub fn host(&self) -> String {
        let shown = self.target.to_string();
        let default = if self.is_tls { 443 } else { 80 };
        if self.target.port() != default {
            return shown;
        }
        match self.target.host() {
            TargetHost::Name(name) => name.clone(),
            TargetHost::Address(_) => shown.trim_end_matches(&format!(":{default}")).to_owned(),
        }
    }

    /// The rule that would grant it, as an administrator writes it.
    pub fn rule(&self) -> String {
        if self.is_tls { self.target.to_string() } else { format!("http://{}", self.target) }
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.is_tls { "https" } else { "http" }, self.host(), self.path)
    }
}

/// For messages: without what may be a password, and without the query, which may hold a key.
fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    escape(text.rsplit_once('@').map_or(text, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        WebAddress::parse(text).ok().map(|address| address.to_string())
    }

    #[test]
    fn addresses_have_one_form() {
        for (text, form) in [
            ("https://api.example.com", "https://api.example.com/"),
            ("HTTPS://API.Example.com.:443/A?b=%20#c", "https://api.example.com/A?b=%20"),
            ("http://a.example:8080?x", "http://a.example:8080/?x"),
            ("http://a.example:443/", "http://a.example:443/"),
            ("http://127.0.0.1/", "http://127.0.0.1/"),
            ("https://[::1]:443/x", "https://[::1]/x"),
        ] {
            assert_eq!(read(text).as_deref(), Some(form), "{text}");
        }
        assert_eq!(WebAddress::parse("https://a.example/x").unwrap().rule(), "a.example:443");
        assert_eq!(WebAddress::parse("http://a.example").unwrap().rule(), "http://a.example:80");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "api.example.com",
            "//api.example.com/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https:/a.example/",
            "https:a.example",
            "https:///a.example",
            "https://a.example@evil.example/",
            "https://user:password@a.example/",
            "https://a.example\\@evil.example/",
            "https://a.example\\.evil.example/",
            "https://a.example/a b",
            "https://a.example/\r\nHost: evil",
            "https://a.example/\u{e9}",
            "https://a.example%2eevil.example/",
            "https://a.example%00.evil.example/",
            "https://\u{ff41}.example/",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://a.example:443:443/",
            "https://a.example:/",
            " https://a.example/",
            "https://a.example/{{secret:x}}",
            "ht\ttps://a.example/",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&format!("https://a.example/{}", "a".repeat(MAX_BYTES))), None);
    }

    #[test]
    fn messages_hold_neither_password_nor_query() {
        for text in ["https://user:hunter2@a.example/ x", "https://a.example/x y?key=hunter2", "hunter2@a"] {
            let error = WebAddress::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn redirects_are_joined_and_read_as_strictly() {
        let address = WebAddress::parse("https://a.example:8443/v1/x?y").unwrap();
        for (location, form) in [
            ("z", "https://a.example:8443/v1/z"),
            ("/z", "https://a.example:8443/z"),
            ("../../../z", "https://a.example:8443/z"),
            ("//b.example/z", "https://b.example/z"),
            ("http://b.example", "http://b.example/"),
            ("\\\\b.example/z", "https://b.example/z"),
        ] {
            assert_eq!(address.join(location).unwrap().to_string(), form, "{location}");
        }
        for location in ["https://u:p@b.example/", "ftp://b.example/", "javascript:1", "file:///etc/passwd", "http://"]
        {
            assert!(address.join(location).is_err(), "{location}");
        }
    }
}
