//! Requests of the plugin: handed to the host functions, several at a time, each within the time of the call it serves.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::calls::{Calls, Served};
use super::outbound::Outbound;
use crate::host::{Asked, Host, HostError, OWN_TIME, OWN_WAIT};
use plugbay_domain::{CallId, HostFunction, Origin, escape};
use plugbay_protocol::Outgoing;
use plugbay_runtime::shutdown::Shutdown;

/// Requests that are worked on at one time; the next ones are read when there is room.
const MOST_OPEN: usize = 64;

pub(super) struct Requests {
    host: Host,
    calls: Arc<Calls>,
    outbound: Arc<Outbound>,
    shutdown: Shutdown,
    room: Arc<Semaphore>,
}

/// What every request may say beside its own parameters: the call it serves.
#[derive(Deserialize)]
struct Serving {
    #[serde(default)]
    call: Option<CallId>,
}

/// The call that a request serves, what it has of it, and what tells that it is over.
type Serves = (Option<CallId>, Served, Option<CancellationToken>);

impl Requests {
    pub(super) fn new(host: Host, calls: Arc<Calls>, outbound: Arc<Outbound>, shutdown: Shutdown) -> Self {
        Self { host, calls, outbound, shutdown, room: Arc::new(Semaphore::new(MOST_OPEN)) }
    }

    /// Begins to answer a request, once there is room for it.
    pub(super) async fn begin(&self, id: i64, function: &str, params: Option<&RawValue>) {
        let params = params.map_or("{}", RawValue::get);
        let place = match self.host.place_at_stream(function, params) {
            Some(place) => place,
            // It is never closed.
            None => match Arc::clone(&self.room).acquire_owned().await {
                Ok(place) => place,
                Err(_closed) => return,
            },
        };
        let (host, outbound) = (self.host.clone(), Arc::clone(&self.outbound));
        let serving = self.serving(function, params);
        let (function, params) = (function.to_owned(), params.to_owned());
        self.shutdown.spawn("session.host", |stop| async move {
            let answer = async {
                let (call, Served { deadline, origin, given_up }, over) = serving?;
                let over = over.as_ref();
                let asked = Asked { function: &function, params: &params, call, deadline, origin, over };
                // What nobody waits for is not done to its end, and what it waits for learns of it by being dropped.
                let answered = given_up.run_until_cancelled(tokio::time::timeout_at(deadline, host.answer(asked)));
                let answered = answered.await.and_then(Result::ok);
                answered.unwrap_or_else(|| Err(HostError::TooLate { function: escape(&function) }))
            };
            // An answer that nobody can get any more is not worked on either.
            let answer = tokio::select! {
                biased;
                () = outbound.closed() => return,
                answer = stop.run_until_cancelled(answer) => answer,
            };
            let Some(answer) = answer else { return };
            host.count(&function, answer.as_ref().err());
            let frame = match answer {
                Ok(result) => Outgoing::result(id, &result),
                Err(error) => {
                    if let HostError::Store(error) = &error {
                        tracing::error!(error = %plugbay_domain::Chain(error), "A host function failed");
                    }
                    Outgoing::refusal(id, error.number(), &error.to_string(), error.data())
                }
            };
            outbound.send_patiently(frame, place).await;
        });
    }

    /// The call that a request serves, and what it has of it.
    fn serving(&self, function: &str, params: &str) -> Result<Serves, HostError> {
        let invalid = |error: serde_json::Error| HostError::Invalid { rule: escape(&error.to_string()) };
        match serde_json::from_str(params).map_err(invalid)? {
            Serving { call: None } => {
                let origin = Origin { conversation: None, depth: self.calls.deepest() };
                let time = if HostFunction::of(function) == HostFunction::HttpRead { OWN_WAIT } else { OWN_TIME };
                let (deadline, given_up) = (Instant::now() + time, CancellationToken::new());
                Ok((None, Served { deadline, origin, given_up }, None))
            }
            Serving { call: Some(call) } => {
                let opens = HostFunction::of(function) == HostFunction::HttpStream;
                // In this order: a call that is over between both has no stream.
                let over = if opens { self.calls.over(call) } else { None };
                self.calls
                    .serve(call)
                    .map(|served| (Some(call), served, over))
                    .ok_or_else(|| HostError::Invalid { rule: format!("{call} is over, nothing can be asked for it") })
            }
        }
    }
}
