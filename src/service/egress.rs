//! The way out of plugins' sandboxes.

use std::sync::Arc;

use super::Service;
use super::fleet::Member;
use crate::session::WayOut;

impl Service {
    /// What serves the way out of a plugin's sandboxes.
    pub(super) fn way_out(&self, member: &Member) -> WayOut {
        let (egress, exit) = (Arc::clone(&self.egress), Arc::clone(&member.exit));
        WayOut(Arc::new(move |listener, uid| egress.listen(&exit, listener, uid)))
    }
}
