//! Reading request bodies: with a deadline, a minimum rate and a limit, from the first byte on.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use plugbay_config::Config;
use plugbay_domain::{Code, escape};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep};

use super::problem::Problem;

/// Longest JSON body.
pub(super) const MAX_JSON_BYTES: u64 = 1024 * 1024;

/// A body that arrives slower than the operator's minimum rate is given up after this long.
const GRACE: Duration = Duration::from_secs(5);

/// Largest body that is read although nobody wants it.
const MAX_DISCARDED_BYTES: u64 = 64 * 1024;

/// Limits for one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    max_bytes: u64,
    min_bytes_per_second: u64,
    idle: Duration,
    /// The limit for archives that the operator has set, where the body is one.
    archive_bytes: Option<u64>,
}

/// Bytes of a mebibyte, as `limits.upload_mb` counts.
pub(super) const MEBIBYTE: u64 = 1024 * 1024;

impl BodyLimits {
    /// For uploads of at most this size.
    pub(super) fn new(config: &Config, max_bytes: u64) -> Self {
        Self {
            max_bytes,
            min_bytes_per_second: config.server.min_body_rate,
            idle: config.server.body_timeout,
            archive_bytes: None,
        }
    }

    /// For an archive with what surrounds it.
    pub(super) fn of_archive(config: &Config, overhead_bytes: u64) -> Self {
        let bytes = config.limits.upload_bytes;
        Self { archive_bytes: Some(bytes), ..Self::new(config, bytes.saturating_add(overhead_bytes)) }
    }

    /// Refuses a body that is announced as too large, before it is read.
    fn check_announced(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match announced(headers) {
            Some(bytes) if bytes > self.max_bytes => Err(self.too_large()),
            _ => Ok(()),
        }
    }

    fn too_large(&self) -> Problem {
        let Some(bytes) = self.archive_bytes else {
            return Problem::new(Code::BodyTooLarge, format!("the body has more than {} bytes", self.max_bytes));
        };
        let detail = format!("the archive has more than {} MiB (`limits.upload_mb`)", bytes / MEBIBYTE);
        Problem::new(Code::BodyTooLarge, detail)
            .with_how("make the package smaller, or ask the operator to raise `limits.upload_mb` in plugbay.yaml")
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
}

/// Reads a small body that nobody wants, so that the connection can be used again. With a larger one it ends.
pub(super) async fn discard(request: &HttpRequest, payload: Payload, config: &Config) {
    if announced(request.headers()).is_none_or(|bytes| bytes > MAX_DISCARDED_BYTES) {
        return;
    }
    let Ok(mut stream) = Paced::new(request, payload, BodyLimits::new(config, MAX_DISCARDED_BYTES)) else { return };
    while let Some(Ok(_piece)) = stream.next().await {}
}

/// A body that is cut off when it is too large or too slow.
pub(super) struct Paced {
    payload: Payload,
    limits: BodyLimits,
    started: Instant,
    taken: u64,
    deadline: Pin<Box<Sleep>>,
}

impl Paced {
    /// Starts the clock.
    pub(super) fn new(request: &HttpRequest, payload: Payload, limits: BodyLimits) -> Result<Self, Problem> {
        refuse_encoding(request.headers())?;
        limits.check_announced(request.headers())?;
        let started = Instant::now();
        let deadline = Box::pin(tokio::time::sleep_until(started + GRACE.min(limits.idle)));
        Ok(Self { payload, limits, started, taken: 0, deadline })
    }

    /// The time by which the next byte has to be there: the minimum rate holds over the whole body.
    fn next_deadline(&self) -> Instant {
        let earned = Duration::from_secs(self.taken / self.limits.min_bytes_per_second.max(1));
        (self.started + GRACE + earned).min(Instant::now() + self.limits.idle)
    }
}

impl Stream for Paced {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.payload.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.taken += chunk.len() as u64;
                if self.taken > self.limits.max_bytes {
                    return Poll::Ready(Some(Err(PayloadError::Overflow)));
                }
                let deadline = self.next_deadline();
                self.deadline.as_mut().reset(deadline);
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Pending => match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into())))),
                Poll::Pending => Poll::Pending,
            },
            ended @ Poll::Ready(_) => ended,
        }
    }
}

/// What went wrong while a body was read.
pub(super) fn broken(error: &PayloadError, limits: &BodyLimits) -> Problem {
    match error {
        PayloadError::Overflow => limits.too_large(),
        PayloadError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Problem::new(
            Code::BodyTooSlow,
            format!("the body arrives at less than {} bytes per second", limits.min_bytes_per_second),
        ),
        _ => Problem::new(Code::BadRequest, format!("the body ended early or is framed wrongly: {error}")),
    }
}

fn refuse_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Problem::new(Code::UnsupportedMediaType, "bodies with Content-Encoding are not accepted"))
        }
        _ => Ok(()),
    }
}

/// The media type of a request, in lower case and without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Tells whether a request announces that its body has no bytes.
pub(super) fn is_empty(headers: &HeaderMap) -> bool {
    let is_nothing = headers.get(CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0");
    is_nothing && !headers.contains_key(TRANSFER_ENCODING)
}

/// Reads a JSON body.
pub(super) async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    config: &Config,
) -> Result<T, Problem> {
    json_up_to(request, payload, config, MAX_JSON_BYTES).await
}

/// Reads a JSON object of which every member may be left out, and so may the body. An empty body is no body, whatever its
/// media type: many programs name one for bodies that they do not send.
pub(super) async fn optional_json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    config: &Config,
    max_bytes: u64,
) -> Result<T, Problem> {
    if is_empty(request.headers()) {
        return parse(b"{}");
    }
    json_up_to(request, payload, config, max_bytes).await
}

/// Reads a JSON body of at most this size.
pub(super) async fn json_up_to<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    config: &Config,
    max_bytes: u64,
) -> Result<T, Problem> {
    if is_empty(request.headers()) {
        return Err(Problem::new(Code::BadRequest, "this route needs a JSON body"));
    }
    let found = media_type(request.headers());
    if found != "application/json" {
        let detail = format!("expected Content-Type application/json, found `{}`", escape(&found));
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let limits = BodyLimits::new(config, max_bytes);
    let mut stream = Paced::new(request, payload, limits)?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| broken(&error, &limits))?);
    }
    parse(&bytes)
}

/// Reads JSON.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let code = if text.starts_with("unknown field") { Code::UnknownField } else { Code::BadRequest };
        Problem::new(code, escape(&text))
    })
}
