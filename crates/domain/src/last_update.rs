//! What became of the last update of a plugin.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use crate::words;

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

/// What became of the last update of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastUpdate {
    /// The version that was to serve.
    pub version: Version,
    /// The version that served before.
    pub previous: Version,
    /// When it took over, or failed to.
    pub at: Timestamp,
    /// How it stands.
    pub state: UpdateState,
    /// Until when it is watched.
    pub watched_until: Timestamp,
    /// A stable word for why it was rolled back.
    pub reason: Option<String>,
    /// What happened.
    pub text: Option<String>,
    /// When it was rolled back.
    pub ended_at: Option<Timestamp>,
    /// When what the plugin keeps was as it is again since then, if it was put back.
    pub data_of: Option<Timestamp>,
    /// The highest version that had served before, as an update that goes back by itself sets no floor.
    pub floor_before: Option<Version>,
}

impl LastUpdate {
    /// How it stands at this time: the watch ends by itself.
    pub fn state_at(&self, now: Timestamp) -> UpdateState {
        match self.state {
            UpdateState::Watched if now >= self.watched_until => UpdateState::Kept,
            state => state,
        }
    }

    /// Seconds of work that were lost when the plugin's data were put back.
    pub fn data_age_seconds(&self) -> Option<f64> {
        let (ended, data) = (self.ended_at?, self.data_of?);
        Some(ended.since(data).as_secs_f64())
    }

    /// What the floor of the name is when the version that serves then has taken over again. Nothing vouches for this record,
    /// so it lowers the floor to that version and not below.
    pub fn floor_after<'a>(&'a self, serving: &'a Version) -> Option<&'a Version> {
        self.floor_before.as_ref().map(|floor| floor.max(serving))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_changed_lowers_no_floor_below_what_serves() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let floor_after = |before: Option<&str>| {
            let at = Timestamp::from_millis(1).unwrap();
            let update = LastUpdate {
                version: version("3.0.0"),
                previous: version("2.0.0"),
                at,
                state: UpdateState::Watched,
                watched_until: at,
                reason: None,
                text: None,
                ended_at: None,
                data_of: None,
                floor_before: before.map(version),
            };
            update.floor_after(&version("2.0.0")).map(ToString::to_string)
        };
        assert_eq!(floor_after(Some("2.5.0")).as_deref(), Some("2.5.0"));
        assert_eq!(floor_after(Some("2.0.0")).as_deref(), Some("2.0.0"));
        assert_eq!(floor_after(Some("0.0.1")).as_deref(), Some("2.0.0"));
        assert_eq!(floor_after(None), None);
    }
}
