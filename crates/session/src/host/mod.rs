//! Functions of the service that a plugin may call. Each is a file; each checks what was granted before it does anything.
//!
//! A session hands requests in and sends the answers out; whatever is refused here is an answer too, and only a broken
//! protocol ends a session.

mod api;
#[cfg(test)]
pub(crate) mod bench;
mod chat;
mod db;
mod error;
mod headers;
mod http;
mod kv;
mod need;
mod placeholder;
mod plugins;
pub(crate) mod relay;
mod rush;
mod stand_in;
mod streams;
mod uplink;
mod web;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use error::HostError;
pub use rush::Rush;
pub use stand_in::{NotedRequest, StandIn};
pub use uplink::{Asking, MAX_DEPTH, PluginCall, Refused, Uplink, UplinkSender};
pub use web::Web;

use http::stream::OfStream;
pub(crate) use rush::Hurried;
use rush::Turns;
use streams::Streams;

#[cfg(test)]
use plugbay_config::Config;
use plugbay_databases::Databases;
use plugbay_domain::{CallId, Clock, DataId, Grants, HostFunction, Origin, PluginId, PluginName, Secrets, escape};
use plugbay_egress::Exit;
#[cfg(test)]
use plugbay_egress::MostOut;
use plugbay_runtime::denials::Denials;
use plugbay_runtime::metrics::{HostMeters, HostOutcome};
use plugbay_store::{PluginStore, Store};

/// Time of a request that serves no call.
pub const OWN_TIME: Duration = Duration::from_secs(30);

/// The same for one that waits for a stream, whose own limit of silence comes first.
pub(crate) const OWN_WAIT: Duration = Duration::from_hours(24);

/// What the functions work with. One per process.
#[derive(Clone, Debug)]
pub struct HostParts {
    /// Our database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The operator's databases.
    pub databases: Databases,
    /// Where refusals are noted.
    pub denials: Arc<Denials>,
    /// Bytes of keys and values that a plugin may keep.
    pub kv_bytes: u64,
    /// What asks the service for what only it can do.
    pub uplink: UplinkSender,
    /// What requests to the outside are made with.
    pub web: Web,
    /// How requests end.
    pub meters: Arc<HostMeters>,
    /// The starts and ends that requests of other plugins make room for.
    pub rush: Rush,
    /// What answers in a trial; nothing in a service.
    pub stand_in: Option<Arc<StandIn>>,
}

/// The plugin that asks, with what it has at the moment of each request.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Its id.
    pub id: PluginId,
    /// Its name.
    pub name: PluginName,
    /// What it may do.
    pub grants: Arc<ArcSwap<Grants>>,
    /// Its secrets.
    pub secrets: Arc<ArcSwap<Secrets>>,
    /// Its way out.
    pub exit: Arc<Exit>,
    /// Which copy of its small values it works on.
    pub data: DataId,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name of the function.
    pub function: &'a str,
    /// Its parameters, a JSON object.
    pub params: &'a str,
    /// The call it serves.
    pub call: Option<CallId>,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    /// Where that call comes from.
    pub origin: Origin,
    /// Cancelled when that call is over, where the request outlives its answer.
    pub over: Option<&'a CancellationToken>,
}

#[cfg(test)]
impl HostParts {
    /// With what no test of one function needs to say.
    pub(crate) fn for_testing(
        folder: &std::path::Path,
        store: Store,
        clock: Arc<dyn Clock>,
        denials: Arc<Denials>,
    ) -> Self {
        let databases = Databases::none(&Config::for_testing(folder).databases);
        let web = Web::for_testing(folder, &denials);
        let (uplink, meters) = (Uplink::nowhere(), Arc::default());
        let rush = Rush::default();
        Self { store, clock, databases, denials, kv_bytes: 1 << 20, web, uplink, meters, rush, stand_in: None }
    }
}

#[cfg(test)]
impl Asker {
    /// With nothing granted.
    pub(crate) fn for_testing(name: &str) -> Self {
        let (id, name): (_, PluginName) = (PluginId::generate(), name.parse().unwrap());
        let grants = Arc::<ArcSwap<Grants>>::default();
        let exit = Arc::new(Exit::new(id, name.clone(), Arc::clone(&grants), MostOut { tunnels: 4, relays: 4 }));
        Self { id, name, grants, secrets: Arc::default(), exit, data: DataId { plugin: id, generation: 0 } }
    }
}

/// The functions as one plugin meets them.
#[derive(Clone, Debug)]
pub struct Host {
    asker: Asker,
    parts: HostParts,
    /// Our database as this plugin gets it.
    store: PluginStore,
    /// Changes of small values that wait to be made.
    writes: Arc<kv::Writes>,
    /// Places for calls of other plugins.
    nested: Arc<Semaphore>,
    /// What it wrote into chats.
    written: Arc<chat::Written>,
    turns: Arc<Turns>,
    streams: Arc<Streams>,
}

