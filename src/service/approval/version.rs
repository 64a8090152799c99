//! What becomes of decisions when another version starts to serve.

use std::sync::Arc;

use serde_json::json;

use crate::domain::{Code, Manifest, Plugin, Quarantine, Refusal as _, Risk, Timestamp};
use crate::registry::{Actor, InstalledPlugin, PluginChange, Target};
use crate::service::lifecycle::check_quarantine;
use crate::service::update::{Arrival, Cause, Change, Inherits};
use crate::service::{Caller, Service, ServiceError, UpdateOutcome, UpdateStatus};
use crate::store::grants::{AcceptedRisk, EndReason, GrantEnd, GrantRecord};
use crate::store::plugins::VersionRecord;
use crate::store::{self, WriteTransaction};

/// Ends the decisions about archives of the plugin that neither serve nor wait, once a version has come in. If that
/// version serves, it takes over what was decided about the one before.
pub(in crate::service) async fn carry(
    tx: &mut WriteTransaction,
    plugin: &Plugin,
    target: &Target<'_>,
    by: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let rows = store::grants::list_open(tx, Some(plugin.id)).await?;
    let accepted = store::grants::list_accepted(tx, plugin.id).await?;
    let versions = store::plugins::list_versions(tx, Some(plugin.id)).await?;
    let serving = store::plugins::serving_of(plugin, &versions).map(|version| version.digest);
    let end = GrantEnd { at: now, by: by.to_owned(), reason: EndReason::Superseded, note: None };
    let serves = target.version.version == plugin.serving;
    // Of a version that waits, the one before still serves, and still has what it was granted.
    let goes_on = |row: &GrantRecord| row.digest == target.version.digest || (!serves && Some(row.digest) == serving);
    for row in rows.iter().filter(|row| !goes_on(row)) {
        store::grants::end(tx, row.id, &end).await?;
    }
    if !serves {
        return Ok(());
    }
    for mut row in target.carried(&rows, now) {
        store::grants::insert(tx, &mut row).await?;
    }
    let is_carried = |found: &&AcceptedRisk| target.carries == Some(found.digest) && found.risk != Risk::SignerChanged;
    for found in accepted.iter().filter(is_carried) {
        let copy = AcceptedRisk { digest: target.version.digest, ..found.clone() };
        store::grants::accept(tx, plugin.id, &copy).await?;
    }
    Ok(())
}

impl Service {
    /// Looks at a waiting version once more before it serves: its files, its signature and its limits.
    pub(in crate::service) async fn prepare_start(
        &self,
        version: &VersionRecord,
        manifest: &Manifest,
    ) -> Result<(), ServiceError> {
        let (keys, set) = {
            let mut reader = self.store.reader().await?;
            let set = store::running::find_limits(&mut reader, version.plugin_id).await?;
            (store::keys::list(&mut reader).await?, set)
        };
        if let Some(reason) = self.judge(version.clone(), keys).await? {
            check_quarantine(&manifest.name, &Quarantine { reason, since: self.now() })?;
        }
        self.check_ceiling(manifest, set)
    }

    /// Lets the waiting version serve, for which nothing is left to wait for.
    pub(in crate::service) async fn serve_pending(
        self: &Arc<Self>,
        caller: &Caller,
        changing: &mut PluginChange<'_>,
    ) -> Result<UpdateOutcome, ServiceError> {
        let installed = changing.installed().await?;
        let Some((version, carries)) = installed.pending()? else {
            return Err(ServiceError::TaskDied { name: "approval" });
        };
        let (manifest, older) = (self.registry.manifest(version)?, installed.manifest()?);
        let mut outcome = outcome_of(&installed.plugin, UpdateStatus::Updated, &manifest, &older);
        let change = Change {
            plugin: installed.plugin.clone(),
            arrival: Arrival::Kept(version.clone()),
            manifest,
            inherits: Inherits::Carried(carries),
            dropped: None,
            set_aside: None,
            cause: Cause::Update,
        };
        let done = self.take_over(caller, changing, change, &outcome).await;
        if matches!(&done, Err(error) if error.code() == Code::UpdateRolledBack) {
            // It does not work, so there is nothing more to wait for.
            self.drop_pending(changing, &installed).await?;
        }
        for version in &installed.versions {
            self.forget_content(version.digest).await?;
        }
        outcome.watched_until = done?;
        Ok(outcome)
    }

    async fn drop_pending(
        &self,
        changing: &mut PluginChange<'_>,
        installed: &InstalledPlugin,
    ) -> Result<(), ServiceError> {
        let Some((version, _)) = installed.pending()? else { return Ok(()) };
        let (manifest, now) = (installed.manifest()?, self.now());
        changing.plugin.drop_pending();
        let plugin = &changing.plugin;
        let mut tx = changing.begin().await?;
        if version.served_at.is_none() {
            store::plugins::delete_version(&mut tx, plugin.id, &version.version).await?;
        }
        carry(&mut tx, plugin, &installed.target(&manifest), "service", now).await?;
        let detail = json!({"version": version.version});
        Ok(changing.commit_by(Actor::Service, tx, "update.dropped", detail).await?)
    }

    /// Lets the waiting version wait for a configuration, after everything else about it was decided.
    pub(super) fn await_config(
        &self,
        installed: &InstalledPlugin,
        plugin: &mut Plugin,
    ) -> Result<Option<UpdateOutcome>, ServiceError> {
        let Some((version, _)) = installed.pending()? else { return Ok(None) };
        let (manifest, older) = (self.registry.manifest(version)?, installed.manifest()?);
        plugin.wait_for_config(self.now());
        Ok(Some(outcome_of(plugin, UpdateStatus::PendingConfig, &manifest, &older)))
    }

    /// Why a version that would serve at once has to wait although it asks for nothing more: risks that were not accepted
    /// for the one before.
    pub(in crate::service) async fn new_risks(
        &self,
        caller: &Caller,
        plugin: &Plugin,
        target: &Target<'_>,
    ) -> Result<Vec<String>, ServiceError> {
        let (rows, accepted) = {
            let mut reader = self.store.reader().await?;
            let rows = store::grants::list_open(&mut reader, Some(plugin.id)).await?;
            (rows, store::grants::list_accepted(&mut reader, plugin.id).await?)
        };
        let grants = target.standing(&rows, self.now()).grants();
        let mut risks = self.granted_risks(plugin.id, target.manifest, &grants).await?;
        risks.retain(|risk| !target.has_accepted(&accepted, *risk));
        let mut found: Vec<String> = risks.iter().map(|risk| format!("risk {risk}")).collect();
        // Its sender would decide what new bytes do to plugins that are out of the sender's reach.
        found.extend(caller.require_reach(&grants).is_err().then(|| "reach beyond the token of the sender".to_owned()));
        Ok(found)
    }
}

/// What became of the waiting version `manifest`.
fn outcome_of(plugin: &Plugin, status: UpdateStatus, manifest: &Manifest, older: &Manifest) -> UpdateOutcome {
    UpdateOutcome {
        plugin_id: plugin.id,
        status,
        version: manifest.version.clone(),
        previous: plugin.serving.clone(),
        growth: manifest.growth(older),
        signer_changed: plugin.signer_changed(),
        watched_until: None,
        warnings: manifest.warnings(),
    }
}
