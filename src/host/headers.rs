//! The headers of a plugin's request: which ones it may set, and secrets in their values.

use std::collections::BTreeMap;

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{Host, HostError};
use crate::domain::{NetworkRule, Reflected, Secrets, escape};
use crate::egress::WebAddress;

/// What a secret in a header is written as, before and after its name.
const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Bytes of all headers together, secrets included.
const MAX_BYTES: usize = 16 << 10;

/// Headers that say where a request ends, for whom it is, or what becomes of the connection. An encoded answer could hide
/// what is looked for in it.
const REFUSED: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One header as the plugin wrote it.
#[derive(Clone, Debug)]
struct Written {
    name: HeaderName,
    value: String,
}

/// The headers of a request as the plugin wrote them.
#[derive(Clone, Debug)]
pub(super) struct Headers(Vec<Written>);

impl Written {
    fn has_secret(&self) -> bool {
        self.value.contains(OPEN)
    }
}

/// Tells whether a text would have a secret put into it if it were a header.
pub(super) fn names_secret(text: &str) -> bool {
    let is_open = |text: &str| text.contains(OPEN);
    is_open(text) || (text.contains('%') && is_open(&text.replace("%7B", "{").replace("%7b", "{").replace("%3A", ":")))
}

impl Headers {
    /// Reads what the plugin wants to send.
    pub(super) fn read(host: &Host, given: &BTreeMap<String, String>) -> Result<Self, HostError> {
        let refused = |text: String, how: &str| host.refuse("header", text, how.to_owned());
        if given.len() > MAX_HEADERS {
            let text = format!("the request has {} headers; at most {MAX_HEADERS} are sent", given.len());
            return Err(refused(text, "send fewer headers"));
        }
        let mut written = Vec::<Written>::new();
        for (name, value) in given {
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_not_one| {
                refused(format!("`{}` is not the name of a header", escape(name)), "use letters, digits and `-`")
            })?;
            if REFUSED.contains(&parsed.as_str()) || parsed.as_str().starts_with("proxy-") {
                let text = format!("the header `{parsed}` is not sent: it is about the connection, not the request");
                return Err(refused(text, "leave it out; the service sets what is needed"));
            }
            if written.iter().any(|other| other.name == parsed) {
                return Err(refused(format!("the header `{parsed}` stands twice"), "write it once"));
            }
            written.push(Written { name: parsed, value: value.clone() });
        }
        Ok(Self(written))
    }

    /// Leaves out what is not for another server.
    pub(super) fn leave_origin(&mut self) {
        self.0.retain(|header| !header.has_secret() && !matches!(header.name.as_str(), "authorization" | "cookie"));
    }

    /// Leaves out what was about a body that is not sent any more.
    pub(super) fn leave_body(&mut self) {
        self.0.retain(|header| !header.name.as_str().starts_with("content-"));
    }

    /// The headers with their secrets, for this address.
    pub(super) fn fill(&self, host: &Host, secrets: &Secrets, address: &WebAddress) -> Result<HeaderMap, HostError> {
        let mut filled = HeaderMap::new();
        let mut bytes = 0;
        let with_secrets = self.0.iter().any(Written::has_secret);
        for Written { name, value } in &self.0 {
            let full = fill(host, secrets, address, name, value)?;
            bytes += name.as_str().len() + full.len() + 4;
            let sent = HeaderValue::from_bytes(full.as_bytes()).map_err(|_not_one| {
                let text = format!("the value of the header `{name}` has control characters");
                host.refuse("header", text, "send one line of text; check the secret in it, if there is one".to_owned())
            })?;
            if with_secrets && name == "range" {
                let text =
                    "`Range` is not sent together with a secret: parts of an answer cannot be searched".to_owned();
                return Err(host.refuse("header", text, "leave out `Range`".to_owned()));
            }
            filled.insert(name, sent);
            if let Some(sent) = filled.get_mut(name) {
                sent.set_sensitive(true);
            }
        }
        if bytes > MAX_BYTES {
            let text = format!("the headers have {bytes} bytes; at most {MAX_BYTES} are sent");
            return Err(host.refuse("header", text, "send shorter headers".to_owned()));
        }
        // What is compressed cannot be searched, and could be a thousand times as long.
        filled.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(filled)
    }
}

/// Puts secrets into one value.
fn fill(
    host: &Host,
    secrets: &Secrets,
    address: &WebAddress,
    name: &HeaderName,
    value: &str,
) -> Result<Zeroizing<String>, HostError> {
    let mut full = Zeroizing::new(String::with_capacity(value.len()));
    let mut rest = value;
    while let Some((before, after)) = rest.split_once(OPEN) {
        full.push_str(before);
        let Some((field, behind)) = after.split_once(CLOSE) else {
            let text = format!("the header `{name}` has `{OPEN}` without `{CLOSE}`");
            return Err(host.refuse("secret", text, "write {{secret:NAME}} with the name of a field".to_owned()));
        };
        full.push_str(secret(host, secrets, address, field)?.expose_secret());
        rest = behind;
    }
    full.push_str(rest);
    Ok(full)
}

/// The secret of a field, if it may go to this address.
fn secret(host: &Host, secrets: &Secrets, address: &WebAddress, field: &str) -> Result<SecretString, HostError> {
    let name = &host.asker.name;
    let shown = escape(field);
    let Some(found) = secrets.for_fetch(field) else {
        let text = format!("there is no secret `{shown}` that requests may carry");
        let how = format!(
            "name its hosts in config_schema (`secret: {{ hosts: […] }}`), and set it: plugbay config set {name} {shown}"
        );
        return Err(host.refuse("secret", text, how));
    };
    let target = address.target();
    let host_name = target.host().to_string();
    if !found.hosts.iter().any(|rule| rule.is_for(address.scheme(), &host_name, target.port())) {
        let hosts: Vec<String> = found.hosts.iter().map(NetworkRule::to_string).collect();
        let text = format!("the secret `{shown}` is not for `{}`, only for {}", address.rule(), hosts.join(", "));
        let how = "ask one of its hosts, or add this one to `hosts` of the secret in config_schema".to_owned();
        return Err(host.refuse("secret", text, how));
    }
    if found.value.expose_secret().len() < Reflected::SHORTEST {
        let least = Reflected::SHORTEST;
        let text = format!("the secret `{shown}` has fewer than {least} bytes and could not be kept out of answers");
        return Err(host.refuse("secret", text, format!("set a longer one: plugbay config set {name} {shown}")));
    }
    Ok(found.value)
}
