//! What one version of a plugin may do to others, read again for each thing that it asks for.

use std::sync::Arc;

use arc_swap::ArcSwap;
use plugbay_domain::{Grants, PluginConfig, PluginId, PluginName, Secrets};
use plugbay_egress::{Exit, MostOut};

/// What a version of a plugin may do to others, now. While another version takes over, each has its own.
#[derive(Debug)]
pub struct Reach {
    /// A host function reads it for each request, so that a revoked grant ends at once.
    pub grants: Arc<ArcSwap<Grants>>,
    /// Its secrets. `http.fetch` reads those it sends from here.
    pub secrets: Arc<ArcSwap<Secrets>>,
    /// What leaves it.
    pub exit: Arc<Exit>,
}

impl Reach {
    pub(crate) fn new(id: PluginId, name: PluginName, most: MostOut) -> Self {
        let grants = Arc::<ArcSwap<Grants>>::default();
        let exit = Arc::new(Exit::new(id, name, Arc::clone(&grants), most));
        Self { grants, secrets: Arc::default(), exit }
    }

    /// The same for another version of the plugin.
    #[must_use]
    pub fn beside(&self, granted: Grants) -> Self {
        let grants = Arc::new(ArcSwap::from_pointee(granted));
        let exit = Arc::new(self.exit.beside(Arc::clone(&grants)));
        Self { grants, secrets: Arc::default(), exit }
    }

    /// From now on it may do this.
    pub fn grant(&self, grants: Grants) {
        self.grants.store(Arc::new(grants));
        self.exit.grants_changed();
    }

    pub(crate) fn hold(&self, config: &PluginConfig) {
        self.secrets.store(Arc::new(config.secrets().clone()));
    }

    /// Keeps no secret of a plugin that does not run.
    pub(crate) fn drop_secrets(&self) {
        self.secrets.store(Arc::default());
    }
}
