//! Update: a new version of an installed plugin. It serves at once if its signer is the same and it asks for
//! nothing more; otherwise it waits beside the version that serves.

use std::sync::Arc;

use semver::Version;
use serde_json::json;

use super::approval::{Target, carry};
use super::configuration::Ground;
use super::install::{Candidate, version_detail};
use super::{Caller, Incoming, Service, ServiceError};
use crate::domain::{Growth, PendingFor, PluginId, PluginRef, Risk, SignaturePolicy, SignatureStatus};
use crate::package::Signer;
use crate::store::plugins::{NewVersion, PluginRecord, VersionRecord};
use crate::store::{self, StoreError, audit};

/// Whether a version lower than one that has served is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downgrade {
    /// Refuse it.
    Refuse,
    /// The operator wants it.
    Allow,
}

/// What became of the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStatus {
    /// It serves.
    Updated,
    /// It serves or waits already, with the same bytes.
    Unchanged,
    /// It waits for an administrator.
    PendingApproval,
    /// It waits for a configuration that it accepts.
    PendingConfig,
}

impl From<PendingFor> for UpdateStatus {
    fn from(waits_for: PendingFor) -> Self {
        match waits_for {
            PendingFor::Approval => Self::PendingApproval,
            PendingFor::Config => Self::PendingConfig,
        }
    }
}

/// What an update did.
#[derive(Debug)]
pub struct UpdateOutcome {
    /// The plugin.
    pub plugin_id: PluginId,
    /// What became of the new version.
    pub status: UpdateStatus,
    /// The version that was sent.
    pub version: Version,
    /// The version that served before.
    pub previous: Version,
    /// What it asks for beyond the version that served before.
    pub growth: Growth,
    /// It comes from another signer.
    pub signer_changed: bool,
    /// What could be better about the package.
    pub warnings: Vec<String>,
}

/// The version that an update brings.
#[derive(Debug)]
enum Arrival {
    /// Unpacked just now, without a row yet.
    New(NewVersion),
    /// One that served before and was kept.
    Kept(VersionRecord),
}

impl Arrival {
    fn record(&self) -> &VersionRecord {
        match self {
            Self::New(new) => &new.record,
            Self::Kept(record) => record,
        }
    }

    /// The version has not served yet and does not now.
    fn waits(&mut self) {
        if let Self::New(new) = self {
            new.record.served = false;
        }
    }
}

