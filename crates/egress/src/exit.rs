//! The way out of one plugin: what it may, how much it used, and how many connections it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::decision::decide;
use super::{EgressError, Spoken, Target};
use crate::kept::Kept;
use plugbay_config::EgressConfig;
use plugbay_domain::{Grants, PluginId, PluginName};

/// One plugin as egress knows it; it outlives its sessions.
#[derive(Debug)]
pub struct Exit {
    pub(super) plugin: PluginId,
    pub(super) name: PluginName,
    grants: Arc<ArcSwap<Grants>>,
    changes: watch::Sender<()>,
    /// Places for connections.
    pub(super) places: Arc<Semaphore>,
    /// Places for answers that the service hands on as they come.
    relays: Arc<Semaphore>,
    /// Connections that wait for a further request of the service's. They are of these grants.
    pub(super) kept: Kept,
    meter: Arc<Meter>,
}

/// What a plugin may have at one time.
#[derive(Clone, Copy, Debug)]
pub struct MostOut {
    /// Connections of its own.
    pub tunnels: usize,
    /// Answers that the service hands on for it.
    pub relays: usize,
}

impl MostOut {
    /// Nothing at all.
    pub const NONE: Self = Self { tunnels: 0, relays: 0 };

    /// As the operator has set it.
    pub const fn of(config: &EgressConfig) -> Self {
        Self { tunnels: config.max_tunnels, relays: config.max_relays }
    }
}

/// One of a plugin's places for connections. Also held by the lookup of the connection's name, which may last longer.
#[derive(Clone, Debug)]
pub struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Places for the answers that one session reads piece by piece.
#[derive(Debug)]
pub struct StreamPlaces {
    free: Arc<Semaphore>,
    most: usize,
}

impl StreamPlaces {
    /// So many.
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    /// One more, if there is one.
    pub fn take(&self) -> Result<Place, EgressError> {
        place_of(&self.free).ok_or(EgressError::TooManyStreams { most: self.most })
    }
}

fn place_of(free: &Arc<Semaphore>) -> Option<Place> {
    Arc::clone(free).try_acquire_owned().ok().map(|permit| Place { _permit: Arc::new(permit) })
}

/// What a plugin used, whichever of its versions.
#[derive(Debug, Default)]
struct Meter {
    opened: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Exit {
    /// The way out of a plugin. `grants` is read again for every connection.
    pub fn new(plugin: PluginId, name: PluginName, grants: Arc<ArcSwap<Grants>>, most: MostOut) -> Self {
        Self {
            plugin,
            name,
            grants,
            changes: watch::Sender::new(()),
            places: Arc::new(Semaphore::new(most.tunnels)),
            relays: Arc::new(Semaphore::new(most.relays)),
            kept: Kept::default(),
            meter: Arc::default(),
        }
    }

    /// The way out of another version of the plugin: with grants of its own, and what both use counted together.
    #[must_use]
    pub fn beside(&self, grants: Arc<ArcSwap<Grants>>) -> Self {
        Self {
            plugin: self.plugin,
            name: self.name.clone(),
            grants,
            changes: watch::Sender::new(()),
            places: Arc::clone(&self.places),
            relays: Arc::clone(&self.relays),
            kept: Kept::default(),
            meter: Arc::clone(&self.meter),
        }
    }

    /// To be called after the grants were changed: connections that are not granted any more end.
    pub fn grants_changed(&self) {
        self.kept.clear();
        self.changes.send_replace(());
    }

    /// Connections to hosts that were opened for the plugin.
    pub fn opened(&self) -> u64 {
        self.meter.opened.load(Ordering::Relaxed)
    }

    /// Connections and requests that a rule refused.
    pub fn refused(&self) -> u64 {
        self.meter.refused.load(Ordering::Relaxed)
    }

    /// Connections and requests that the host or the network failed.
    pub fn failed(&self) -> u64 {
        self.meter.failed.load(Ordering::Relaxed)
    }

    /// Bytes the plugin has received from outside.
    pub fn received_bytes(&self) -> u64 {
        self.meter.received.load(Ordering::Relaxed)
    }

    /// Bytes the plugin has sent to the outside.
    pub fn sent_bytes(&self) -> u64 {
        self.meter.sent.load(Ordering::Relaxed)
    }

    /// One more place for a connection, if there is one.
    pub(super) fn place(&self) -> Option<Place> {
        place_of(&self.places)
    }

    /// One more place for an answer that is handed on, if there is one.
    pub(super) fn relay_place(&self) -> Option<Place> {
        place_of(&self.relays)
    }

    pub(super) fn count_opened(&self) {
        self.meter.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_not_served(&self, is_by_rule: bool) {
        (if is_by_rule { &self.meter.refused } else { &self.meter.failed }).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.meter.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.meter.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn decide(&self, target: &Target) -> Result<Spoken, EgressError> {
        decide(self.grants.load().network(), target)
    }

    /// The ports of a name that may be known.
    pub(super) fn ports_of(&self, name: &str) -> std::collections::BTreeSet<u16> {
        super::decision::ports_of(self.grants.load().network(), name)
    }

    /// Completes when the target is not granted any more as it was.
    pub(super) async fn lost(&self, target: &Target, spoken: Spoken) {
        let mut changes = self.changes.subscribe();
        loop {
            if !self.decide(target).is_ok_and(|granted| granted.covers(spoken)) {
                return;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
