//! What is shown of a plugin's permissions.

use std::sync::Arc;

use semver::Version;

use super::expiry::{NOTICE, end_warning};
use super::{Docket, Target};
use crate::domain::{
    Decision, Digest, FieldError, Growth, KeyId, Manifest, PendingFor, Risk, SignatureStatus, Standing, TrustedKey,
};
use crate::service::install::label_of;
use crate::service::{Caller, Service, ServiceError};
use crate::store;
use crate::store::grants::{AcceptedRisk, GrantRecord};
use crate::store::plugins::{PluginRecord, VersionRecord};

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
    pub plugin: PluginRecord,
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

impl Docket {
    /// Grants of the serving version that hold.
    pub(in crate::service) fn grants(&self, service: &Service) -> Result<Vec<GrantRecord>, ServiceError> {
        let (digest, now) = (self.serving()?.digest, service.now());
        let counts = |row: &&GrantRecord| row.digest == digest && row.decision == Decision::Granted && row.holds(now);
        Ok(self.rows.iter().filter(counts).cloned().collect())
    }

    /// What somebody should know about them.
    pub(in crate::service) fn warnings(&self, service: &Service) -> Result<Vec<String>, ServiceError> {
        let soon = service.now().plus(NOTICE);
        let rows = self.grants(service)?;
        let ends = rows.iter().filter(|row| row.expires_at.is_some_and(|end| end <= soon));
        Ok(ends.map(|row| end_warning(self.plugin.name.as_str(), row)).collect())
    }

    /// The version that waits, without its risks.
    pub(in crate::service) fn pending_version(
        &self,
        service: &Service,
        keys: &[TrustedKey],
    ) -> Result<Option<PendingVersion>, ServiceError> {
        let Some((version, carries)) = self.pending()? else { return Ok(None) };
        let (manifest, older) = (service.registry.manifest(version)?, service.registry.manifest(self.serving()?)?);
        let target = Target { version, manifest: &manifest, carries };
        Ok(Some(PendingVersion {
            version: version.version.clone(),
            digest: version.digest,
            signed: Signed::of(version, keys),
            growth: manifest.growth(&older),
            signer_changed: self.plugin.signer_changed,
            waits_for: self.plugin.pending_for,
            config: Vec::new(),
            standing: target.standing(&self.rows, service.now()),
            risks: Vec::new(),
            manifest,
        }))
    }
}

impl Service {
    /// Everything about the permissions of a plugin.
    pub async fn show_permissions(&self, caller: &Caller, wanted: &str) -> Result<PermissionsOf, ServiceError> {
        let plugin = self.find_plugin(caller, wanted).await?;
        let docket = self.docket(plugin).await?;
        let (mut records, keys) = {
            let mut reader = self.store.reader().await?;
            (store::grants::history(&mut reader, docket.plugin.id).await?, store::keys::list(&mut reader).await?)
        };
        records.reverse();
        let version = docket.serving()?;
        let manifest = self.registry.manifest(version)?;
        Ok(PermissionsOf {
            plugin: docket.plugin.clone(),
            signed: Signed::of(version, &keys),
            digest: version.digest,
            standing: docket.standing(self)?,
            risks: self.asked_risks(docket.plugin.id, &manifest).await?,
            records,
            accepted: docket.accepted.clone(),
            pending: self.with_risks(&docket, docket.pending_version(self, &keys)?).await?,
            manifest,
        })
    }

    /// The waiting version with what has to be accepted by name, and what it says about the configuration.
    pub(in crate::service) async fn with_risks(
        &self,
        docket: &Docket,
        pending: Option<PendingVersion>,
    ) -> Result<Option<PendingVersion>, ServiceError> {
        let Some(mut pending) = pending else { return Ok(None) };
        pending.config = self.pending_config_errors(docket).await?;
        pending.risks = self.asked_risks(docket.plugin.id, &pending.manifest).await?;
        if pending.signer_changed {
            pending.risks.push(Risk::SignerChanged);
        }
        Ok(Some(pending))
    }
}
