//! What became of an update, as a row keeps it: one text of JSON.

use semver::Version;
use serde::{Deserialize, Serialize};

use plugbay_domain::{LastUpdate, Timestamp, Update, UpdateFailure, UpdateState};

#[derive(Serialize, Deserialize)]
struct Stored {
    version: Version,
    previous: Version,
    at: Timestamp,
    state: UpdateState,
    watched_until: Timestamp,
    reason: Option<String>,
    text: Option<String>,
    ended_at: Option<Timestamp>,
    data_of: Option<Timestamp>,
    floor_before: Option<Version>,
}

/// Why a text is none of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum LastUpdateError {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("an update that was rolled back has no reason, text or time")]
    Incomplete,
}

pub(super) fn read(text: &str) -> Result<LastUpdate, LastUpdateError> {
    let Stored { version, previous, at, state, watched_until, reason, text, ended_at, data_of, floor_before } =
        serde_json::from_str(text)?;
    let update = match (state, reason, text, ended_at) {
        (UpdateState::Watched, ..) => Update::Watched { floor_before },
        (UpdateState::Kept, ..) => Update::Kept,
        (UpdateState::RolledBack, Some(reason), Some(text), Some(at)) => {
            Update::RolledBack { why: UpdateFailure { reason, text }, at, data_of }
        }
        (UpdateState::RolledBack, ..) => return Err(LastUpdateError::Incomplete),
    };
    Ok(LastUpdate { version, previous, at, watched_until, update })
}

pub(super) fn write(last: &LastUpdate) -> Result<String, serde_json::Error> {
    let LastUpdate { version, previous, at, watched_until, update } = last.clone();
    let mut stored = Stored {
        version,
        previous,
        at,
        state: UpdateState::Kept,
        watched_until,
        reason: None,
        text: None,
        ended_at: None,
        data_of: None,
        floor_before: None,
    };
    match update {
        Update::Watched { floor_before } => {
            stored = Stored { state: UpdateState::Watched, floor_before, ..stored };
        }
        Update::Kept => {}
        Update::RolledBack { why: UpdateFailure { reason, text }, at, data_of } => {
            let (state, reason, text, ended_at) = (UpdateState::RolledBack, Some(reason), Some(text), Some(at));
            stored = Stored { state, reason, text, ended_at, data_of, ..stored };
        }
    }
    serde_json::to_string(&stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn every_kind() -> Vec<LastUpdate> {
        let why = UpdateFailure { reason: "died".to_owned(), text: "it ended with code 1".to_owned() };
        let updates = [
            Update::Watched { floor_before: Some(Version::new(1, 0, 0)) },
            Update::Watched { floor_before: None },
            Update::Kept,
            Update::RolledBack { why: why.clone(), at: time(3), data_of: Some(time(1)) },
            Update::RolledBack { why, at: time(3), data_of: None },
        ];
        let of = |update| LastUpdate {
            version: Version::new(1, 1, 0),
            previous: Version::new(1, 0, 0),
            at: time(1),
            watched_until: time(2),
            update,
        };
        updates.map(of).into()
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for update in every_kind() {
            assert_eq!(read(&write(&update).unwrap()).unwrap(), update);
        }
    }

    #[test]
    fn rows_of_before_are_read() {
        let kept = r#"{"version":"1.1.0","previous":"1.0.0","at":"1970-01-01T00:00:00.001Z","state":"kept",
            "watched_until":"1970-01-01T00:00:00.002Z","reason":null,"text":null,"ended_at":null,"data_of":null,
            "floor_before":"1.0.0"}"#;
        assert_eq!(read(kept).unwrap(), every_kind()[2]);
        let undone = kept.replace("\"kept\"", "\"rolled_back\"");
        assert!(matches!(read(&undone), Err(LastUpdateError::Incomplete)));
        let undone = undone
            .replace("\"reason\":null", "\"reason\":\"died\"")
            .replace("\"text\":null", "\"text\":\"it ended with code 1\"")
            .replace("\"ended_at\":null", "\"ended_at\":\"1970-01-01T00:00:00.003Z\"");
        assert_eq!(read(&undone).unwrap(), every_kind()[4]);
    }
}
