//! What becomes of decisions when another version starts to serve.

use serde_json::json;

use super::{Docket, Target};
use crate::domain::{Manifest, PendingFor, Quarantine, Risk, SignatureStatus, Timestamp};
use crate::service::install::version_detail;
use crate::service::lifecycle::check_quarantine;
use crate::service::{Caller, Service, ServiceError, UpdateOutcome, UpdateStatus};
use crate::store::grants::{AcceptedRisk, EndReason, GrantEnd, GrantRecord};
use crate::store::plugins::{PluginRecord, VersionRecord};
use crate::store::{self, WriteTransaction, audit};

/// Ends the decisions about archives of the plugin that neither serve nor wait, once a version has come in. If that
/// version serves, it takes over what was decided about the one before.
pub(in crate::service) async fn carry(
    tx: &mut WriteTransaction,
    plugin: &PluginRecord,
    target: &Target<'_>,
    by: &str,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let rows = store::grants::list_open(tx, Some(plugin.id)).await?;
    let accepted = store::grants::list_accepted(tx, plugin.id).await?;
    let versions = store::plugins::list_versions(tx, Some(plugin.id)).await?;
    let serving = versions.iter().find(|version| version.version == plugin.serving).map(|version| version.digest);
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

    /// Lets the waiting version serve, in the transaction of the approval that it waited for.
    pub(in crate::service) async fn start_pending(
        &self,
        tx: &mut WriteTransaction,
        caller: &Caller,
        docket: &Docket,
        plugin: &mut PluginRecord,
    ) -> Result<UpdateOutcome, ServiceError> {
        let Some((version, carries)) = docket.pending()? else {
            return Err(ServiceError::TaskDied { name: "approval" });
        };
        let (manifest, older) = (self.manifests.get(version)?, self.manifests.get(docket.serving()?)?);
        self.check_dependents_in(tx, caller, &manifest).await?;
        let outcome = outcome_of(plugin, UpdateStatus::Updated, &manifest, &older);
        plugin.serving = version.version.clone();
        plugin.pending = None;
        plugin.pending_for = PendingFor::Approval;
        plugin.signer_changed = false;
        // What was wrong was wrong with the version that served before.
        plugin.quarantine = None;
        plugin.updated_at = self.now();
        self.claim_commands(tx, plugin, &manifest).await?;
        let target = Target { version, manifest: &manifest, carries };
        carry(tx, plugin, &target, &caller.token.to_string(), plugin.updated_at).await?;
        store::plugins::update(tx, plugin).await?;
        store::configs::note_version(tx, plugin.id).await?;
        store::plugins::note_served(tx, plugin.id, &plugin.serving).await?;
        let signed = version.signature_status == SignatureStatus::Valid;
        store::plugins::raise_floor(tx, &plugin.name, &plugin.serving, signed).await?;
        let mut detail = version_detail(version);
        detail["previous_version"] = json!(outcome.previous);
        detail["added"] = json!(outcome.growth.added);
        detail["signer_changed"] = json!(outcome.signer_changed);
        let entry = self.entry(&caller.into(), "plugin.updated", Some(&plugin.name), detail);
        audit::append(tx, &self.audit_key, &entry).await?;
        Ok(outcome)
    }

    /// Lets the waiting version wait for a configuration, after everything else about it was decided.
    pub(super) async fn await_config(
        &self,
        tx: &mut WriteTransaction,
        docket: &Docket,
        plugin: &mut PluginRecord,
    ) -> Result<Option<UpdateOutcome>, ServiceError> {
        let Some((version, _)) = docket.pending()? else { return Ok(None) };
        let (manifest, older) = (self.manifests.get(version)?, self.manifests.get(docket.serving()?)?);
        plugin.pending_for = PendingFor::Config;
        plugin.updated_at = self.now();
        store::plugins::update(tx, plugin).await?;
        Ok(Some(outcome_of(plugin, UpdateStatus::PendingConfig, &manifest, &older)))
    }

    /// Tells whether a version that would serve at once has a risk that nobody accepted for the one before.
    pub(in crate::service) async fn has_new_risk(
        &self,
        plugin: &PluginRecord,
        target: &Target<'_>,
    ) -> Result<bool, ServiceError> {
        let (rows, accepted) = {
            let mut reader = self.store.reader().await?;
            let rows = store::grants::list_open(&mut reader, Some(plugin.id)).await?;
            (rows, store::grants::list_accepted(&mut reader, plugin.id).await?)
        };
        let grants = target.standing(&rows, self.now()).grants();
        let risks = self.granted_risks(plugin.id, target.manifest, &grants).await?;
        Ok(risks.iter().any(|risk| !target.has_accepted(&accepted, *risk)))
    }
}

/// What became of the waiting version `manifest`.
fn outcome_of(plugin: &PluginRecord, status: UpdateStatus, manifest: &Manifest, older: &Manifest) -> UpdateOutcome {
    UpdateOutcome {
        plugin_id: plugin.id,
        status,
        version: manifest.version.clone(),
        previous: plugin.serving.clone(),
        growth: manifest.growth(older),
        signer_changed: plugin.signer_changed,
        warnings: manifest.warnings(),
    }
}
