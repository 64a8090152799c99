//! A version goes back by itself that proved bad in its first while: code, data and small values together.

use serde_json::json;

use super::reinstated::{reinstated, within};
use crate::domain::{DataId, LastUpdate, PendingFor, PluginId, PluginRef, Update, UpdateFailure};
use crate::registry::{Actor, Target};
use crate::service::approval::carry;
use crate::service::fleet::Member;
use crate::service::{Service, ServiceError};
use crate::store;

/// Who ends decisions when nobody asked for it.
const BY_SERVICE: &str = "service";

impl Service {
    /// What became of the last update of a plugin.
    pub(in crate::service) async fn last_update(&self, plugin: PluginId) -> Result<Option<LastUpdate>, ServiceError> {
        let plugin = store::plugins::find(&mut *self.store.reader().await?, &PluginRef::Id(plugin)).await?;
        Ok(plugin.and_then(|plugin| plugin.last_update))
    }

    /// Writes down that the version that was watched serves for good.
    pub(in crate::service) async fn keep_update(&self, member: &Member) -> Result<(), ServiceError> {
        let change = self.registry.change(Actor::Service, (member.id, &member.name)).await?;
        let Some(mut change) = change else { return Ok(()) };
        let Some(LastUpdate { update: update @ Update::Watched { .. }, .. }) = &mut change.plugin.last_update else {
            return Ok(());
        };
        *update = Update::Kept;
        Ok(change.commit_unreported(change.begin().await?).await?)
    }

    /// Lets the version before serve again by the rows. Gives what the other one kept; `None` when there is nothing to go
    /// back to.
    pub(in crate::service) async fn undo_update(
        &self,
        member: &Member,
        reason: &str,
        text: &str,
    ) -> Result<Option<DataId>, ServiceError> {
        let change = self.registry.change(Actor::Service, (member.id, &member.name)).await?;
        let Some(mut change) = change else { return Ok(None) };
        let (now, installed) = (self.now(), change.installed().await?);
        let plugin = &mut change.plugin;
        let Some(LastUpdate { version, update: update @ Update::Watched { .. }, .. }) = &mut plugin.last_update else {
            return Ok(None);
        };
        let mut tx = self.store.begin().await?;
        let Some(snapshot) = store::snapshots::find(&mut tx, plugin.id).await? else { return Ok(None) };
        let (before, ended) = (installed.version(&snapshot.version)?, installed.serving().digest);
        let manifest = self.registry.manifest(before)?;
        let why = UpdateFailure { reason: reason.to_owned(), text: text.to_owned() };
        let undone = Update::RolledBack { why, at: now, data_of: Some(snapshot.taken_at) };
        let (version, update) = (version.clone(), std::mem::replace(update, undone));
        let failed = plugin.data();
        plugin.serving = snapshot.version.clone();
        // What waits was compared with the version that ended: it may ask for more than this one has.
        plugin.pending_for = PendingFor::Approval;
        plugin.generation = snapshot.generation;
        plugin.updated_at = now;
        let plugin = &change.plugin;
        self.claim_commands(&mut tx, plugin, &manifest).await?;
        let history = store::grants::history(&mut tx, plugin.id).await?;
        let target = Target { version: before, manifest: &manifest, carries: None };
        carry(&mut tx, plugin, &target, BY_SERVICE, now).await?;
        // Nobody decides here, so nothing is in force again that the version that ended had given up.
        for mut row in within(reinstated(&history, before.digest, now), &history, ended, now) {
            store::grants::insert(&mut tx, &mut row).await?;
        }
        // What served only to be taken back is no reason to refuse a lower version.
        if let Some(floor) = update.floor_after(&plugin.serving) {
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
        let (name, serving) = (&plugin.name, &plugin.serving);
        member.log.note("ERROR", &format!("{version} was taken back: {text}; {serving} serves again"));
        tracing::warn!(plugin.name = %name, reason, "`{name}` went back from {version} to {serving}: {text}");
        Ok(Some(failed))
    }
}
