//! The time that members without a time of their own share. Pure.

use std::time::Duration;

use crate::member::Member;

/// What is left of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: Duration,
}

impl Budget {
    pub(crate) const fn new(left: Duration) -> Self {
        Self { left }
    }

    /// How long a member may take; nothing when all is used up.
    pub(crate) fn time_for(&self, member: &Member) -> Option<Duration> {
        member.timeout.or_else(|| Some(self.left).filter(|left| !left.is_zero()))
    }

    /// Takes off what members have used that ran at the same time: the longest of those that share.
    pub(crate) fn charge<'a>(&mut self, used: impl IntoIterator<Item = (&'a Member, Duration)>) {
        let shared = used.into_iter().filter(|(member, _)| member.timeout.is_none()).map(|(_, took)| took);
        self.left = self.left.saturating_sub(shared.max().unwrap_or_default());
    }
}
