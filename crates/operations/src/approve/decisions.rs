//! From what an administrator wrote to the units that are decided on. Nothing here reads or writes.

use plugbay_domain::{
    Asked, Code, Decision, FieldError, Manifest, NetworkRule, Permission, PermissionRequest, PermissionUnit, Standing,
    Timestamp,
};
use plugbay_fleet::PluginProblem;
use plugbay_registry::Target;
use plugbay_store::grants::GrantRecord;
use plugbay_store::plugins::VersionRecord;
use serde_json::{Value, json};

use crate::ServiceError;
use crate::approve::Approval;

/// The decisions of one request.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    pub(crate) granted: Vec<PermissionUnit>,
    pub(crate) denied: Vec<PermissionUnit>,
}

impl Decisions {
    /// Reads what is to be granted and denied, and compares it with what the manifest asks for.
    pub(crate) fn read(
        manifest: &Manifest,
        grant: &[PermissionRequest],
        deny: &[PermissionRequest],
    ) -> Result<Self, ServiceError> {
        let asked = manifest.asked();
        let decisions =
            Self { granted: units(manifest, &asked, grant, "grant")?, denied: units(manifest, &asked, deny, "deny")? };
        let whole = |denied: &&PermissionUnit| !asked.iter().any(|asked| asked.unit == **denied);
        if let Some(part) = decisions.denied.iter().find(whole) {
            let detail = format!("`{}` is a part of what is asked for; grant the other parts instead", part.request());
            return Err(PluginProblem::new(Code::PermissionNotRequested, detail).into());
        }
        refuse_the_sandbox(&asked, &decisions.granted)?;
        let both = decisions.granted.iter().find(|unit| decisions.denied.iter().any(|denied| denied.overlaps(unit)));
        if let Some(unit) = both {
            let message = format!("`{}` is both granted and denied", unit.request());
            return Err(ServiceError::FieldInvalid { fields: vec![FieldError::at("/deny", message)] });
        }
        Ok(decisions)
    }

    /// Every unit with what was decided about it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PermissionUnit, Decision)> {
        let granted = self.granted.iter().map(|unit| (unit, Decision::Granted));
        granted.chain(self.denied.iter().map(|unit| (unit, Decision::Denied)))
    }

    /// What is asked for, and what was decided about it once these are made.
    pub(crate) fn standing(&self, target: &Target<'_>, rows: &[GrantRecord], now: Timestamp) -> Standing {
        let mut held = target.held(rows, now);
        held.retain(|(unit, _)| !self.iter().any(|(decided, _)| decided.overlaps(unit)));
        let held = held.iter().map(|(unit, decision)| (unit, *decision)).chain(self.iter());
        Standing::of(target.manifest, held)
    }

    /// What the audit log tells of them.
    pub(crate) fn detail(&self, version: &VersionRecord, approval: &Approval) -> Value {
        let list =
            |units: &[PermissionUnit]| units.iter().map(PermissionUnit::request).collect::<Vec<PermissionRequest>>();
        json!({
            "version": version.version,
            "digest": version.digest,
            "granted": list(&self.granted),
            "denied": list(&self.denied),
            "accepted_risks": approval.accept_risks,
            "note": approval.note,
            "expires_at": approval.expires_at,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.granted.is_empty() && self.denied.is_empty()
    }
}

/// Refuses a part of what is asked for that would do nothing. What an older package asks for by name is granted as it is.
fn refuse_the_sandbox(asked: &[Asked], granted: &[PermissionUnit]) -> Result<(), ServiceError> {
    let narrowed = granted.iter().filter(|unit| !asked.iter().any(|asked| asked.unit == **unit));
    for unit in narrowed.filter(|unit| unit.permission == Permission::NetworkAccess) {
        let Some(rule) = unit.part.as_deref().and_then(|part| part.parse::<NetworkRule>().ok()) else { continue };
        if let Some(instead) = rule.meant_for_this_machine() {
            let message = format!("`{rule}` is the sandbox itself for the plugin; this machine is `{instead}` there");
            return Err(ServiceError::FieldInvalid { fields: vec![FieldError::at("/grant", message)] });
        }
    }
    Ok(())
}

/// The units that requests name; a word stands for all that is asked for of its permission.
fn units(
    manifest: &Manifest,
    asked: &[Asked],
    requests: &[PermissionRequest],
    key: &str,
) -> Result<Vec<PermissionUnit>, ServiceError> {
    let mut found = Vec::new();
    for (at, request) in requests.iter().enumerate() {
        let of_permission: Vec<&PermissionUnit> =
            asked.iter().map(|asked| &asked.unit).filter(|unit| unit.permission == request.permission).collect();
        if of_permission.is_empty() {
            let detail = format!("`{}` {} does not ask for `{request}`", manifest.name, manifest.version);
            return Err(PluginProblem::new(Code::PermissionNotRequested, detail)
                .with_how(format!("plugbay show {} lists what it asks for", manifest.name))
                .into());
        }
        if request.scope.is_empty() {
            found.extend(of_permission.iter().map(|unit| (*unit).clone()));
        }
        for (place, part) in request.scope.iter().enumerate() {
            let unit = PermissionUnit::part(request.permission, part).map_err(|error| {
                let pointer = format!("/{key}/{at}/scope/{place}");
                ServiceError::FieldInvalid { fields: vec![FieldError::at(pointer, error.to_string())] }
            })?;
            if !of_permission.iter().any(|asked| asked.covers(&unit)) {
                let asks: Vec<_> = of_permission.iter().map(|unit| unit.request().to_string()).collect();
                let detail = format!("`{}` asks for {}, not for `{}`", manifest.name, asks.join(", "), unit.request());
                return Err(PluginProblem::new(Code::ScopeTooWide, detail).into());
            }
            found.push(unit);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
