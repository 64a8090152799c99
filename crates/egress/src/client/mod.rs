//! Requests that the service makes in the place of a plugin. They are decided, dialled and counted like the connections of
//! the plugin itself; what comes back is read to its end, within limits, and never decoded.
//!
//! One connection carries one request. Redirects are not followed here.

mod address;
mod metered;
mod streamed;
mod trust;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming as IncomingBody};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{IpAddr as PkiAddress, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use address::WebAddress;
use metered::Metered;
pub use streamed::{Streaming, WebBody, stream};
pub(super) use trust::Trust;
pub use trust::TrustError;

use super::decision::Spoken;
use super::exit::{Place, StreamPlaces};
use super::relay::Upstream;
use super::{Egress, EgressError, Exit, TargetHost};
use plugbay_domain::HttpMethod;

/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most headers of an answer.
const MAX_HEADERS: usize = 100;

/// Bytes of a connection beside the body: TLS, the head, the framing of chunks.
const OVERHEAD_BYTES: u64 = 1 << 20;

/// One request.
#[derive(Clone, Debug)]
pub struct WebRequest {
    /// Its method.
    pub method: HttpMethod,
    /// Where it goes.
    pub address: WebAddress,
    /// Its headers without `Host` and length.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// One answer: complete, or with a [`WebBody`] that is still to come.
#[derive(Debug)]
pub struct WebAnswer<B = Vec<u8>> {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as it came, or as it comes.
    pub body: B,
}

impl Egress {
    /// Makes a request for a plugin, as far as it may go there itself.
    pub async fn fetch(&self, exit: &Exit, request: WebRequest) -> Result<WebAnswer, EgressError> {
        let held = self.place(exit)?;
        let address = request.address.clone();
        let spoken = spoken_for(exit, &address)?;
        let exchange = async {
            let upstream = self.open(exit, &held, address.target().clone()).await?;
            self.send(upstream, Some(exit), request).await
        };
        tokio::select! {
            biased;
            () = exit.lost(address.target(), spoken) => {
                Err(EgressError::Ended { target: address.target().to_string(), limit: "the grant was taken back" })
            }
            answer = exchange => answer,
        }
    }

    /// Tells whether the plugin may have a request made to this address. The name is looked at, and not looked up.
    pub fn may_fetch(exit: &Exit, address: &WebAddress) -> Result<(), EgressError> {
        spoken_for(exit, address).map(drop)
    }

    /// Makes a request to a place that the operator wrote down, wherever that is. It takes a place of the plugin's.
    pub async fn call_operator(&self, exit: &Exit, request: WebRequest) -> Result<WebAnswer, EgressError> {
        let held = self.place(exit)?;
        let target = request.address.target().clone();
        let addresses = self.resolve(exit, &held, &target).await?;
        let stream = self.dial(&target, addresses).await?;
        self.send(Upstream { stream, target, spoken: Spoken::default() }, None, request).await
    }

    /// Limits of an answer that the service hands on.
    pub fn relaying(&self, exit: &Exit, idle: Duration) -> Result<Streaming, EgressError> {
        let place = exit.relay_place().ok_or(EgressError::TooManyRelays { most: self.config.max_relays })?;
        Ok(Streaming { place, idle, most_bytes: u64::MAX, may_repeat: true })
    }

    /// Limits of an answer that the plugin reads piece by piece.
    pub fn streaming(&self, places: &StreamPlaces) -> Result<Streaming, EgressError> {
        let (place, most_bytes) = (places.take()?, self.config.tunnel_bytes);
        Ok(Streaming { place, idle: self.config.idle, most_bytes, may_repeat: false })
    }

    /// Places for the answers of one session.
    pub fn stream_places(&self) -> StreamPlaces {
        StreamPlaces::new(self.config.max_streams)
    }

    /// Bytes of a body, in both directions.
    pub const fn fetch_bytes(&self) -> usize {
        self.config.fetch_bytes
    }

    fn place(&self, exit: &Exit) -> Result<Place, EgressError> {
        exit.place().ok_or(EgressError::TooMany { most: self.config.max_tunnels })
    }

    async fn send(
        &self,
        upstream: Upstream,
        exit: Option<&Exit>,
        request: WebRequest,
    ) -> Result<WebAnswer, EgressError> {
        let most = self.config.tunnel_bytes.min(2 * self.config.fetch_bytes as u64 + OVERHEAD_BYTES);
        let stream = Metered::new(upstream.stream, exit, most);
        let target = upstream.target.to_string();
        let ended = |limit| EgressError::Ended { target: target.clone(), limit };
        let exchange = async {
            if request.address.is_tls() {
                let stream = self.tls(&request.address, stream).await?;
                self.exchange(stream, request).await
            } else {
                self.exchange(stream, request).await
            }
        };
        let over = timeout(self.config.tunnel_time, exchange).await;
        over.unwrap_or_else(|_elapsed| Err(ended("egress.tunnel_seconds are over")))
    }

