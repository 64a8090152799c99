//! Scans and ratings, as they are shown.

use plugbay_domain::{Rating, RatingPoint};
use plugbay_operations::{Hit, RatingChange, ScanRecord, ScanView, VersionScan};
use plugbay_wire as wire;

pub(crate) fn scan(view: &ScanView) -> wire::ScanShown {
    wire::ScanShown {
        plugin_id: view.plugin.id.to_string(),
        name: view.plugin.name.to_string(),
        serving: version(&view.serving),
        pending: view.pending.as_ref().map(version),
    }
}

fn version(scan: &VersionScan) -> wire::VersionScanView {
    let record = scan.record.as_ref();
    let said = record.map(|record| &record.scan);
    wire::VersionScanView {
        version: scan.version.to_string(),
        digest: scan.digest.to_string(),
        verdict: said.map(|said| said.verdict.to_string()),
        policy: scan.policy.map(|policy| policy.to_string()),
        scanned_at: record.and_then(ScanRecord::at).map(|at| at.to_string()),
        outdated: scan.is_outdated,
        rules: said.map(|said| said.rules.clone()),
        files: said.map_or(0, |said| said.files),
        complete: said.is_some_and(|said| said.is_complete),
        findings: said.iter().flat_map(|said| said.hits.iter().map(finding)).collect(),
        left_out: said.map_or(0, |said| said.left_out),
    }
}

fn finding(hit: &Hit) -> wire::ScanFinding {
    wire::ScanFinding {
        rule: hit.rule.clone(),
        severity: hit.verdict.to_string(),
        path: hit.path.clone(),
        line: hit.place.map(|place| place.line),
        column: hit.place.map(|place| place.column),
        what: hit.what.clone(),
        reason: hit.reason.clone(),
        settle: hit.how.clone(),
    }
}

pub(crate) fn rating(rating: &Rating) -> wire::RiskRating {
    let point = |point: &RatingPoint| wire::RiskPoint { why: point.reason.to_owned(), weight: point.change };
    wire::RiskRating { value: rating.score, points: rating.points.iter().map(point).collect() }
}

pub(crate) fn rating_change(change: &RatingChange) -> wire::RiskRatingChange {
    wire::RiskRatingChange { before: rating(&change.before), after: rating(&change.after) }
}
