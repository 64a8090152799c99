//! `api.request`: a request to an API of the operator's, with the operator's credentials, and nothing but what the operator
//! allows.

use hyper::body::Bytes;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::need::{Granted, Params};
use super::web::Shown;
use super::{Host, HostError, web};
use plugbay_domain::{ApiPath, HttpMethod, MethodError, PathError, escape};
use plugbay_egress::{WebAddress, WebRequest};
use plugbay_protocol::hygiene::check;
use plugbay_protocol::{MAX_DEPTH, Payload};

/// Levels of the message that the body of an answer is in.
const LEVELS_ABOVE: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request<'a> {
    name: String,
    method: String,
    path: String,
    /// Any JSON.
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl<'a> Params<'a> for Request<'a> {
    fn resource(&self) -> Option<&str> {
        Some(&self.name)
    }
}

pub(super) async fn request(
    host: &Host,
    request: Granted<Request<'_>>,
    deadline: Instant,
) -> Result<Box<RawValue>, HostError> {
    let Request { name, method, path, body, .. } = request.params();
    let unknown = || {
        let how = format!("the operator names it under resources.apis.{} in plugbay.yaml", escape(&name));
        host.refuse("api-unknown", format!("there is no API `{}`", escape(&name)), how)
    };
    let apis = &host.parts.web.apis;
    let api = apis.get(&name).ok_or_else(unknown)?;
    let method: HttpMethod = method.parse().map_err(|error: MethodError| {
        host.refuse("method", error.to_string(), "use one of these, in capitals".to_owned())
    })?;
    let path: ApiPath = path.parse().map_err(|error: PathError| {
        host.refuse("path", error.to_string(), "write the plain path, such as `/v1/messages/7`".to_owned())
    })?;
    if !api.allow.iter().any(|operation| operation.covers(method, &path)) {
        let wanted = format!("{} {}", method.as_str(), escape(path.path()));
        let query = if path.with_query() == path.path() { "" } else { " with a query" };
        let text = format!("`{wanted}`{query} is not allowed for the API `{name}`");
        let how = format!("the operator lists such as `GET /v1/messages/*?*` under resources.apis.{name}.allow");
        return Err(host.refuse("api-not-allowed", text, how));
    }
    let hidden = host.hidden(&host.asker.secrets.load());
    let base = WebAddress::parse(&api.base_url).map_err(|error| host.not_sent(&error, &hidden))?;
    let body = body.map(|body| Bytes::from(body.get().to_owned()));
    host.check_body(body.as_ref().map_or(0, Bytes::len))?;
    let headers = headers_for(host, &name, api.token.as_ref(), body.is_some())?;
    let address = base.below(&path.with_query());
    let request = WebRequest { method, address, headers, body: body.unwrap_or_default() };
    let sending = async {
        let answered = Box::pin(host.parts.web.egress.call_operator(&host.asker.exit, request)).await;
        answered.map_err(|error| host.not_sent(&error, &hidden))
    };
    let answer = host.within("api.request", deadline, sending).await?;
    let is_json = is_json(&answer.headers);
    let shown = Shown::of(answer, &hidden)?;
    let value = if is_json { json_of(&shown.body) } else { None };
    let mut fields = shown.fields();
    let Some(value) = value else { return host.fitting(super::json(&Value::Object(fields))) };
    fields.retain(|name, _| !name.starts_with("body"));
    let mut answer = Value::Object(fields).to_string();
    answer.pop();
    let answer = format!(r#"{answer},"body":{}}}"#, value.as_str());
    host.fitting(RawValue::from_string(answer).expect("it was checked to be JSON"))
}

fn headers_for(host: &Host, name: &str, token: Option<&SecretString>, has_body: bool) -> Result<HeaderMap, HostError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_not_one| {
            let text = format!("the token of the API `{name}` cannot be sent in a header");
            let how = format!("set one line of ASCII as resources.apis.{name}.token in plugbay.yaml");
            host.refuse("api-token", text, how)
        })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    if has_body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    web::introduce(&mut headers);
    Ok(headers)
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// A body as JSON, if every reader reads it in the same way.
fn json_of(body: &[u8]) -> Option<Payload> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    check(raw.get(), MAX_DEPTH - LEVELS_ABOVE).ok()?;
    Payload::new(raw).ok()
}

#[cfg(test)]
mod tests;
