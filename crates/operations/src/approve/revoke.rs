//! Taking grants back. What runs loses them with the answer.

use std::sync::Arc;

use plugbay_domain::{Code, Decision, FieldError, PermissionRequest, PermissionUnit, Plugin};
use plugbay_fleet::{PluginProblem, changes};
use plugbay_registry::{Caller, InstalledPlugin};
use plugbay_store as store;
use plugbay_store::grants::{EndReason, GrantRecord};
use serde_json::json;

use crate::approve::{ApprovalOutcome, Decider, note_error};
use crate::{RatingChange, Service, ServiceError, find, rating, risks};

/// Takes permissions back, from the version that serves and from the one that waits.
pub async fn revoke_permissions(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    permissions: &[PermissionRequest],
    note: Option<String>,
) -> Result<ApprovalOutcome, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let change = Box::pin(try_revoke(service, caller, &plugin, permissions, note));
    service.registry.attempt(caller, "permissions.revoke_refused", Some(&plugin.name), json!({}), change).await
}

async fn try_revoke(
    service: &Arc<Service>,
    caller: &Caller,
    plugin: &Plugin,
    permissions: &[PermissionRequest],
    note: Option<String>,
) -> Result<ApprovalOutcome, ServiceError> {
    let mut fields: Vec<FieldError> = note_error(note.as_deref()).into_iter().collect();
    if permissions.is_empty() {
        fields.push(FieldError::at("/permissions", "name at least one permission"));
    }
    if !fields.is_empty() {
        return Err(ServiceError::FieldInvalid { fields });
    }
    let mut change = find::change(service, caller, plugin).await?;
    let installed = change.installed().await?;
    check_asked(service, &installed, permissions)?;
    let named = read(permissions)?;
    let now = service.now();
    let is_meant =
        |row: &&GrantRecord| row.decision == Decision::Granted && named.iter().any(|unit| unit.covers(&row.unit));
    let ends: Vec<&GrantRecord> = installed.decisions.iter().filter(is_meant).collect();
    let narrower = installed.decisions.iter().find(|row| {
        row.decision == Decision::Granted && named.iter().any(|unit| row.unit.covers(unit) && *unit != row.unit)
    });
    if let Some(wide) = narrower.filter(|_| ends.is_empty()) {
        let request = wide.unit.request();
        let detail = format!("`{request}` was granted as one; grant less of it to take a part back");
        return Err(PluginProblem::new(Code::ScopeTooWide, detail)
            .with_how(format!("plugbay revoke {} {request}, then grant the rest", plugin.name))
            .into());
    }
    let left: Vec<GrantRecord> = installed.decisions.iter().filter(|row| !is_meant(row)).cloned().collect();
    let forgets = !risks::is_risk_left(service, &installed, &left).await?;
    let end = Decider::of(service, caller).end(EndReason::Revoked, note.clone(), now);
    let record = |row: &&GrantRecord| GrantRecord { end: Some(end.clone()), ..(*row).clone() };
    let records: Vec<GrantRecord> = ends.iter().map(record).collect();
    if !records.is_empty() {
        let mut tx = change.begin().await?;
        for record in &records {
            store::grants::end(&mut tx, record.id, &end).await?;
            if forgets {
                store::grants::forget_accepted(&mut tx, plugin.id, record.digest).await?;
            }
        }
        let revoked: Vec<_> = records.iter().map(|record| record.unit.request()).collect();
        let detail = json!({"revoked": revoked, "note": note, "digest": installed.serving().digest});
        change.commit(tx, "permissions.revoked", detail).await?;
        changes::apply_grants(&service.fleet, &change).await?;
    }
    let before = installed.standing(now)?.grants();
    let installed = change.installed().await?;
    let (version, manifest, standing) = (installed.serving(), installed.manifest()?, installed.standing(now)?);
    let rating = RatingChange {
        before: rating::rating_of(service, version, &manifest, &before),
        after: rating::rating_of(service, version, &manifest, &standing.grants()),
    };
    Ok(ApprovalOutcome { plugin: installed.plugin, manifest, standing, rating, records, update: None })
}

/// Refuses permissions that no version of the plugin asks for.
fn check_asked(
    service: &Service,
    installed: &InstalledPlugin,
    permissions: &[PermissionRequest],
) -> Result<(), ServiceError> {
    let mut asked = installed.manifest()?.asked();
    if let Some((pending, _)) = installed.pending()? {
        asked.extend(service.registry.manifest(pending)?.asked());
    }
    let unknown =
        permissions.iter().find(|request| !asked.iter().any(|asked| asked.unit.permission == request.permission));
    match unknown {
        None => Ok(()),
        Some(request) => {
            let name = &installed.plugin.name;
            let detail = format!("`{name}` does not ask for `{request}`");
            let how = format!("plugbay show {name} lists what it was granted");
            Err(PluginProblem::new(Code::PermissionNotRequested, detail).with_how(how).into())
        }
    }
}

/// The units that requests name; a word is the whole permission.
fn read(permissions: &[PermissionRequest]) -> Result<Vec<PermissionUnit>, ServiceError> {
    let mut units = Vec::new();
    for (at, request) in permissions.iter().enumerate() {
        if request.scope.is_empty() {
            units.push(PermissionUnit::whole(request.permission));
        }
        for (place, part) in request.scope.iter().enumerate() {
            units.push(PermissionUnit::part(request.permission, part).map_err(|error| {
                let pointer = format!("/permissions/{at}/scope/{place}");
                ServiceError::FieldInvalid { fields: vec![FieldError::at(pointer, error.to_string())] }
            })?);
        }
    }
    Ok(units)
}
