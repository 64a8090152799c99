//! Permissions and decisions about them, as they are shown.

use plugbay_domain::{Manifest, PendingFor, Permission, PermissionRequest, Standing};
use plugbay_operations::{AcceptedRisk, ApprovalOutcome, GrantRecord, PendingVersion, PermissionsOf};
use plugbay_wire as wire;

use super::scans::rating_change;
use super::{diff, signature, texts, updated};

fn item(request: &PermissionRequest) -> wire::PermissionItem {
    let permission = request.permission.to_string();
    if request.scope.is_empty() {
        wire::PermissionItem::Whole(permission)
    } else {
        wire::PermissionItem::Scoped { permission, scope: request.scope.clone() }
    }
}

pub(crate) fn permissions(manifest: &Manifest, standing: &Standing) -> wire::PermissionsView {
    let requested = manifest.requested();
    let list = |requests: &[PermissionRequest]| requests.iter().map(item).collect::<Vec<_>>();
    wire::PermissionsView {
        required: list(&requested.required),
        optional: list(&requested.optional),
        granted: list(&standing.granted()),
        denied: list(&standing.denied()),
        pending: list(&standing.pending()),
    }
}

pub(crate) fn pending(pending: &PendingVersion) -> wire::PendingView {
    wire::PendingView {
        version: pending.version.to_string(),
        status: match pending.waits_for {
            PendingFor::Approval => "pending_approval".to_owned(),
            PendingFor::Config => "pending_config".to_owned(),
        },
        digest: pending.digest.to_string(),
        signature: signature(&pending.signed),
        permission_diff: diff(&pending.growth),
        signer_changed: pending.signer_changed,
        permissions: permissions(&pending.manifest, &pending.standing),
        network: texts(&pending.manifest.network),
        risks: texts(&pending.risks),
        config: pending.config.iter().map(wire::FieldProblem::from).collect(),
    }
}

fn request(manifest: &Manifest) -> wire::PermissionRequestView {
    let names = |permission: Permission| manifest.access.get(&permission).cloned().unwrap_or_default();
    let secrets = manifest.config_schema.iter().flat_map(|schema| schema.secrets().keys().cloned());
    wire::PermissionRequestView {
        network: texts(&manifest.network),
        database_read: names(Permission::DatabaseRead),
        database_write: names(Permission::DatabaseWrite),
        filesystem_read: names(Permission::FilesystemRead),
        filesystem_write: names(Permission::FilesystemWrite),
        api_access: names(Permission::ApiAccess),
        plugins: manifest.requires.keys().map(ToString::to_string).collect(),
        secrets: secrets.collect(),
    }
}

fn grant(record: &GrantRecord) -> wire::GrantView {
    wire::GrantView {
        permission: record.unit.permission.to_string(),
        scope: record.unit.part.iter().cloned().collect(),
        by: record.by.clone(),
        label: record.label.clone(),
        at: record.at.to_string(),
        digest: record.digest.to_string(),
        note: record.note.clone(),
        expires_at: record.expires_at.map(|time| time.to_string()),
        carried_from: record.carried_from.map(|digest| digest.to_string()),
    }
}

/// Tells whether two records differ in nothing but the resource, so that they are shown as one.
fn belong_together(one: &GrantRecord, other: &GrantRecord) -> bool {
    let unit = other.unit.clone();
    one.unit.part.is_some()
        && other.unit.part.is_some()
        && one.unit.permission == unit.permission
        && unit.permission != Permission::Plugins
        && GrantRecord { id: other.id, unit, ..one.clone() } == *other
}

/// Records with those beside each other as one that were made together; `show` makes one of each group.
fn grouped<T>(
    records: &[GrantRecord],
    show: impl Fn(&GrantRecord) -> T,
    scope: impl Fn(&mut T) -> &mut Vec<String>,
) -> Vec<T> {
    let groups = records.chunk_by(belong_together);
    groups
        .filter_map(|group| {
            let mut shown = show(group.first()?);
            let mut parts: Vec<String> = group.iter().filter_map(|record| record.unit.part.clone()).collect();
            parts.sort_unstable();
            *scope(&mut shown) = parts;
            Some(shown)
        })
        .collect()
}

pub(crate) fn grants(records: &[GrantRecord]) -> Vec<wire::GrantView> {
    grouped(records, grant, |shown| &mut shown.scope)
}

fn records(records: &[GrantRecord]) -> Vec<wire::DecisionRecord> {
    let show = |record: &GrantRecord| wire::DecisionRecord {
        decision: record.decision.to_string(),
        grant: grant(record),
        ended: record.end.as_ref().map(|end| end.reason.to_string()),
        ended_at: record.end.as_ref().map(|end| end.at.to_string()),
        ended_by: record.end.as_ref().map(|end| end.by.clone()),
        ended_note: record.end.as_ref().and_then(|end| end.note.clone()),
    };
    grouped(records, show, |shown| &mut shown.grant.scope)
}

fn accepted(accepted: &AcceptedRisk) -> wire::AcceptedRiskView {
    wire::AcceptedRiskView {
        risk: accepted.risk.to_string(),
        by: accepted.by.clone(),
        label: accepted.label.clone(),
        at: accepted.at.to_string(),
        digest: accepted.digest.to_string(),
        note: accepted.note.clone(),
    }
}

pub(crate) fn permissions_of(found: &PermissionsOf) -> wire::PermissionsShown {
    wire::PermissionsShown {
        plugin_id: found.plugin.id.to_string(),
        name: found.plugin.name.to_string(),
        version: found.plugin.serving.to_string(),
        signature: signature(&found.signed),
        digest: found.digest.to_string(),
        permissions: permissions(&found.manifest, &found.standing),
        risks: texts(&found.risks),
        risk_rating: rating_change(&found.rating),
        accepted_risks: found.accepted.iter().map(accepted).collect(),
        records: records(&found.records),
        request: request(&found.manifest),
        pending: found.pending.as_ref().map(pending),
    }
}

pub(crate) fn decided(outcome: &ApprovalOutcome) -> wire::PermissionsDecided {
    wire::PermissionsDecided {
        plugin_id: outcome.plugin.id.to_string(),
        permissions: permissions(&outcome.manifest, &outcome.standing),
        risk_rating: rating_change(&outcome.rating),
        records: records(&outcome.records),
        update: outcome.update.as_ref().map(updated),
    }
}
