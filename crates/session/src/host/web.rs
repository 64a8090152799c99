//! What `http.fetch` and `api.request` share: how requests leave, how answers are shown to a plugin, how refusals are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64;
use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, SET_COOKIE, TRANSFER_ENCODING, USER_AGENT};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::{Host, HostError};
use plugbay_config::{ApiConfig, Config};
use plugbay_domain::{Permission, Reflected, Secrets};
use plugbay_egress::{Egress, EgressError, WebAnswer, WebRequest};
use plugbay_runtime::denials::{Denial, Door};

/// Bytes of a message beside what a host answered.
const FRAME_BYTES: usize = 256;

/// What requests to the outside are made with.
#[derive(Clone, Debug)]
pub struct Web {
    pub(super) egress: Arc<Egress>,
    pub(super) apis: Arc<BTreeMap<String, ApiConfig>>,
    /// Bytes of one message to a plugin.
    message_bytes: usize,
}

impl Web {
    /// With the operator's APIs and limits.
    pub fn new(egress: Arc<Egress>, config: &Config) -> Self {
        Self { egress, apis: Arc::new(config.resources.apis.clone()), message_bytes: config.calls.message_bytes }
    }

    /// With the defaults, and names that lead nowhere.
    #[cfg(test)]
    pub(crate) fn for_testing(folder: &std::path::Path, denials: &Arc<plugbay_runtime::denials::Denials>) -> Self {
        let (config, resolver) = (Config::for_testing(folder), Arc::new(plugbay_egress::SystemResolver::default()));
        let shutdown = plugbay_runtime::shutdown::Shutdown::default();
        let egress = Egress::new(config.egress.clone(), resolver, Arc::clone(denials), shutdown).unwrap();
        Self::new(egress, &config)
    }
}

/// What says who asks, unless the plugin says so itself.
pub(super) fn introduce(headers: &mut HeaderMap) {
    let own = HeaderValue::from_static(concat!("plugbay/", env!("CARGO_PKG_VERSION")));
    headers.entry(USER_AGENT).or_insert(own);
}

impl Host {
    /// The outcome of a request, which nobody waits for longer than until the deadline.
    pub(super) async fn within<T>(
        &self,
        function: &str,
        deadline: Instant,
        request: impl Future<Output = Result<T, HostError>>,
    ) -> Result<T, HostError> {
        let over = timeout_at(deadline, request).await;
        over.unwrap_or_else(|_elapsed| Err(HostError::TooLate { function: function.to_owned() }))
    }

    /// What no text that comes of a request may repeat: secrets that requests carry and the operator's own tokens, also
    /// those that this request does not carry. The host may have kept them.
    pub(super) fn hidden(&self, secrets: &Secrets) -> Reflected {
        Reflected::of(secrets.hidden().chain(self.parts.web.apis.values().filter_map(|api| api.token.as_ref())))
    }

    /// Makes one request for the plugin.
    pub(super) async fn send(&self, request: WebRequest, hidden: &Reflected) -> Result<WebAnswer, HostError> {
        let outcome = Box::pin(self.parts.web.egress.fetch(&self.asker.exit, request)).await;
        outcome.map_err(|error| self.not_sent(&error, hidden))
    }

    /// Takes note of a request that did not leave, and tells the plugin. What it says may come from a host.
    pub(super) fn not_sent(&self, error: &EgressError, hidden: &Reflected) -> HostError {
        let Denial { rule, text, how, is_by_rule } = error.denial(self.asker.name.as_str());
        let how = match error {
            EgressError::NotGranted { wanted, .. } => self.way_to(&format!("{}:{wanted}", Permission::NetworkAccess)),
            _ => how,
        };
        let (text, how) = (hidden.mask_text(&text), hidden.mask_text(&how));
        let denial = Denial { rule, text: text.clone(), how: how.clone(), is_by_rule };
        self.parts.web.egress.note_denial(&self.asker.exit, denial);
        match error {
            EgressError::NotGranted { wanted, .. } => {
                let wanted = hidden.mask_text(&format!("{}:{wanted}", Permission::NetworkAccess));
                HostError::Denied { permission: Permission::NetworkAccess, wanted, how }
            }
            error => HostError::Outgoing { rule, text: hidden.mask_text(&error.for_plugin()), how },
        }
    }

    /// Refuses a request for what it says, and takes note of that.
    pub(super) fn refuse(&self, rule: &'static str, text: String, how: String) -> HostError {
        let denial = Denial { rule, text: text.clone(), how: how.clone(), is_by_rule: true };
        self.parts.denials.note(self.asker.id, &self.asker.name, Door::HostFunction, denial, Instant::now());
        HostError::Outgoing { rule, text, how }
    }

    /// Refuses a body that is longer than what may be sent.
    pub(super) fn check_body(&self, bytes: usize) -> Result<(), HostError> {
        let most = self.parts.web.egress.fetch_bytes();
        if bytes <= most {
            return Ok(());
        }
        let text = format!("the body has {bytes} bytes; at most {most} are sent");
        let how = "send less, or raise egress.fetch_kb in plugbay.yaml".to_owned();
        Err(HostError::Outgoing { rule: "request-too-large", text, how })
    }

