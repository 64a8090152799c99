//! A version of a plugin, and what is decided about it.

use plugbay_domain::{Decision, Digest, Manifest, PermissionUnit, Risk, Standing, Timestamp};
use plugbay_store::grants::{AcceptedRisk, GrantRecord};
use plugbay_store::plugins::VersionRecord;

/// A version that is decided about.
#[derive(Debug)]
pub struct Target<'a> {
    /// The version.
    pub version: &'a VersionRecord,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// The version whose decisions are taken over when this one starts to serve.
    pub carries: Option<Digest>,
}

impl Target<'_> {
    /// Every decision that holds for the version, and those that it would take over.
    pub fn held(&self, rows: &[GrantRecord], now: Timestamp) -> Vec<(PermissionUnit, Decision)> {
        let own = |row: &&GrantRecord| row.digest == self.version.digest && row.holds(now);
        let mut held: Vec<_> = rows.iter().filter(own).map(|row| (row.unit.clone(), row.decision)).collect();
        held.extend(self.carried(rows, now).into_iter().map(|row| (row.unit, row.decision)));
        held
    }

    /// The decisions that the version takes over, cut down to what it asks for. What was decided about itself goes first.
    pub fn carried(&self, rows: &[GrantRecord], now: Timestamp) -> Vec<GrantRecord> {
        let Some(from) = self.carries else { return Vec::new() };
        let asked = self.manifest.asked();
        let own: Vec<&GrantRecord> =
            rows.iter().filter(|row| row.digest == self.version.digest && row.holds(now)).collect();
        let mut carried = Vec::new();
        for row in rows.iter().filter(|row| row.digest == from && row.holds(now)) {
            let parts: Vec<PermissionUnit> = if asked.iter().any(|asked| asked.unit.covers(&row.unit)) {
                vec![row.unit.clone()]
            } else {
                let below = asked.iter().map(|asked| &asked.unit).filter(|unit| row.unit.covers(unit));
                below.cloned().collect()
            };
            for unit in parts.into_iter().filter(|unit| !own.iter().any(|own| own.unit.overlaps(unit))) {
                let (digest, carried_from) = (self.version.digest, Some(from));
                carried.push(GrantRecord { id: 0, unit, digest, carried_from, end: None, ..row.clone() });
            }
        }
        carried
    }

    /// What is asked for, and what was decided about it.
    pub fn standing(&self, rows: &[GrantRecord], now: Timestamp) -> Standing {
        let held = self.held(rows, now);
        Standing::of(self.manifest, held.iter().map(|(unit, decision)| (unit, *decision)))
    }

    /// Tells whether the risk was accepted for the version, or for the one whose decisions it takes over.
    pub fn has_accepted(&self, accepted: &[AcceptedRisk], risk: Risk) -> bool {
        let counts = |found: &AcceptedRisk| {
            found.digest == self.version.digest || (risk.lies_in_grants() && self.carries == Some(found.digest))
        };
        accepted.iter().any(|found| found.risk == risk && counts(found))
    }
}
