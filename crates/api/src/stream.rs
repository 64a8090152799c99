//! Server-sent events.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use futures_util::{Stream, stream};
use plugbay_runtime::shutdown::Shutdown;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How often a silent stream says that it is still there, which also shows whether anybody listens.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A comment, which clients pass over.
pub(super) const COMMENT: &str = ": still here\n\n";

/// How nginx and its like are told not to collect an answer before they pass it on.
const ACCEL_BUFFERING: &str = "x-accel-buffering";

/// One event.
pub(super) fn event(name: &str, data: &str) -> Bytes {
    // A line break would end the data; JSON can do without.
    let data = if data.contains(['\n', '\r']) { data.replace(['\n', '\r'], " ") } else { data.to_owned() };
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// An answer that is sent as it comes.
pub(super) fn response(events: impl Stream<Item = Bytes> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // Proxies that know this header pass on what comes at once; the others are told by their configuration.
        .insert_header((ACCEL_BUFFERING, "no"))
        .streaming(events.map(Ok::<_, std::convert::Infallible>))
}

/// What is known already, and then everything that is broadcast, until the service stops.
pub(super) fn follow<T: Clone + 'static>(
    name: &'static str,
    known: Vec<String>,
    receiver: broadcast::Receiver<T>,
    shutdown: Shutdown,
    text: impl Fn(&T) -> Option<String> + 'static,
) -> HttpResponse {
    let first = stream::iter(known).map(move |data| event(name, &data));
    let rest = stream::unfold((receiver, text, shutdown), move |(mut receiver, text, shutdown)| async move {
        loop {
            let received = tokio::select! {
                () = shutdown.stopped() => return None,
                received = tokio::time::timeout(KEEP_ALIVE, receiver.recv()) => received,
            };
            let bytes = match received {
                Err(_silent) => Bytes::from_static(COMMENT.as_bytes()),
                Ok(Ok(item)) => match text(&item) {
                    Some(data) => event(name, &data),
                    None => continue,
                },
                // Honest about what a slow listener has missed.
                Ok(Err(RecvError::Lagged(missed))) => event("missed", &format!("{{\"count\":{missed}}}")),
                Ok(Err(RecvError::Closed)) => return None,
            };
            return Some((bytes, (receiver, text, shutdown)));
        }
    });
    response(first.chain(rest))
}
