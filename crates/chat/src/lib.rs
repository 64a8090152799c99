//! The chat: what people, plugins and models say to each other.
//!
//! Conversations hold messages that plugins hear of (`conversation`). An exchange is one request to a model and its answer:
//! it passes middleware, hooks, processors and extensions on its way to a backend, and again on its way back (`exchange`).
//! There is one way, whatever form a request comes in: forms are codecs at the edge.
//!
//! A token for some plugins sees what everybody outside writes, and of what plugins write and answer only those of its
//! own. Hooks of the others run all the same: whoever may post must not choose which of them look at it.

mod after;
mod ask;
mod backend;
mod before;
mod budget;
mod conversation;
mod count;
mod course;
mod error;
mod exchange;
mod flow;
mod head;
mod history;
mod hooks;
mod member;
mod message;
mod meters;
mod models;
mod neighbours;
mod observers;
mod record;
mod roster;
mod said;
mod state;
mod trouble;

use std::sync::Arc;

use plugbay_domain::{ExchangeId, PluginName};
use plugbay_operations::{Service, ServiceError};
use plugbay_registry::Caller;
use plugbay_runtime::metrics::Page;

pub use conversation::{HookAnswer, HookFailure, MAX_FILE_BYTES, NewPost, Part, Posted, Written};
pub use count::Counted;
pub use error::ChatError;
pub use exchange::{Exchange, NewExchange};
pub use head::{Head, Unanswered};
pub use member::Stage;
pub use models::ModelView;
pub use record::{Ending, Outcome, Record, Step};

use state::State;

/// What the routes of the chat do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chat {
    service: Arc<Service>,
    state: Arc<State>,
}

impl Chat {
    /// With the plugins of a service.
    pub fn new(service: Arc<Service>) -> Self {
        let state = Arc::new(State::new(Arc::clone(&service)));
        neighbours::listen(&state);
        Self { service, state }
    }

    /// Begins an exchange.
    pub async fn exchange(&self, new: NewExchange) -> Result<Exchange, ServiceError> {
        exchange::begin(&self.state, new).await
    }

    /// Counts what a request says, once all plugins have had their say about it.
    pub async fn count(&self, new: NewExchange) -> Result<Result<Counted, Box<Unanswered>>, ServiceError> {
        count::run(&self.state, new).await
    }

    /// Every model that the caller may ask for.
    pub async fn models(&self, caller: &Caller) -> Result<Vec<ModelView>, ServiceError> {
        let roster = self.state.rosters.now(&self.service).await?;
        Ok(self.state.catalog.list(&self.service, &roster, caller).await)
    }

    /// The backend that has a model, if the caller may ask for it.
    pub async fn model(&self, caller: &Caller, wanted: &str) -> Result<Option<PluginName>, ServiceError> {
        let roster = self.state.rosters.now(&self.service).await?;
        let found = self.state.catalog.resolve(&self.service, &roster, (caller, wanted)).await;
        Ok(found.ok().and_then(|candidates| Some(candidates.into_iter().next()?.backend.name)))
    }

    /// Writes what was done, that of plugins as far as they may be seen.
    pub fn write_metrics(&self, page: &mut Page, may_see: impl Fn(&PluginName) -> bool) {
        self.state.meters.write(page, may_see);
    }

    /// An exchange that is remembered.
    pub fn record(&self, id: ExchangeId) -> Option<Arc<Record>> {
        self.state.ring.find(id)
    }

    /// The last exchanges, newest first.
    pub fn records(&self, wanted: impl Fn(&Record) -> bool, limit: usize) -> Vec<Arc<Record>> {
        self.state.ring.list(wanted, limit)
    }
}