impl Host {
    /// For the requests of this plugin.
    pub fn new(asker: Asker, parts: HostParts) -> Self {
        let nested = Arc::new(Semaphore::new(plugins::MOST_NESTED));
        let store = parts.store.of_plugin(asker.id);
        let turns = Arc::new(Turns::new(parts.rush.clone()));
        let streams = Arc::new(Streams::new(parts.web.egress.stream_places()));
        Self { asker, parts, store, writes: Arc::default(), nested, written: Arc::default(), turns, streams }
    }

    /// The same for one session, whose streams end with what this gives.
    pub(crate) fn of_session(&self) -> Self {
        let streams = Arc::new(Streams::new(self.parts.web.egress.stream_places()));
        Self { streams, ..self.clone() }
    }

    /// The place of a request that waits for a stream: one for each, beside those of all other requests.
    pub(crate) fn place_at_stream(&self, function: &str, params: &str) -> Option<OwnedSemaphorePermit> {
        if HostFunction::of(function) != HostFunction::HttpRead {
            return None;
        }
        let of: OfStream = serde_json::from_str(params).ok()?;
        self.streams.find(&of.stream)?.turn()
    }

    /// With a database of its own in this folder.
    #[cfg(test)]
    pub(crate) async fn for_testing(folder: &std::path::Path) -> Self {
        let store = Store::open(&folder.join("plugbay.db"), plugbay_store::Missing::Create).await.unwrap();
        let clock = Arc::new(plugbay_domain::SystemClock);
        let (denials, _reports) = Denials::new();
        Self::new(Asker::for_testing("asker"), HostParts::for_testing(folder, store, clock, denials))
    }

    /// The plugin starts or ends: requests of others make room until the guard is dropped.
    pub(crate) fn hurry(&self) -> Hurried {
        self.turns.hurry()
    }

    /// Serves the socket of what leaves the sandbox of this plugin, whose user has this uid, until the guard is dropped.
    pub(crate) fn let_out(&self, listener: UnixListener, uid: u32) -> DropGuard {
        self.parts.web.egress.listen(&self.asker.exit, listener, uid)
    }

    /// Counts a request by how it ended, wherever that was decided.
    pub fn count(&self, function: &str, refused: Option<&HostError>) {
        let outcome = refused.map_or(HostOutcome::Ok, HostError::outcome);
        self.parts.meters.of(HostFunction::of(function), outcome).add_one();
    }

    /// Answers a request, in its turn.
    pub async fn answer(&self, asked: Asked<'_>) -> Result<Box<RawValue>, HostError> {
        if let Some(turn) = self.turns.next(Instant::now()) {
            tokio::time::sleep_until(turn).await;
        }
        match &self.parts.stand_in {
            None => self.act(asked).await,
            Some(stand_in) => self.answer_in_trial(stand_in, asked).await,
        }
    }

    async fn act(&self, asked: Asked<'_>) -> Result<Box<RawValue>, HostError> {
        let Asked { function: name, params, origin, deadline, .. } = asked;
        let function = HostFunction::of(name);
        match function {
            HostFunction::KvGet => kv::get(self, self.admit(function, params)?).await,
            HostFunction::KvSet => kv::set(self, self.admit(function, params)?).await,
            HostFunction::KvDelete => kv::delete(self, self.admit(function, params)?).await,
            HostFunction::KvList => kv::list(self, self.admit(function, params)?).await,
            HostFunction::DbQuery => db::query(self, self.admit(function, params)?, deadline).await,
            HostFunction::DbExecute => db::execute(self, self.admit(function, params)?, deadline).await,
            HostFunction::HttpFetch => http::fetch(self, self.admit(function, params)?, deadline).await,
            HostFunction::HttpStream => {
                http::stream::open(self, self.admit(function, params)?, deadline, asked.over).await
            }
            HostFunction::HttpRead => http::stream::read(self, self.admit(function, params)?, deadline).await,
            HostFunction::HttpClose => Ok(http::stream::close(self, self.admit(function, params)?)),
            HostFunction::ApiRequest => api::request(self, self.admit(function, params)?, deadline).await,
            HostFunction::ChatSend => chat::send(self, self.admit(function, params)?, origin).await,
            HostFunction::ChatHistory => chat::history(self, self.admit(function, params)?, origin).await,
            HostFunction::PluginsExecute => {
                plugins::execute(self, self.admit(function, params)?, origin, deadline).await
            }
            HostFunction::PluginsList => plugins::list(self, self.admit(function, params)?).await,
            HostFunction::Unknown => Err(HostError::Unknown { function: escape(name) }),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(params: &'a str) -> Result<T, HostError> {
    serde_json::from_str(params).map_err(|error| HostError::Invalid { rule: escape(&error.to_string()) })
}

fn json(value: &serde_json::Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("JSON serialises")
}
