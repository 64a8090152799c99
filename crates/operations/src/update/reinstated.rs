//! Decisions of before that hold again when their version serves again, and those that must not without a new decision.

use plugbay_domain::{Decision, Digest, PermissionUnit, Timestamp};
use plugbay_store::grants::{EndReason, GrantRecord};

/// The decisions about an archive that ended only because another version served, as they are when it serves again.
pub(crate) fn reinstated(history: &[GrantRecord], digest: Digest, now: Timestamp) -> Vec<GrantRecord> {
    let ended_for = |row: &GrantRecord| row.end.as_ref().map(|end| end.reason);
    // Whatever version it was about: what was taken back stays so.
    let is_taken_back = |row: &GrantRecord| {
        history.iter().filter(|later| later.id > row.id && later.unit.overlaps(&row.unit)).any(|later| {
            later.decision == Decision::Denied
                || matches!(ended_for(later), Some(EndReason::Revoked | EndReason::Expired))
        })
    };
    let mut back: Vec<GrantRecord> = Vec::new();
    for row in history.iter().rev() {
        let is_of_then = row.digest == digest && ended_for(row) == Some(EndReason::Superseded);
        let is_over = row.expires_at.is_some_and(|end| end <= now)
            || row.decision == Decision::Granted && is_taken_back(row)
            || back.iter().any(|known| known.unit.overlaps(&row.unit));
        if is_of_then && !is_over {
            back.push(GrantRecord { id: 0, end: None, ..row.clone() });
        }
    }
    back
}

/// What is left of decisions of before where the version that served last may do no more than that. What it had given up, or
/// was never granted, is not in force again.
pub(crate) fn within(
    back: Vec<GrantRecord>,
    history: &[GrantRecord],
    last: Digest,
    now: Timestamp,
) -> Vec<GrantRecord> {
    let held = granted_to(history, last, now);
    let mut left = Vec::new();
    for row in back {
        if row.decision == Decision::Denied {
            left.push(row);
            continue;
        }
        for had in held.iter().filter(|had| had.unit.overlaps(&row.unit)) {
            let unit = if had.unit.covers(&row.unit) { row.unit.clone() } else { had.unit.clone() };
            let expires_at = row.expires_at.into_iter().chain(had.expires_at).min();
            if !left.iter().any(|known: &GrantRecord| known.unit.covers(&unit)) {
                left.push(GrantRecord { unit, expires_at, ..row.clone() });
            }
        }
    }
    left
}

/// What would be granted again that the version that serves was not granted.
pub(crate) fn regained(
    back: &[GrantRecord],
    history: &[GrantRecord],
    last: Digest,
    now: Timestamp,
) -> Vec<PermissionUnit> {
    let held = granted_to(history, last, now);
    let is_new =
        |row: &&GrantRecord| row.decision == Decision::Granted && !held.iter().any(|had| had.unit.covers(&row.unit));
    back.iter().filter(is_new).map(|row| row.unit.clone()).collect()
}

fn granted_to(history: &[GrantRecord], digest: Digest, now: Timestamp) -> Vec<&GrantRecord> {
    let is_held = |row: &&GrantRecord| row.digest == digest && row.holds(now) && row.decision == Decision::Granted;
    history.iter().filter(is_held).collect()
}
