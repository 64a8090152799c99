//! An operator goes back to an earlier version.

use std::sync::Arc;

use plugbay_domain::{Code, Grants, Growth, PermissionUnit, Plugin, PluginId, Scope, Snapshot};
use plugbay_fleet::PluginProblem;
use plugbay_fleet::settings::Ground;
use plugbay_registry::Caller;
use plugbay_store as store;
use plugbay_store::plugins::VersionRecord;
use semver::Version;
use serde_json::json;

use crate::update::reinstated::{regained, reinstated};
use crate::update::{Arrival, Cause, Change, Inherits, UpdateOutcome, UpdateStatus, take_over};
use crate::{Service, ServiceError, configuration, find, install, ready, scan};

/// What a rollback did.
#[derive(Debug)]
pub struct RollbackOutcome {
    /// The plugin.
    pub plugin_id: PluginId,
    /// The version that serves now.
    pub version: Version,
    /// The version that served before.
    pub previous: Version,
    /// What the plugin keeps is as it was when that version last served.
    pub data_restored: bool,
}

/// Lets an earlier version serve again: the last that served, unless another one is named.
pub async fn rollback(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    to: Option<Version>,
    restore_data: bool,
) -> Result<RollbackOutcome, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let detail = json!({"version": to, "restore_data": restore_data});
    let change = Box::pin(try_rollback(service, caller, &plugin, to.as_ref(), restore_data));
    service.registry.attempt(caller, "plugin.rollback_refused", Some(&plugin.name), detail, change).await
}

async fn try_rollback(
    service: &Arc<Service>,
    caller: &Caller,
    plugin: &Plugin,
    to: Option<&Version>,
    restore_data: bool,
) -> Result<RollbackOutcome, ServiceError> {
    let mut changing = find::change(service, caller, plugin).await?;
    let snapshot = store::snapshots::find(&mut *service.store.reader().await?, plugin.id).await?;
    let installed = changing.installed().await?;
    let (plugin, versions, serving) = (&installed.plugin, &installed.versions, installed.serving());
    let version = choose(plugin, versions, to)?.clone();
    let snapshot = if restore_data { Some(fitting(plugin, &version, snapshot)?) } else { None };
    let (manifest, newer) = (service.registry.manifest(&version)?, installed.manifest()?);
    let mut growth = manifest.growth(&newer);
    let regained = find_regained(service, plugin, &version, serving).await?;
    growth.added.extend(regained.iter().map(|unit| format!("granted {}", unit.request())));
    growth.added.extend(scan::open_risk(service, &version, &manifest).await?.map(|risk| format!("risk {risk}")));
    // What is granted again reaches what it reached, and the token has to reach that as well.
    caller.require_reach(&Grants::of(&regained))?;
    check_growth(caller, plugin, &version, &growth)?;
    ready::prepare_start(service, &version, &manifest).await?;
    let ground = Ground::new(Arc::clone(&manifest), &version)?;
    configuration::check_going_back(service, plugin, serving, (&version.version, &ground)).await?;
    let outcome = UpdateOutcome {
        plugin_id: plugin.id,
        status: UpdateStatus::Updated,
        version: version.version.clone(),
        previous: plugin.serving.clone(),
        growth,
        signer_changed: false,
        watched_until: None,
        warnings: Vec::new(),
    };
    let only_waited = |old: &&VersionRecord| plugin.awaits(&old.version) && old.served_at.is_none();
    let dropped = versions.iter().find(only_waited).map(|old| old.version.clone());
    let data_restored = snapshot.is_some();
    let change = Change {
        plugin: plugin.clone(),
        arrival: Arrival::Kept(version),
        manifest,
        inherits: Inherits::Reinstated,
        dropped,
        set_aside: None,
        cause: Cause::Rollback(snapshot),
    };
    take_over::take_over(service, caller, &mut changing, change, &outcome).await?;
    for version in versions {
        install::forget_content(service, version.digest).await?;
    }
    let UpdateOutcome { plugin_id, version, previous, .. } = outcome;
    Ok(RollbackOutcome { plugin_id, version, previous, data_restored })
}

/// Permissions that would be granted again, and that the version that serves does not have.
async fn find_regained(
    service: &Service,
    plugin: &Plugin,
    version: &VersionRecord,
    serving: &VersionRecord,
) -> Result<Vec<PermissionUnit>, ServiceError> {
    let history = store::grants::history(&mut *service.store.reader().await?, plugin.id).await?;
    let now = service.now();
    let back = reinstated(&history, version.digest, now);
    Ok(regained(&back, &history, serving.digest, now))
}

/// Going back to a version that may do more is a decision, as the update to one is.
fn check_growth(
    caller: &Caller,
    plugin: &Plugin,
    version: &VersionRecord,
    growth: &Growth,
) -> Result<(), ServiceError> {
    if !growth.asks_more() || caller.require(Scope::Approve).is_ok() {
        return Ok(());
    }
    let (name, number) = (&plugin.name, &version.version);
    let added = growth.added.join(", ");
    let detail = format!("`{name}` {number} may do more than {}: {added}", plugin.serving);
    let how = format!("use a token that has the scope `{}`", Scope::Approve);
    Err(PluginProblem::new(Code::ScopeMissing, detail).with_how(how).into())
}

/// The version that is meant: it has served, and does not now.
fn choose<'a>(
    plugin: &Plugin,
    versions: &'a [VersionRecord],
    to: Option<&Version>,
) -> Result<&'a VersionRecord, ServiceError> {
    let name = &plugin.name;
    let mut earlier: Vec<_> =
        versions.iter().filter(|old| old.served_at.is_some() && old.version != plugin.serving).collect();
    earlier.sort_by_key(|old| std::cmp::Reverse(old.served_at));
    if to == Some(&plugin.serving) {
        let detail = format!("`{name}` is {} already", plugin.serving);
        return Err(PluginProblem::new(Code::VersionServing, detail).into());
    }
    let found = match to {
        Some(number) => earlier.iter().find(|old| old.version == *number),
        None => earlier.first(),
    };
    found.copied().ok_or_else(|| {
        let kept: Vec<_> = earlier.iter().map(|old| old.version.to_string()).collect();
        let kept = if kept.is_empty() { "none is kept".to_owned() } else { format!("kept are {}", kept.join(", ")) };
        let wanted = to.map_or_else(|| "an earlier version".to_owned(), |number| format!("the version {number}"));
        PluginProblem::new(Code::VersionUnknown, format!("`{name}` cannot go back to {wanted}: {kept}")).into()
    })
}

/// What was kept when that version last served.
fn fitting(plugin: &Plugin, version: &VersionRecord, snapshot: Option<Snapshot>) -> Result<Snapshot, ServiceError> {
    let held = snapshot.as_ref().map(|snapshot| snapshot.version.to_string());
    snapshot.filter(|snapshot| snapshot.version == version.version).ok_or_else(|| {
        let of = held.map_or_else(|| "none is kept".to_owned(), |held| format!("the one that is kept is of {held}"));
        let detail = format!("there is no snapshot of what `{}` {} kept: {of}", plugin.name, version.version);
        PluginProblem::new(Code::SnapshotMissing, detail).into()
    })
}
