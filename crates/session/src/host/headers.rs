//! The headers of a plugin's request: which ones it may set, and secrets in their values.

use std::collections::BTreeMap;

use hyper::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::placeholder::Value;
use super::{Host, HostError};
use plugbay_domain::{NetworkRule, Reflected, Secrets, escape};
use plugbay_egress::WebAddress;

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
    value: Value,
}

/// The headers of a request as the plugin wrote them.
#[derive(Clone, Debug)]
pub(super) struct Headers(Vec<Written>);

impl Written {
    fn has_secret(&self) -> bool {
        matches!(self.value, Value::Secret { .. })
    }
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
            let value = Value::read(value).map_err(|misplaced| {
                let (text, how) = misplaced.told(parsed.as_str());
                host.refuse("secret", text, how)
            })?;
            written.push(Written { name: parsed, value });
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
        // Also without one: the host may have kept it from before.
        let may_answer_secrets = secrets.hosts().any(|rule| is_for(rule, address));
        for Written { name, value } in &self.0 {
            let full = fill(host, secrets, address, name, value)?;
            bytes += name.as_str().len() + full.len() + 4;
            let sent = HeaderValue::from_bytes(full.as_bytes()).map_err(|_not_one| {
                let text = format!("the value of the header `{name}` has control characters");
                host.refuse("header", text, "send one line of text; check the secret in it, if there is one".to_owned())
            })?;
            if may_answer_secrets && name == "range" {
                let text =
                    "`Range` is not sent to the host of a secret: parts of an answer cannot be searched".to_owned();
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

/// Puts the secret into one value.
fn fill(
    host: &Host,
    secrets: &Secrets,
    address: &WebAddress,
    name: &HeaderName,
    value: &Value,
) -> Result<Zeroizing<String>, HostError> {
    match value {
        Value::Plain(text) => Ok(Zeroizing::new(text.clone())),
        Value::Secret { scheme, field } => {
            let found = secret(host, secrets, address, name, field)?;
            let found = found.expose_secret();
            let mut full = Zeroizing::new(String::with_capacity(scheme.len() + found.len()));
            full.push_str(scheme);
            full.push_str(found);
            Ok(full)
        }
    }
}

/// Whether a rule of a secret's hosts is for this address.
fn is_for(rule: &NetworkRule, address: &WebAddress) -> bool {
    let target = address.target();
    rule.is_for(address.scheme(), &target.host().to_string(), target.port())
}

/// The secret of a field, if it may go to this address in this header.
fn secret(
    host: &Host,
    secrets: &Secrets,
    address: &WebAddress,
    header: &HeaderName,
    field: &str,
) -> Result<SecretString, HostError> {
    let name = &host.asker.name;
    let shown = escape(field);
    let Some(found) = secrets.for_fetch(field) else {
        let text = format!("there is no secret `{shown}` that requests may carry");
        let how = format!(
            "name its hosts in config_schema (`secret: {{ hosts: […] }}`), and set it: plugbay config set {name} {shown}"
        );
        return Err(host.refuse("secret", text, how));
    };
    if !found.hosts.iter().any(|rule| is_for(rule, address)) {
        let hosts: Vec<String> = found.hosts.iter().map(NetworkRule::to_string).collect();
        let text = format!("the secret `{shown}` is not for `{}`, only for {}", address.rule(), hosts.join(", "));
        let how = "ask one of its hosts, or add this one to `hosts` of the secret in config_schema".to_owned();
        return Err(host.refuse("secret", text, how));
    }
    if header.as_str() != found.header.as_str() {
        let text = format!("the secret `{shown}` is sent in `{}` only, not in `{header}`", found.header);
        let how = format!("send it there, or name `header: {header}` of the secret in config_schema");
        return Err(host.refuse("secret", text, how));
    }
    if found.value.expose_secret().len() < Reflected::SHORTEST {
        let least = Reflected::SHORTEST;
        let text = format!("the secret `{shown}` has fewer than {least} bytes and could not be kept out of answers");
        return Err(host.refuse("secret", text, format!("set a longer one: plugbay config set {name} {shown}")));
    }
    Ok(found.value)
}
