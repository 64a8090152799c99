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
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::metered::Metered;
use super::{MAX_HEAD_BYTES, MAX_HEADERS, WebAddress, WebAnswer, WebRequest, as_sent, spoken_for, status_of};
use crate::decision::Spoken;
use crate::exit::Place;
use crate::kept::{KEPT_FOR, Moving, Wire};
use crate::{Egress, EgressError, Exit};

/// Under what limits an answer is read piece by piece.
#[derive(Debug)]
pub struct Streaming {
    /// Its place among others.
    pub place: Place,
    /// The longest silence.
    pub idle: Duration,
    /// Bytes of its body.
    pub most_bytes: u64,
    /// Whether a request may be sent again whose connection was closed without a word: a host closes one that was idle
    /// just when it is used again, and a model may be asked twice.
    pub may_repeat: bool,
}

/// A body that is read piece by piece.
pub struct WebBody {
    incoming: Incoming,
    wire: Option<Wire>,
    egress: Weak<Egress>,
    exit: Arc<Exit>,
    address: WebAddress,
    spoken: Spoken,
    limits: Streaming,
    passed: u64,
}

impl std::fmt::Debug for WebBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebBody").field("target", self.address.target()).finish_non_exhaustive()
    }
}

/// Makes a request for a plugin, as far as it may go there itself, and hands the answer on as it comes. Redirects are
/// answers.
pub async fn stream(
    egress: &Arc<Egress>,
    exit: &Arc<Exit>,
    request: WebRequest,
    limits: Streaming,
) -> Result<WebAnswer<WebBody>, EgressError> {
    let idle = limits.idle;
    let address = request.address.clone();
    let spoken = spoken_for(exit, &address)?;
    let opened = async {
        if let Some(wire) = exit.kept.take(address.target(), address.is_tls()) {
            let again = request.clone();
            match over(wire, again, idle).await {
                Ok(answered) => return Ok(answered),
                // The host has closed it meanwhile, and has not seen the request.
                Err(Unsent::Dead) => {}
                Err(Unsent::Closed(_)) if limits.may_repeat => {}
                Err(Unsent::Closed(error) | Unsent::Failed(error)) => return Err(error),
            }
        }
        let wire = connect(egress, exit, &limits.place, &address).await?;
        over(wire, request, idle).await.map_err(|unsent| match unsent {
            Unsent::Closed(error) | Unsent::Failed(error) => error,
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
    let status = status_of(parts.status, &address.target().to_string())?;
    let body = WebBody {
        incoming,
        wire: Some(wire),
        egress: Arc::downgrade(egress),
        exit: Arc::clone(exit),
        address,
        spoken,
        limits,
        passed: 0,
    };
    Ok(WebAnswer { status, headers: parts.headers, body })
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
            let failed = EgressError::Answer { target: target.clone(), problem };
            if error.error().is_incomplete_message() { Unsent::Closed(failed) } else { Unsent::Failed(failed) }
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
    /// It was closed before there was an answer.
    Closed(EgressError),
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
    /// Calls `then` when the plugin may not go there any more, or `over` has come.
    pub fn watch(&self, over: impl Future<Output = ()> + Send + 'static, then: impl FnOnce() + Send + 'static) {
        let Some(egress) = self.egress.upgrade() else { return };
        let (exit, target, spoken) = (Arc::clone(&self.exit), self.address.target().clone(), self.spoken);
        egress.shutdown.spawn("egress.stream", move |stop| async move {
            tokio::select! {
                () = over => {}
                () = exit.lost(&target, spoken) => {}
                () = stop.cancelled() => {}
            }
            then();
        });
    }

    /// The next piece, within the longest silence; nothing after the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, EgressError>> {
        let Self { incoming, wire, exit, address, spoken, limits, passed, .. } = self;
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
                frame = timeout(limits.idle, frame) => frame,
            };
            match frame {
                Err(_silent) => return Some(Err(silent(address))),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        *passed = passed.saturating_add(data.len() as u64);
                        return Some(if *passed > limits.most_bytes { Err(too_long(address)) } else { Ok(data) });
                    }
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

fn too_long(address: &WebAddress) -> EgressError {
    EgressError::Ended { target: address.target().to_string(), limit: "egress.tunnel_mb have passed" }
}

fn taken_back(address: &WebAddress) -> EgressError {
    EgressError::Ended { target: address.target().to_string(), limit: "the grant was taken back" }
}
