//! A version goes back by itself that proved bad in its first while: code, data and small values together.

use plugbay_domain::{DataId, Undone, UpdateFailure};
use plugbay_fleet::Member;
use plugbay_registry::{Actor, Target};
use plugbay_store as store;
use serde_json::json;

use crate::decisions::carry;
use crate::update::reinstated::{reinstated, within};
use crate::{Service, ServiceError, commands, tools};

/// Who ends decisions when nobody asked for it.
const BY_SERVICE: &str = "service";

/// Writes down that the version that was watched serves for good.
pub(crate) async fn keep_update(service: &Service, member: &Member) -> Result<(), ServiceError> {
    let change = service.registry.change(Actor::Service, (member.id, &member.name)).await?;
    let Some(mut change) = change else { return Ok(()) };
    if !change.plugin.keep() {
        return Ok(());
    }
    Ok(change.commit_unreported(change.begin().await?).await?)
}

/// Lets the version before serve again by the rows. Gives what the other one kept; `None` when there is nothing to go
/// back to.
pub(crate) async fn undo_update(
    service: &Service,
    member: &Member,
    reason: &str,
    text: &str,
) -> Result<Option<DataId>, ServiceError> {
    let change = service.registry.change(Actor::Service, (member.id, &member.name)).await?;
    let Some(mut change) = change else { return Ok(None) };
    let (now, installed) = (service.now(), change.installed().await?);
    let snapshot = store::snapshots::find(&mut *service.store.reader().await?, member.id).await?;
    let Some(snapshot) = snapshot else { return Ok(None) };
    let (before, ended, failed) =
        (installed.version(&snapshot.version)?, installed.serving().digest, change.plugin.data());
    let manifest = service.registry.manifest(before)?;
    let why = UpdateFailure { reason: reason.to_owned(), text: text.to_owned() };
    let Some(Undone { version, floor }) = change.plugin.undo(&snapshot, why, now) else { return Ok(None) };
    let mut tx = change.begin().await?;
    let plugin = &change.plugin;
    commands::claim_commands(service, &mut tx, plugin, &manifest).await?;
    tools::claim_names(service, &mut tx, plugin, &manifest).await?;
    let history = store::grants::history(&mut tx, plugin.id).await?;
    let target = Target { version: before, manifest: &manifest, carries: None };
    carry(&mut tx, plugin, &target, BY_SERVICE, now).await?;
    // Nobody decides here, so nothing is in force again that the version that ended had given up.
    for mut row in within(reinstated(&history, before.digest, now), &history, ended, now) {
        store::grants::insert(&mut tx, &mut row).await?;
    }
    // What served only to be taken back is no reason to refuse a lower version.
    if let Some(floor) = &floor {
        store::floors::take_back(&mut tx, &plugin.name, floor).await?;
    }
    store::configs::note_version(&mut tx, plugin.id).await?;
    store::snapshots::delete(&mut tx, plugin.id).await?;
    let detail = json!({
        "version": plugin.serving,
        "previous_version": version,
        "reason": reason,
        "text": text,
        "data_of": snapshot.taken_at,
    });
    change.commit(tx, "plugin.update_undone", detail).await?;
    let (name, serving) = (&change.plugin.name, &change.plugin.serving);
    member.log.note("ERROR", &format!("{version} was taken back: {text}; {serving} serves again"));
    tracing::warn!(plugin.name = %name, reason, "`{name}` went back from {version} to {serving}: {text}");
    Ok(Some(failed))
}
