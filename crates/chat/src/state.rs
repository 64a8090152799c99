//! What all exchanges share.

use std::sync::Arc;

use plugbay_operations::Service;
use tokio::sync::Semaphore;

use crate::meters::Meters;
use crate::models::Catalog;
use crate::record::Ring;
use crate::roster::Rosters;

/// Observers that are told at one time. Stops a slow one from keeping what everybody has said.
const MAX_OBSERVERS: usize = 256;

/// Answers that observers look at while they come, at one time.
const MAX_WATCHERS: usize = 1_024;

/// One per service.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) service: Arc<Service>,
    pub(crate) rosters: Rosters,
    pub(crate) catalog: Catalog,
    pub(crate) ring: Ring,
    pub(crate) meters: Meters,
    pub(crate) observers: Arc<Semaphore>,
    /// For those who look at answers while they come, which lasts: they would take the places of all others.
    pub(crate) watchers: Arc<Semaphore>,
}

/// Bytes of a message to a plugin beside what is said in it.
const ROOM: usize = 16 * 1024;

impl State {
    /// Bytes of what a plugin is shown at once.
    pub(crate) fn most_bytes(&self) -> usize {
        self.service.config().calls.message_bytes.saturating_sub(ROOM)
    }

    pub(crate) fn new(service: Arc<Service>) -> Self {
        let ring = Ring::new(service.config().chat.exchanges);
        let [observers, watchers] = [MAX_OBSERVERS, MAX_WATCHERS].map(|most| Arc::new(Semaphore::new(most)));
        Self {
            service,
            rosters: Rosters::default(),
            catalog: Catalog::default(),
            ring,
            meters: Meters::default(),
            observers,
            watchers,
        }
    }
}
