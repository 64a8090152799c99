//! Requests that the service makes in the place of a plugin and hands on the answer of: the plugin only said what to ask. They
//! go where the plugin may go, with its secrets, as `http.fetch` does; what comes back is the service's to mask.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::HeaderMap;

use super::headers::Headers;
use super::placeholder::names_secret;
use super::{Host, HostError, web};
use plugbay_domain::Reflected;
use plugbay_egress::{EgressError, WebAddress, WebBody, WebRequest};

/// What a plugin wants to be asked for it.
#[derive(Clone, Debug)]
pub struct RelayRequest {
    /// Where.
    pub url: String,
    /// How.
    pub method: String,
    /// Headers, with secrets by their names.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
    /// The longest silence.
    pub idle: Duration,
}

/// An answer that has begun.
#[derive(Debug)]
pub struct RelayAnswer {
    /// Its status.
    pub status: u16,
    /// Its headers, as they came.
    pub headers: HeaderMap,
    /// Its body, as it comes.
    pub body: RelayBody,
    /// What of it nobody may be shown.
    pub hidden: Reflected,
}

/// Why there is no answer, or no more of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct RelayError {
    /// Which rule spoke, or what failed.
    pub rule: &'static str,
    /// What happened, without secrets.
    pub text: String,
    /// What helps.
    pub how: String,
}

/// A body that is read piece by piece. Dropped, it closes its connection.
#[derive(Debug)]
pub struct RelayBody {
    body: WebBody,
    host: Host,
    hidden: Reflected,
}

impl From<HostError> for RelayError {
    fn from(error: HostError) -> Self {
        let text = error.to_string();
        match error {
            HostError::Outgoing { rule, how, .. } => Self { rule, text, how },
            HostError::Denied { how, .. } => Self { rule: "not-granted", text, how },
            _ => Self { rule: "request", text, how: "look at what the backend asks for".to_owned() },
        }
    }
}

impl RelayBody {
    /// The next piece; nothing after the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, RelayError>> {
        let piece = self.body.next().await?;
        Some(piece.map_err(|error| self.host.not_sent(&error, &self.hidden).into()))
    }
}

/// Makes the request, and waits for the head of its answer.
pub(crate) async fn relay(host: &Host, request: RelayRequest) -> Result<RelayAnswer, RelayError> {
    let RelayRequest { url, method, headers, body, idle } = request;
    let secrets = host.asker.secrets.load_full();
    let hidden = host.hidden(&secrets);
    let method = method.parse();
    let method = method.map_err(|error: plugbay_domain::MethodError| {
        host.refuse("method", error.to_string(), "use one of these, in capitals".to_owned())
    })?;
    if names_secret(&url) {
        let text = "the address names a secret; secrets are put into headers only".to_owned();
        return Err(host.refuse("secret", text, "send the secret in a header".to_owned()).into());
    }
    let not_sent = |error: EgressError| RelayError::from(host.not_sent(&error, &hidden));
    let address = WebAddress::parse(&url).map_err(not_sent)?;
    let mut headers = Headers::read(host, &headers)?.fill(host, &secrets, &address)?;
    web::introduce(&mut headers);
    let sent = WebRequest { method, address, headers, body };
    let (egress, exit) = (&host.parts.web.egress, &host.asker.exit);
    let limits = egress.relaying(exit, idle).map_err(not_sent)?;
    let head = Box::pin(plugbay_egress::stream(egress, exit, sent, limits)).await.map_err(not_sent)?;
    let body = RelayBody { body: head.body, host: host.clone(), hidden: hidden.clone() };
    Ok(RelayAnswer { status: head.status, headers: head.headers, body, hidden })
}