impl Service {
    /// Brings in a new version of the plugin `wanted`.
    pub async fn update(
        self: &Arc<Self>,
        caller: &Caller,
        wanted: &str,
        incoming: Incoming,
        downgrade: Downgrade,
    ) -> Result<UpdateOutcome, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let digest = incoming.upload.digest();
        let result = self.try_update(caller, &plugin, incoming, downgrade).await;
        if let Err(refusal) = &result {
            let entry =
                self.entry(&caller.into(), "plugin.update_refused", Some(&plugin.name), json!({"digest": digest}));
            self.record_refusal(entry, refusal).await;
        }
        result
    }

    async fn try_update(
        self: &Arc<Self>,
        caller: &Caller,
        plugin: &PluginRecord,
        incoming: Incoming,
        downgrade: Downgrade,
    ) -> Result<UpdateOutcome, ServiceError> {
        let candidate = self.examine(caller, incoming).await?;
        let (wanted, found) = (&plugin.name, &candidate.manifest.name);
        if wanted != found {
            return Err(ServiceError::WrongPlugin { wanted: wanted.clone(), found: found.clone() });
        }
        let _changing = self.names.lock(found).await;
        // Looked up again: another change may have come first.
        let mut plugin = self.find_plugin(caller, &plugin.id.to_string()).await?;
        let (versions, floor) = {
            let mut reader = self.store.reader().await?;
            let versions = store::plugins::list_versions(&mut reader, Some(plugin.id)).await?;
            (versions, store::plugins::find_floor(&mut reader, &plugin.name).await?)
        };
        let serving = versions.iter().find(|version| version.version == plugin.serving).cloned();
        let serving = serving.ok_or_else(|| StoreError::missing("versions", &plugin.name))?;
        let older = self.manifests.get(&serving)?;
        let growth = candidate.manifest.growth(&older);
        let mut outcome = UpdateOutcome {
            plugin_id: plugin.id,
            status: UpdateStatus::Unchanged,
            version: candidate.manifest.version.clone(),
            previous: plugin.serving.clone(),
            growth,
            signer_changed: self.signer_changed(&candidate, &serving),
            warnings: candidate.warnings.clone(),
        };
        let known = versions.iter().find(|version| version.version == outcome.version);
        if let Some(known) = known {
            check_bytes(known, &candidate)?;
            if known.version == plugin.serving || plugin.pending.as_ref() == Some(&known.version) {
                return Ok(outcome);
            }
        }
        self.check_floor(&candidate, floor.as_ref(), downgrade)?;
        self.check_dependents(caller, found, &candidate.manifest.version, &candidate.manifest.requires).await?;

        let carries = (!outcome.signer_changed).then_some(serving.digest);
        let mut serves = !outcome.signer_changed && outcome.growth.added.is_empty();
        // A version that served before is kept and is there already.
        let manifest = Arc::new(candidate.manifest.clone());
        let mut version = match known {
            Some(kept) => Arrival::Kept(kept.clone()),
            None => Arrival::New(self.publish(candidate, plugin.id, serves).await?),
        };
        let target = Target { version: &version.record().clone(), manifest: &manifest, carries };
        if serves && self.has_new_risk(&plugin, &target).await? {
            outcome.growth.added.push(format!("risk {}", Risk::DataEgress));
            serves = false;
            version.waits();
        }
        let mut waits_for = PendingFor::Approval;
        if serves
            && !self.accepts_config(&plugin, &serving, &Ground::new(Arc::clone(&manifest), version.record())?).await?
        {
            (serves, waits_for) = (false, PendingFor::Config);
            version.waits();
        }
        outcome.status = if serves { UpdateStatus::Updated } else { waits_for.into() };
        let waited = plugin.pending.take();
        // One that only waited is replaced; one that served stays among the versions kept.
        let replaced = waited.filter(|waited| versions.iter().any(|old| old.version == *waited && !old.served));
        if serves {
            plugin.serving = outcome.version.clone();
            plugin.signer_changed = false;
            // What was wrong was wrong with the version that served before.
            plugin.quarantine = None;
        } else {
            plugin.pending = Some(outcome.version.clone());
            plugin.signer_changed = outcome.signer_changed;
        }
        plugin.pending_for = waits_for;
        plugin.updated_at = self.now();
        let recorded = self.record_update(caller, &plugin, &version, replaced.as_ref(), &outcome, &target).await;
        if recorded.is_err() {
            self.forget_content(version.record().digest).await?;
        }
        recorded?;
        if serves {
            self.start_anew(&plugin).await;
        }
        self.remove_unreferenced(&versions).await?;
        Ok(outcome)
    }

    /// A version from another signer waits, also where the serving one was not signed at all.
    fn signer_changed(&self, candidate: &Candidate, serving: &VersionRecord) -> bool {
        match candidate.archive.signer() {
            Signer::Trusted(key) => serving.key_id != Some(key.key.id()),
            Signer::Untrusted(id) => serving.key_id != Some(*id),
            Signer::Unsigned => {
                serving.key_id.is_some() && self.config.security.signatures == SignaturePolicy::Required
            }
        }
    }

    async fn record_update(
        &self,
        caller: &Caller,
        plugin: &PluginRecord,
        arrival: &Arrival,
        replaced: Option<&Version>,
        outcome: &UpdateOutcome,
        target: &Target<'_>,
    ) -> Result<(), ServiceError> {
        let (version, serves) = (arrival.record(), outcome.status == UpdateStatus::Updated);
        let mut tx = self.store.begin().await?;
        if serves {
            self.claim_commands(&mut tx, plugin, target.manifest).await?;
        }
        if let Some(replaced) = replaced {
            store::plugins::delete_version(&mut tx, plugin.id, replaced).await?;
        }
        if let Arrival::New(new) = arrival {
            store::plugins::insert_version(&mut tx, new).await?;
        }
        store::plugins::update(&mut tx, plugin).await?;
        carry(&mut tx, plugin, target, &caller.token.to_string(), plugin.updated_at).await?;
        if serves {
            let signed = version.signature_status == SignatureStatus::Valid;
            store::plugins::raise_floor(&mut tx, &plugin.name, &version.version, signed).await?;
            store::configs::note_version(&mut tx, plugin.id).await?;
        }
        let action = if serves { "plugin.updated" } else { "plugin.update_pending" };
        let mut detail = version_detail(version);
        detail["previous_version"] = json!(outcome.previous);
        detail["added"] = json!(outcome.growth.added);
        detail["signer_changed"] = json!(outcome.signer_changed);
        audit::append(&mut tx, &self.audit_key, &self.entry(&caller.into(), action, Some(&plugin.name), detail))
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes the content of versions that were replaced.
    async fn remove_unreferenced(&self, before: &[VersionRecord]) -> Result<(), ServiceError> {
        for version in before {
            self.forget_content(version.digest).await?;
        }
        Ok(())
    }

    /// Finds a plugin that the caller may see.
    pub async fn find_plugin(&self, caller: &Caller, wanted: &str) -> Result<PluginRecord, ServiceError> {
        let unknown = || ServiceError::PluginUnknown { wanted: crate::domain::escape(wanted) };
        let reference = PluginRef::parse(wanted).ok_or_else(unknown)?;
        let plugin = store::plugins::find(&mut *self.store.reader().await?, &reference).await?;
        // A plugin out of the token's reach is not told from one that does not exist.
        plugin.filter(|plugin| caller.may_see(&plugin.name)).ok_or_else(unknown)
    }
}

/// Refuses other bytes under the number of a version that is known.
fn check_bytes(known: &VersionRecord, candidate: &Candidate) -> Result<(), ServiceError> {
    let (found, manifest) = (candidate.archive.digest(), &candidate.manifest);
    if known.digest == found {
        return Ok(());
    }
    Err(ServiceError::VersionConflict {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        known: known.digest.to_string(),
        found: found.to_string(),
    })
}
