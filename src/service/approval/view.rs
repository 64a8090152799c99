//! What is shown of a plugin's permissions.

use std::sync::Arc;

use semver::Version;

use super::expiry::{NOTICE, end_warning};
use crate::domain::{
    Digest, FieldError, Growth, KeyId, Manifest, PendingFor, Plugin, Risk, SignatureStatus, Standing, Timestamp,
    TrustedKey,
};
use crate::registry::{InstalledPlugin, Target};
use crate::service::install::label_of;
use crate::service::{Caller, Service, ServiceError};
use crate::store;
use crate::store::grants::{AcceptedRisk, GrantRecord};
use crate::store::plugins::VersionRecord;

/// Who vouches for a version.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What the signature was worth when the version came in.
    pub status: SignatureStatus,
    /// The key.
    pub key_id: Option<KeyId>,
    /// The operator's name for it.
    pub label: Option<String>,
}

impl Signed {
    pub(in crate::service) fn of(version: &VersionRecord, keys: &[TrustedKey]) -> Self {
        let label = label_of(keys, version).filter(|_| version.signature_status == SignatureStatus::Valid);
        Self { status: version.signature_status, key_id: version.key_id, label }
    }
}

/// A version that waits for an administrator.
#[derive(Clone, Debug)]
pub struct PendingVersion {
    /// Its number.
    pub version: Version,
    /// Its archive.
    pub digest: Digest,
    /// Who vouches for it.
    pub signed: Signed,
    /// What it asks for.
    pub manifest: Arc<Manifest>,
    /// What it asks for beyond the version that serves.
    pub growth: Growth,
    /// Somebody else signed it.
    pub signer_changed: bool,
    /// What it waits for.
    pub waits_for: PendingFor,
    /// What it does not accept of the configuration, and what it lacks.
    pub config: Vec<FieldError>,
    /// What was decided about it, and what it would take over.
    pub standing: Standing,
    /// What has to be accepted by name.
    pub risks: Vec<Risk>,
}

/// Everything about the permissions of a plugin.
#[derive(Debug)]
pub struct PermissionsOf {
    /// The plugin.
    pub plugin: Plugin,
    /// Who vouches for the serving version.
    pub signed: Signed,
    /// What the serving version asks for.
    pub manifest: Arc<Manifest>,
    /// Its archive.
    pub digest: Digest,
    /// What was decided about it.
    pub standing: Standing,
    /// What has to be accepted by name.
    pub risks: Vec<Risk>,
    /// Every decision that was ever made, latest first.
    pub records: Vec<GrantRecord>,
    /// Risks that were accepted.
    pub accepted: Vec<AcceptedRisk>,
    /// The version that waits.
    pub pending: Option<PendingVersion>,
}

/// What an operator should know about the grants of the version that serves.
pub(in crate::service) fn grant_warnings(installed: &InstalledPlugin, now: Timestamp) -> Vec<String> {
    let soon = now.plus(NOTICE);
    let ends = installed.granted(now).filter(|row| row.expires_at.is_some_and(|end| end <= soon));
    ends.map(|row| end_warning(installed.plugin.name.as_str(), row)).collect()
}

impl Service {
    /// The version that waits, without its risks.
    pub(in crate::service) fn pending_version(
        &self,
        installed: &InstalledPlugin,
        keys: &[TrustedKey],
    ) -> Result<Option<PendingVersion>, ServiceError> {
        let (Some(pending), Some((version, carries))) = (&installed.plugin.pending, installed.pending()?) else {
            return Ok(None);
        };
        let (manifest, older) = (self.registry.manifest(version)?, installed.manifest()?);
        let target = Target { version, manifest: &manifest, carries };
        Ok(Some(PendingVersion {
            version: version.version.clone(),
            digest: version.digest,
            signed: Signed::of(version, keys),
            growth: manifest.growth(&older),
            signer_changed: pending.signer_changed,
            waits_for: pending.waits_for,
            config: Vec::new(),
            standing: target.standing(&installed.decisions, self.now()),
            risks: Vec::new(),
            manifest,
        }))
    }

    /// Everything about the permissions of a plugin.
    pub async fn show_permissions(&self, caller: &Caller, wanted: &str) -> Result<PermissionsOf, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let installed = self.registry.installed(plugin).await?;
        let (mut records, keys) = {
            let mut reader = self.store.reader().await?;
            (store::grants::history(&mut reader, installed.plugin.id).await?, store::keys::list(&mut reader).await?)
        };
        records.reverse();
        let (version, manifest) = (installed.serving(), installed.manifest()?);
        Ok(PermissionsOf {
            plugin: installed.plugin.clone(),
            signed: Signed::of(version, &keys),
            digest: version.digest,
            standing: installed.standing(self.now())?,
            risks: self.asked_risks(installed.plugin.id, &manifest).await?,
            records,
            accepted: self.registry.accepted_risks(installed.plugin.id).await?,
            pending: self.with_risks(&installed, self.pending_version(&installed, &keys)?).await?,
            manifest,
        })
    }

    /// The waiting version with what has to be accepted by name, and what it says about the configuration.
    pub(in crate::service) async fn with_risks(
        &self,
        installed: &InstalledPlugin,
        pending: Option<PendingVersion>,
    ) -> Result<Option<PendingVersion>, ServiceError> {
        let Some(mut pending) = pending else { return Ok(None) };
        pending.config = self.pending_config_errors(installed).await?;
        pending.risks = self.asked_risks(installed.plugin.id, &pending.manifest).await?;
        if pending.signer_changed {
            pending.risks.push(Risk::SignerChanged);
        }
        Ok(Some(pending))
    }
}
