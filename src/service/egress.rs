//! The way out of plugins' sandboxes.

use std::sync::Arc;

use super::Service;
use super::fleet::Reach;
use crate::session::WayOut;

impl Service {
    /// What serves the way out of a sandbox whose plugin may do this.
    pub(super) fn way_out(&self, reach: &Reach) -> WayOut {
        let (egress, exit) = (Arc::clone(&self.egress), Arc::clone(&reach.exit));
        WayOut(Arc::new(move |listener, uid| egress.listen(&exit, listener, uid)))
    }
}
