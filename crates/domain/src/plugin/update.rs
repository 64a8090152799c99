//! What became of the last update of a plugin.

use semver::Version;

use crate::{Timestamp, words};

words! {
    /// How an update stands.
    UpdateState {
        /// The new version serves, and goes back by itself if it fails.
        Watched = "watched",
        /// The new version serves.
        Kept = "kept",
        /// The version before serves again, or has never stopped.
        RolledBack = "rolled_back",
    }
}

/// How an update stands, with what belongs to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The new version serves, and goes back by itself if it fails.
    Watched {
        /// The highest version that had served before: an update that goes back by itself sets no floor.
        floor_before: Option<Version>,
    },
    /// The new version serves.
    Kept,
    /// The version before serves again, or has never stopped.
    RolledBack {
        /// Why.
        why: UpdateFailure,
        /// When.
        at: Timestamp,
        /// When what the plugin keeps was as it is again since then, if it was put back.
        data_of: Option<Timestamp>,
    },
}

impl Update {
    /// What the floor of the name is when the version that serves then has taken over again. Nothing vouches for this record,
    /// so it lowers the floor to that version and not below.
    pub fn floor_after<'a>(&'a self, serving: &'a Version) -> Option<&'a Version> {
        match self {
            Self::Watched { floor_before } => floor_before.as_ref().map(|floor| floor.max(serving)),
            Self::Kept | Self::RolledBack { .. } => None,
        }
    }
}

/// Why a version does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateFailure {
    /// A stable word for it.
    pub reason: String,
    /// What happened.
    pub text: String,
}

/// What became of the last update of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUpdate {
    /// The version that was to serve.
    pub version: Version,
    /// The version that served before.
    pub previous: Version,
    /// When it took over, or failed to.
    pub at: Timestamp,
    /// Until when it is watched.
    pub watched_until: Timestamp,
    /// How it stands.
    pub update: Update,
}

impl LastUpdate {
    /// How it stands at this time: the watch ends by itself.
    pub fn state_at(&self, now: Timestamp) -> UpdateState {
        match self.update {
            Update::Watched { .. } if now < self.watched_until => UpdateState::Watched,
            Update::Watched { .. } | Update::Kept => UpdateState::Kept,
            Update::RolledBack { .. } => UpdateState::RolledBack,
        }
    }

    /// Why it was rolled back, when, and as of when the plugin's data were put back.
    pub fn failure(&self) -> Option<(&UpdateFailure, Timestamp, Option<Timestamp>)> {
        match &self.update {
            Update::RolledBack { why, at, data_of } => Some((why, *at, *data_of)),
            Update::Watched { .. } | Update::Kept => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_changed_lowers_no_floor_below_what_serves() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let floor_after = |before: Option<&str>| {
            let update = Update::Watched { floor_before: before.map(version) };
            update.floor_after(&version("2.0.0")).map(ToString::to_string)
        };
        assert_eq!(floor_after(Some("2.5.0")).as_deref(), Some("2.5.0"));
        assert_eq!(floor_after(Some("2.0.0")).as_deref(), Some("2.0.0"));
        assert_eq!(floor_after(Some("0.0.1")).as_deref(), Some("2.0.0"));
        assert_eq!(floor_after(None), None);
    }
}
