//! `http.fetch`: a request that the service makes for a plugin, where the plugin might go itself. Secrets that the plugin does
//! not have are put into its headers here, and kept out of what comes back.
//!
//! `http.stream` makes the same request, and its answer is read piece by piece ([`stream`]).

pub(super) mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64;
use hyper::body::Bytes;
use hyper::header::{HeaderValue, LOCATION};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::headers::Headers;
use super::need::{Granted, Params};
use super::placeholder::names_secret;
use super::web::Shown;
use super::{Host, HostError, web};
use plugbay_domain::{HttpMethod, Reflected, Secrets};
use plugbay_egress::{Egress, EgressError, WebAddress, WebAnswer, WebRequest};

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl Params<'_> for Fetch {}

/// What is asked for, from one redirect to the next.
struct Request {
    method: HttpMethod,
    address: WebAddress,
    headers: Headers,
    body: Bytes,
}

pub(super) async fn fetch(host: &Host, fetch: Granted<Fetch>, deadline: Instant) -> Result<Box<RawValue>, HostError> {
    let asking = Asking::new(host);
    let followed = asking.follow(fetch.params(), |sent| host.send(sent, &asking.hidden));
    let answer = host.within("http.fetch", deadline, followed).await?;
    let shown = Shown::of(answer, &asking.hidden)?;
    host.fitting(super::json(&Value::Object(shown.fields())))
}

/// A plugin that makes a request, with the secrets that it has at this moment.
struct Asking<'a> {
    host: &'a Host,
    secrets: Arc<Secrets>,
    hidden: Reflected,
}

impl<'a> Asking<'a> {
    fn new(host: &'a Host) -> Self {
        let secrets = host.asker.secrets.load_full();
        let hidden = host.hidden(&secrets);
        Self { host, secrets, hidden }
    }

    /// The answer at the end of all redirects.
    async fn follow<B, S>(&self, fetch: Fetch, send: impl Fn(WebRequest) -> S) -> Result<WebAnswer<B>, HostError>
    where
        S: Future<Output = Result<WebAnswer<B>, HostError>>,
    {
        let Self { host, secrets, hidden } = self;
        let mut request = read_fetch(host, fetch, hidden)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = request.headers.fill(host, secrets, &request.address)?;
            web::introduce(&mut headers);
            let (method, body) = (request.method, request.body.clone());
            let answer = send(WebRequest { method, address: request.address.clone(), headers, body }).await?;
            let Some(location) = redirect_of(&answer) else { return Ok(answer) };
            let next = next_address(host, &request.address, location.as_bytes(), hidden)?;
            follow(host, &mut request, next, answer.status, hidden)?;
        }
        let problem = format!("more than {MAX_REDIRECTS} redirects");
        Err(host.not_sent(&EgressError::Redirect { to: request.address.rule(), problem }, hidden))
    }
}

/// Refuses what would not be sent, without sending anything.
pub(super) fn check(host: &Host, fetch: Granted<Fetch>) -> Result<(), HostError> {
    let Asking { secrets, hidden, .. } = Asking::new(host);
    let request = read_fetch(host, fetch.params(), &hidden)?;
    request.headers.fill(host, &secrets, &request.address)?;
    Egress::may_fetch(&host.asker.exit, &request.address).map_err(|error| host.not_sent(&error, &hidden))
}

fn read_fetch(host: &Host, fetch: Fetch, hidden: &Reflected) -> Result<Request, HostError> {
    let method = fetch.method.as_deref().unwrap_or("GET").parse();
    let method = method.map_err(|error: plugbay_domain::MethodError| {
        host.refuse("method", error.to_string(), "use one of these, in capitals".to_owned())
    })?;
    if names_secret(&fetch.url) {
        let text = "the address names a secret; secrets are put into headers only".to_owned();
        return Err(host.refuse("secret", text, "send the secret in a header".to_owned()));
    }
    let address = WebAddress::parse(&fetch.url).map_err(|error| host.not_sent(&error, hidden))?;
    let body = match (fetch.body, fetch.body_base64) {
        (Some(_), Some(_)) => {
            return Err(HostError::Invalid { rule: "`body` or `body_base64` is expected, not both".to_owned() });
        }
        (Some(text), None) => Bytes::from(text),
        (None, Some(encoded)) => {
            let rule = || HostError::Invalid { rule: "`body_base64` is not base64".to_owned() };
            BASE64.decode(encoded.as_bytes()).map_err(|_not_one| rule())?.into()
        }
        (None, None) => Bytes::new(),
    };
    host.check_body(body.len())?;
    Ok(Request { method, address, headers: Headers::read(host, &fetch.headers)?, body })
}

/// Where a redirect leads, unless a secret would go along in its address. A host that means no harm builds addresses of
/// what it was sent.
fn next_address(host: &Host, from: &WebAddress, location: &[u8], hidden: &Reflected) -> Result<WebAddress, HostError> {
    let with_secret = || {
        let text = "the redirect is not followed: its address has a secret in it".to_owned();
        host.refuse("secret", text, "ask for an address that the host does not build from the secret".to_owned())
    };
    if hidden.stands_in_address(location) {
        return Err(with_secret());
    }
    let next = from.join(&String::from_utf8_lossy(location)).map_err(|error| host.not_sent(&error, hidden))?;
    // As it would be sent: reading an address changes it.
    if hidden.stands_in_address(next.to_string().as_bytes()) { Err(with_secret()) } else { Ok(next) }
}

/// Turns a request into the one that a redirect asks for.
fn follow(
    host: &Host,
    request: &mut Request,
    next: WebAddress,
    status: u16,
    hidden: &Reflected,
) -> Result<(), HostError> {
    if request.address.is_tls() && !next.is_tls() {
        let problem = "it leaves https".to_owned();
        return Err(host.not_sent(&EgressError::Redirect { to: next.rule(), problem }, hidden));
    }
    let keeps_method = matches!(status, 307 | 308) || matches!(request.method.as_str(), "GET" | "HEAD");
    if !keeps_method {
        request.method = "GET".parse().expect("GET is a method");
        request.body = Bytes::new();
        request.headers.leave_body();
    }
    if !request.address.is_same_origin(&next) {
        request.headers.leave_origin();
    }
    request.address = next;
    Ok(())
}

/// Where an answer leads on to.
fn redirect_of<B>(answer: &WebAnswer<B>) -> Option<&HeaderValue> {
    let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
    answer.headers.get(LOCATION).filter(|_| is_redirect)
}

#[cfg(test)]
mod tests;
