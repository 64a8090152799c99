//! The header that carries a secret in a request of the service's: one that servers read credentials from, and nothing else.
//!
//! Servers build addresses from some headers, write others into logs, and pass others on. A secret there would leave the
//! host it was set for, though the host means no harm.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::escape;

/// What a manifest that names no header means.
const DEFAULT: &str = "authorization";

/// Longest name.
const MAX_BYTES: usize = 64;

/// A name that has one of these is for credentials.
const CREDENTIALS: [&str; 10] =
    ["auth", "cookie", "credential", "jwt", "key", "password", "secret", "session", "signature", "token"];

/// A name that has one of these is about the way a request takes or where it leads on to, whatever else it has.
const WAYS: [&str; 14] = [
    "authority",
    "callback",
    "connection",
    "destination",
    "forward",
    "host",
    "location",
    "method",
    "origin",
    "proxy",
    "redirect",
    "refer",
    "rewrite",
    "url",
];

/// The same as whole words: they stand in others by chance.
const WAYS_AS_WORDS: [&str; 4] = ["path", "server", "uri", "via"];

/// A header for credentials, in small letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHeader(String);

/// The text names no header that may carry a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretHeaderError {
    /// Not a name at all.
    #[error("`{0}` is not the name of a header; expected up to {MAX_BYTES} letters, digits and `-`")]
    NoName(String),
    /// It is about the way of the request.
    #[error("a secret is never sent in `{0}`: servers lead requests on by such headers; use `authorization`")]
    Way(String),
    /// It is not for credentials.
    #[error(
        "a secret is not sent in `{}`: its name says nothing of credentials; use `authorization`, or a name with {}",
        .0,
        credentials()
    )]
    NotForCredentials(String),
}

/// What a name for credentials has in it, for messages.
fn credentials() -> String {
    CREDENTIALS.map(|word| format!("`{word}`")).join(", ")
}

impl SecretHeader {
    /// The name in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SecretHeader {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl FromStr for SecretHeader {
    type Err = SecretHeaderError;

    fn from_str(text: &str) -> Result<Self, SecretHeaderError> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=MAX_BYTES).contains(&text.len()) || !text.bytes().all(is_name) {
            return Err(SecretHeaderError::NoName(escape(text)));
        }
        let name = text.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&WAYS) || name.split('-').any(|word| WAYS_AS_WORDS.contains(&word)) {
            return Err(SecretHeaderError::Way(name));
        }
        if !has(&CREDENTIALS) {
            return Err(SecretHeaderError::NotForCredentials(name));
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for SecretHeader {
    type Error = SecretHeaderError;

    fn try_from(text: String) -> Result<Self, SecretHeaderError> {
        text.parse()
    }
}

impl From<SecretHeader> for String {
    fn from(header: SecretHeader) -> Self {
        header.0
    }
}

impl fmt::Display for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_for_credentials_are_accepted() {
        for name in [
            "Authorization",
            "X-API-Key",
            "apikey",
            "PRIVATE-TOKEN",
            "X-Auth-Token",
            "X-Amz-Security-Token",
            "Ocp-Apim-Subscription-Key",
            "Cookie",
            "X-Vault-Token",
            "X-Client-Secret",
        ] {
            let header: SecretHeader = name.parse().unwrap();
            assert_eq!(header.as_str(), name.to_lowercase());
        }
        assert_eq!(SecretHeader::default(), "Authorization".parse().unwrap());
    }

    #[test]
    fn headers_that_servers_lead_requests_on_by_are_refused() {
        for name in [
            "X-Forwarded-Host",
            "X-Forwarded-Access-Token",
            "Forwarded",
            "Host",
            "X-Host",
            "X-Auth-Host",
            "Via",
            "Referer",
            "Referrer-Token",
            "Origin",
            "X-Original-URL",
            "X-Original-Token",
            "Location",
            "Content-Location",
            "Destination",
            "X-Rewrite-URL",
            "Proxy-Authorization",
            ":authority",
            "X-Authority",
            "X-Redirect-Key",
            "X-HTTP-Method-Override",
            "X-Trace",
            "User-Agent",
            "Accept",
            "Content-Type",
            "",
            "a b",
            "x-key\r\nhost",
            "schlüssel",
            "x_key",
        ] {
            assert!(name.parse::<SecretHeader>().is_err(), "{name}");
        }
        assert!(format!("x-{}", "key".repeat(30)).parse::<SecretHeader>().is_err());
    }
}