    /// Bytes of an answer that fit a message in every form.
    pub(super) fn piece_bytes(&self) -> usize {
        // In base64; a text that takes more is written so, too.
        self.parts.web.message_bytes.saturating_sub(FRAME_BYTES) / 4 * 3
    }

    /// The answer as the plugin gets it, if it fits a message.
    pub(super) fn fitting(&self, answer: Box<RawValue>) -> Result<Box<RawValue>, HostError> {
        let most = self.parts.web.message_bytes.saturating_sub(FRAME_BYTES);
        if answer.get().len() <= most {
            return Ok(answer);
        }
        let text = format!("the answer has {} bytes as a message; at most {most} fit", answer.get().len());
        let how = "ask for less, or raise limits.message_bytes in plugbay.yaml".to_owned();
        Err(HostError::Outgoing { rule: "answer-too-large", text, how })
    }
}

/// An answer as a plugin may see it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Shown {
    /// An answer without the secrets it may repeat.
    pub(super) fn of(answer: WebAnswer, hidden: &Reflected) -> Result<Self, HostError> {
        let headers = shown_headers(&answer.headers, hidden)?;
        Ok(Self { status: answer.status, headers, body: hidden.mask(answer.body) })
    }

    /// With the body as text where that is the shorter way to write it, else in base64.
    pub(super) fn fields(self) -> Map<String, Value> {
        let mut fields = head_fields(self.status, self.headers);
        let (name, body) = written_bytes(["body", "body_base64"], self.body);
        fields.insert(name.to_owned(), body.into());
        fields
    }
}

/// Headers without the secrets they may repeat, unless those could not be found in the body.
pub(super) fn shown_headers(headers: &HeaderMap, hidden: &Reflected) -> Result<BTreeMap<String, String>, HostError> {
    if is_encoded(headers) && !hidden.is_empty() {
        let text = "the answer is compressed, so secrets in it would not be found".to_owned();
        let how = "ask the host for an answer without Content-Encoding and without codings of its transfer".to_owned();
        return Err(HostError::Outgoing { rule: "answer-encoded", text, how });
    }
    let mut all = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let name_shown = hidden.mask_text(name.as_str());
        let shown = String::from_utf8_lossy(&hidden.mask(value.as_bytes().to_vec())).into_owned();
        // A cookie may hold a comma.
        let between = if name == SET_COOKIE { "\n" } else { ", " };
        let joined = all.entry(name_shown).or_default();
        joined.push_str(if joined.is_empty() { "" } else { between });
        joined.push_str(&shown);
    }
    Ok(all)
}

/// What a plugin gets of the head of an answer.
pub(super) fn head_fields(status: u16, headers: BTreeMap<String, String>) -> Map<String, Value> {
    Map::from_iter([("status".to_owned(), status.into()), ("headers".to_owned(), headers_of(headers))])
}

/// Bytes as text where that is the shorter way to write them, else in base64, each with its name.
pub(super) fn written_bytes([as_text, as_base64]: [&'static str; 2], bytes: Vec<u8>) -> (&'static str, String) {
    match String::from_utf8(bytes) {
        Ok(text) if written(&text) <= BASE64.encode_len(text.len()) => (as_text, text),
        Ok(text) => (as_base64, BASE64.encode(text.as_bytes())),
        Err(error) => (as_base64, BASE64.encode(error.as_bytes())),
    }
}

/// Tells whether the bytes of the body stand for others. Chunks were put together already.
fn is_encoded(headers: &HeaderMap) -> bool {
    let plain = |value: &HeaderValue| {
        let codings = value.to_str().unwrap_or("?").split(',').map(str::trim);
        codings.into_iter().all(|coding| ["identity", "chunked"].iter().any(|plain| coding.eq_ignore_ascii_case(plain)))
    };
    [CONTENT_ENCODING, TRANSFER_ENCODING].iter().any(|name| headers.get_all(name).iter().any(|value| !plain(value)))
}

fn headers_of(headers: BTreeMap<String, String>) -> Value {
    headers.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>().into()
}

/// Bytes of a text inside JSON.
fn written(text: &str) -> usize {
    let extra = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + extra.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_in_any_way_is_told_from_what_is_not() {
        for (name, value, expected) in [
            (CONTENT_ENCODING, "gzip", true),
            (CONTENT_ENCODING, "Identity", false),
            (TRANSFER_ENCODING, "chunked", false),
            (TRANSFER_ENCODING, "Chunked", false),
            (TRANSFER_ENCODING, "gzip, chunked", true),
            (TRANSFER_ENCODING, "\u{e9}", true),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!is_encoded(&headers));
            headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            assert_eq!(is_encoded(&headers), expected, "{name}: {value}");
        }
    }

    #[test]
    fn the_shorter_way_to_write_a_body_is_taken() {
        let shown = |body: &[u8]| Shown { status: 200, headers: BTreeMap::new(), body: body.to_vec() }.fields();
        assert_eq!(shown("é \n\"quoted\" text".as_bytes())["body"], "é \n\"quoted\" text");
        assert_eq!(shown(b"")["body"], "");
        assert_eq!(shown(b"\xff\x00")["body_base64"], "/wA=");
        assert_eq!(shown(&[0; 30])["body_base64"], "A".repeat(40));
        for text in ["a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é", ""] {
            assert_eq!(written(text) + 2, Value::from(text).to_string().len());
        }
    }
}
