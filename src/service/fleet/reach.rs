//! What one version of a plugin may do to others, read again for each thing that it asks for.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::{Grants, PluginConfig, PluginId, PluginName, Secrets};
use crate::egress::Exit;

/// What a version of a plugin may do to others, now. While another version takes over, each has its own.
#[derive(Debug)]
pub(in crate::service) struct Reach {
    /// A host function reads it for each request, so that a revoked grant ends at once.
    pub(in crate::service) grants: Arc<ArcSwap<Grants>>,
    /// Its secrets. `http.fetch` reads those it sends from here.
    pub(in crate::service) secrets: Arc<ArcSwap<Secrets>>,
    /// What leaves it.
    pub(in crate::service) exit: Arc<Exit>,
}

impl Reach {
    pub(super) fn new(id: PluginId, name: PluginName, max_tunnels: usize) -> Self {
        let grants = Arc::<ArcSwap<Grants>>::default();
        let exit = Arc::new(Exit::new(id, name, Arc::clone(&grants), max_tunnels));
        Self { grants, secrets: Arc::default(), exit }
    }

    /// The same for another version of the plugin.
    pub(in crate::service) fn beside(&self, granted: Grants) -> Self {
        let grants = Arc::new(ArcSwap::from_pointee(granted));
        let exit = Arc::new(self.exit.beside(Arc::clone(&grants)));
        Self { grants, secrets: Arc::default(), exit }
    }

    /// From now on it may do this.
    pub(in crate::service) fn grant(&self, grants: Grants) {
        self.grants.store(Arc::new(grants));
        self.exit.grants_changed();
    }

    pub(super) fn hold(&self, config: &PluginConfig) {
        self.secrets.store(Arc::new(config.secrets().clone()));
    }

    /// Keeps no secret of a plugin that does not run.
    pub(super) fn drop_secrets(&self) {
        self.secrets.store(Arc::default());
    }
}
