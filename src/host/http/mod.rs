//! `http.fetch`: a request that the service makes for a plugin, where the plugin might go itself. Secrets that the plugin does
//! not have are put into its headers here, and kept out of what comes back.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use hyper::body::Bytes;
use hyper::header::LOCATION;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::headers::{Headers, names_secret};
use super::web::Shown;
use super::{Host, HostError, web};
use crate::domain::{HttpMethod, Reflected};
use crate::egress::{EgressError, WebAddress, WebAnswer, WebRequest};

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

/// What is asked for, from one redirect to the next.
struct Request {
    method: HttpMethod,
    address: WebAddress,
    headers: Headers,
    body: Bytes,
}

impl Host {
    pub(super) async fn http_fetch(&self, fetch: Fetch, deadline: Instant) -> Result<Box<RawValue>, HostError> {
        let secrets = self.asker.secrets.load_full();
        // Also those that this request does not carry: the host may have kept them.
        let hidden = Reflected::of(secrets.fetchable());
        let mut request = self.read_fetch(fetch)?;
        let followed = async {
            for _ in 0..=MAX_REDIRECTS {
                let mut headers = request.headers.fill(self, &secrets, &request.address)?;
                web::introduce(&mut headers);
                let (method, body) = (request.method, request.body.clone());
                let answer = self.send(WebRequest { method, address: request.address.clone(), headers, body }).await?;
                let Some(to) = redirect_of(&answer) else { return Ok(answer) };
                let next = request.address.join(&to).map_err(|error| self.not_sent(error))?;
                self.follow(&mut request, next, answer.status)?;
            }
            let problem = format!("more than {MAX_REDIRECTS} redirects");
            Err(self.not_sent(EgressError::Redirect { to: request.address.rule(), problem }))
        };
        let answer = self.within("http.fetch", deadline, followed).await?;
        let shown = Shown::of(answer, &hidden)?;
        self.fitting(super::json(&Value::Object(shown.fields())))
    }

    fn read_fetch(&self, fetch: Fetch) -> Result<Request, HostError> {
        let method = fetch.method.as_deref().unwrap_or("GET").parse();
        let method = method.map_err(|error: crate::domain::MethodError| {
            self.refuse("method", error.to_string(), "use one of these, in capitals".to_owned())
        })?;
        if names_secret(&fetch.url) {
            let text = "the address names a secret; secrets are put into headers only".to_owned();
            return Err(self.refuse("secret", text, "send the secret in a header".to_owned()));
        }
        let address = WebAddress::parse(&fetch.url).map_err(|error| self.not_sent(error))?;
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
        self.check_body(body.len())?;
        Ok(Request { method, address, headers: Headers::read(self, &fetch.headers)?, body })
    }

    /// Turns a request into the one that a redirect asks for.
    fn follow(&self, request: &mut Request, next: WebAddress, status: u16) -> Result<(), HostError> {
        if request.address.is_tls() && !next.is_tls() {
            let problem = "it leaves https".to_owned();
            return Err(self.not_sent(EgressError::Redirect { to: next.rule(), problem }));
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
}

/// Where an answer leads on to.
fn redirect_of(answer: &WebAnswer) -> Option<String> {
    let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
    let location = answer.headers.get(LOCATION).filter(|_| is_redirect)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests;