    /// The same connection with TLS, if the host proves who it is.
    async fn tls<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        address: &WebAddress,
        stream: S,
    ) -> Result<TlsStream<S>, EgressError> {
        let target = address.target().to_string();
        let name = match address.target().host() {
            TargetHost::Name(name) => ServerName::try_from(name.clone()),
            TargetHost::Address(address) => Ok(ServerName::IpAddress(PkiAddress::from(*address))),
        };
        let unbelieved = |source| EgressError::Certificate { target: target.clone(), source };
        let name = name.map_err(|error| unbelieved(io::Error::other(error)))?;
        let limit = self.config.connect_timeout;
        let connector = TlsConnector::from(self.trust.config());
        match timeout(limit, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(unbelieved(source)),
            Err(_elapsed) => Err(EgressError::ConnectTimeout { target: target.clone(), limit }),
        }
    }

    /// One request and its answer over a connection.
    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        request: WebRequest,
    ) -> Result<WebAnswer, EgressError> {
        let (method, target) = (request.method, request.address.target().to_string());
        let strange = |problem: String| EgressError::Answer { target: target.clone(), problem };
        let broken = |error: hyper::Error| strange(format!("could not be read: {}", plugbay_domain::Chain(&error)));
        let sent = as_sent(request)?;
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
        let (mut sender, connection) =
            builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
        let idle = self.config.idle;
        let silent =
            |_elapsed| EgressError::Ended { target: target.clone(), limit: "nothing passed for egress.idle_seconds" };
        let answer = async {
            let response = timeout(idle, sender.send_request(sent)).await.map_err(silent)?.map_err(broken)?;
            let most = self.config.fetch_bytes;
            let too_long = || EgressError::AnswerTooLong { target: target.clone(), most };
            if method.as_str() != "HEAD" && length_of(&response).is_some_and(|length| length > most as u64) {
                return Err(too_long());
            }
            let (parts, mut incoming) = response.into_parts();
            let mut body = Vec::with_capacity(usize::try_from(incoming.size_hint().lower()).unwrap_or(0).min(most));
            while let Some(frame) = timeout(idle, incoming.frame()).await.map_err(silent)? {
                // Trailers are dropped.
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                if body.len() + data.len() > most {
                    return Err(too_long());
                }
                body.extend_from_slice(&data);
            }
            Ok(WebAnswer { status: status_of(parts.status, &target)?, headers: parts.headers, body })
        };
        // The connection moves the bytes; what went wrong on it is told by the answer.
        let moving = async {
            connection.await.ok();
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            never = moving => match never {},
        }
    }
}

/// A request as it goes over a connection.
fn as_sent(request: WebRequest) -> Result<Request<Full<Bytes>>, EgressError> {
    let WebRequest { method, address, mut headers, body } = request;
    let host = HeaderValue::from_str(&address.host()).expect("a host is ASCII");
    headers.insert(HOST, host);
    let mut sent = Request::new(Full::<Bytes>::new(body));
    *sent.method_mut() = method.as_str().parse().expect("every method is one of HTTP's");
    *sent.uri_mut() = address.path().parse().map_err(|_not_one| EgressError::BadAddress {
        found: plugbay_domain::escape(address.path().split('?').next().unwrap_or_default()),
        problem: "has a path that HTTP cannot carry; percent-encode what is special in it",
    })?;
    *sent.headers_mut() = headers;
    Ok(sent)
}

/// What the plugin may speak with the host of the address, if that is what the address asks for.
fn spoken_for(exit: &Exit, address: &WebAddress) -> Result<Spoken, EgressError> {
    let spoken = exit.decide(address.target()).map_err(|error| match error {
        EgressError::NotGranted { but, .. } => EgressError::NotGranted { wanted: address.rule(), but },
        other => other,
    })?;
    // Raw bytes to a host are another grant than what the service says there in its own words.
    if if address.is_tls() { spoken.tls } else { spoken.http } {
        return Ok(spoken);
    }
    Err(EgressError::NotGranted { wanted: address.rule(), but: String::new() })
}

/// The status of an answer. One of those that only say that an answer will follow is none.
fn status_of(status: StatusCode, target: &str) -> Result<u16, EgressError> {
    let problem = || format!("has the status {}, which ends nothing", status.as_u16());
    let strange = || EgressError::Answer { target: target.to_owned(), problem: problem() };
    if status.is_informational() { Err(strange()) } else { Ok(status.as_u16()) }
}

fn length_of(response: &Response<IncomingBody>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
