//! Answers that are handed on as they come. Nothing is read that was not asked for, so a slow reader slows the host down; what
//! is dropped closes its connection at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::metered::Metered;
use super::{MAX_HEAD_BYTES, MAX_HEADERS, WebAddress, WebRequest, as_sent, spoken_for};
use crate::decision::Spoken;
use crate::exit::Place;
use crate::kept::{KEPT_FOR, Moving, Wire};
use crate::{Egress, EgressError, Exit};

/// The head of an answer whose body is still to come.
#[derive(Debug)]
pub struct WebHead {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: WebBody,
}

/// A body that is read piece by piece.
pub struct WebBody {
    incoming: Incoming,
    wire: Option<Wire>,
    egress: Weak<Egress>,
    exit: Arc<Exit>,
    address: WebAddress,
    spoken: Spoken,
    idle: Duration,
    _place: Place,
}

impl std::fmt::Debug for WebBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebBody").field("target", self.address.target()).finish_non_exhaustive()
    }
}

/// Makes a request for a plugin, as far as it may go there itself, and hands the answer on as it comes. Redirects are
/// answers. `idle` is the longest silence.
pub async fn stream(
    egress: &Arc<Egress>,
    exit: &Arc<Exit>,
    request: WebRequest,
    idle: Duration,
) -> Result<WebHead, EgressError> {
    let place = exit.relay_place().ok_or(EgressError::TooManyRelays { most: egress.config.max_relays })?;
    let address = request.address.clone();
    let spoken = spoken_for(exit, &address)?;
    let opened = async {
        if let Some(wire) = exit.kept.take(address.target(), address.is_tls()) {
            let again = request.clone();
            match over(wire, again, idle).await {
                Ok(answered) => return Ok(answered),
                // The host has closed it meanwhile, and has not seen the request.
                Err(Unsent::Dead) => {}
                Err(Unsent::Failed(error)) => return Err(error),
            }
        }
        let wire = connect(egress, exit, &place, &address).await?;
        over(wire, request, idle).await.map_err(|unsent| match unsent {
            Unsent::Failed(error) => error,
            Unsent::Dead => EgressError::Answer {
                target: address.target().to_string(),
                problem: "closed the connection before it answered".to_owned(),
            },
        })
    };
    let (response, wire) = tokio::select! {
        biased;
        () = exit.lost(address.target(), spoken) => return Err(taken_back(&address)),
        opened = opened => opened?,
    };
    let (parts, incoming) = response.into_parts();
    let body = WebBody {
        incoming,
        wire: Some(wire),
        egress: Arc::downgrade(egress),
        exit: Arc::clone(exit),
        address,
        spoken,
        idle,
        _place: place,
    };
    Ok(WebHead { status: parts.status.as_u16(), headers: parts.headers, body })
}

async fn connect(egress: &Egress, exit: &Arc<Exit>, place: &Place, address: &WebAddress) -> Result<Wire, EgressError> {
    let upstream = egress.open(exit, place, address.target().clone()).await?;
    upstream.stream.set_nodelay(true).ok();
    let stream = Metered::new(upstream.stream, Some(Arc::clone(exit)), u64::MAX);
    if address.is_tls() { wire(egress.tls(address, stream).await?, address).await } else { wire(stream, address).await }
}

/// Sends a request over a connection, and waits for the head of its answer.
async fn over(
    mut wire: Wire,
    request: WebRequest,
    idle: Duration,
) -> Result<(hyper::Response<Incoming>, Wire), Unsent> {
    let address = request.address.clone();
    let target = address.target().to_string();
    let sent = as_sent(request).map_err(Unsent::Failed)?;
    let answered = async {
        let ready = poll_fn(|context| {
            wire.poll_moving(context);
            wire.sender.poll_ready(context)
        });
        if ready.await.is_err() {
            return Err(Unsent::Dead);
        }
        let answer = wire.sender.try_send_request(sent);
        tokio::pin!(answer);
        let answered = poll_fn(|context| {
            if let Poll::Ready(answered) = answer.as_mut().poll(context) {
                return Poll::Ready(answered);
            }
            wire.poll_moving(context);
            answer.as_mut().poll(context)
        });
        answered.await.map_err(|mut error| {
            // It comes back only if no byte of it has left.
            if error.take_message().is_some() {
                return Unsent::Dead;
            }
            let problem = format!("could not be read: {}", plugbay_domain::Chain(error.error()));
            Unsent::Failed(EgressError::Answer { target: target.clone(), problem })
        })
    };
    match timeout(idle, answered).await {
        Ok(answered) => Ok((answered?, wire)),
        Err(_silent) => Err(Unsent::Failed(silent(&address))),
    }
}

/// Keeps a connection for a further request.
fn keep(egress: &Arc<Egress>, exit: &Arc<Exit>, address: &WebAddress, wire: Wire) {
    if exit.kept.keep(address.target().clone(), address.is_tls(), wire) {
        let exit = Arc::downgrade(exit);
        egress.shutdown.spawn("egress.kept", move |stop| async move {
            let sweeping = async {
                loop {
                    tokio::time::sleep(KEPT_FOR).await;
                    if !exit.upgrade().is_some_and(|exit| exit.kept.sweep()) {
                        return;
                    }
                }
            };
            stop.run_until_cancelled(sweeping).await;
        });
    }
}

/// Why a request was not answered.
enum Unsent {
    /// The connection was closed before the request had left.
    Dead,
    /// Something else.
    Failed(EgressError),
}

async fn wire(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &WebAddress,
) -> Result<Wire, EgressError> {
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
    let shaken = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| EgressError::Answer {
        target: address.target().to_string(),
        problem: format!("could not be asked: {}", plugbay_domain::Chain(&error)),
    })?;
    let moving: Moving = Box::pin(async move {
        // What went wrong on it is told by the answer.
        connection.await.ok();
    });
    Ok(Wire { sender, moving, has_ended: false })
}

impl WebBody {
    /// The next piece, within the longest silence; nothing after the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, EgressError>> {
        let Self { incoming, wire, exit, address, spoken, idle, .. } = self;
        loop {
            let frame = poll_fn(|context| {
                if let Some(wire) = wire.as_mut() {
                    wire.poll_moving(context);
                }
                Pin::new(&mut *incoming).poll_frame(context)
            });
            let frame = tokio::select! {
                biased;
                () = exit.lost(address.target(), *spoken) => return Some(Err(taken_back(address))),
                frame = timeout(*idle, frame) => frame,
            };
            match frame {
                Err(_silent) => return Some(Err(silent(address))),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Some(Ok(data)),
                    // Trailers are dropped.
                    Err(_trailers) => {}
                },
                Ok(Some(Err(error))) => {
                    let problem = format!("could not be read: {}", plugbay_domain::Chain(&error));
                    return Some(Err(EgressError::Answer { target: address.target().to_string(), problem }));
                }
                Ok(None) => {
                    let wire = wire.take().filter(|wire| !wire.has_ended);
                    if let (Some(egress), Some(wire)) = (self.egress.upgrade(), wire) {
                        keep(&egress, &self.exit, &self.address, wire);
                    }
                    return None;
                }
            }
        }
    }
}

fn silent(address: &WebAddress) -> EgressError {
    EgressError::Ended { target: address.target().to_string(), limit: "nothing came for as long as it may be silent" }
}

fn taken_back(address: &WebAddress) -> EgressError {
    EgressError::Ended { target: address.target().to_string(), limit: "the grant was taken back" }
}
