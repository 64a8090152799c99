//! What is shown of a plugin's permissions.

use std::sync::Arc;
use std::time::Duration;

use plugbay_domain::{Digest, FieldError, Growth, Manifest, PendingFor, Plugin, Risk, Standing, Timestamp, TrustedKey};
use plugbay_registry::{Caller, InstalledPlugin, Target};
use plugbay_store as store;
use plugbay_store::grants::{AcceptedRisk, GrantRecord};
use semver::Version;

use crate::signed::Signed;
use crate::{RatingChange, Service, ServiceError, configuration, find, rating, risks};

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
    /// How much trust it needs, and would need if everything were granted that is asked for, also by the version that
    /// waits.
    pub rating: RatingChange,
    /// Every decision that was ever made, latest first.
    pub records: Vec<GrantRecord>,
    /// Risks that were accepted.
    pub accepted: Vec<AcceptedRisk>,
    /// The version that waits.
    pub pending: Option<PendingVersion>,
}

/// What an operator should know about the grants of the version that serves.
pub(crate) fn grant_warnings(installed: &InstalledPlugin, now: Timestamp) -> Vec<String> {
    let soon = now.plus(NOTICE);
    let ends = installed.granted(now).filter(|row| row.expires_at.is_some_and(|end| end <= soon));
    ends.map(|row| end_warning(installed.plugin.name.as_str(), row)).collect()
}

/// The version that waits, without its risks.
pub(crate) fn pending_version(
    service: &Service,
    installed: &InstalledPlugin,
    keys: &[TrustedKey],
) -> Result<Option<PendingVersion>, ServiceError> {
    let (Some(pending), Some((version, carries))) = (&installed.plugin.pending, installed.pending()?) else {
        return Ok(None);
    };
    let (manifest, older) = (service.registry.manifest(version)?, installed.manifest()?);
    let target = Target { version, manifest: &manifest, carries };
    Ok(Some(PendingVersion {
        version: version.version.clone(),
        digest: version.digest,
        signed: Signed::of(version, keys),
        growth: manifest.growth(&older),
        signer_changed: pending.signer_changed,
        waits_for: pending.waits_for,
        config: Vec::new(),
        standing: target.standing(&installed.decisions, service.now()),
        risks: Vec::new(),
        manifest,
    }))
}

/// Everything about the permissions of a plugin.
pub async fn show_permissions(service: &Service, caller: &Caller, wanted: &str) -> Result<PermissionsOf, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let installed = service.registry.installed(plugin).await?;
    let (mut records, keys) = {
        let mut reader = service.store.reader().await?;
        (store::grants::history(&mut reader, installed.plugin.id).await?, store::keys::list(&mut reader).await?)
    };
    records.reverse();
    let (version, manifest) = (installed.serving(), installed.manifest()?);
    let standing = installed.standing(service.now())?;
    let after = match installed.pending()? {
        Some((pending, _)) => {
            let manifest = service.registry.manifest(pending)?;
            rating::asked_rating(service, pending, &manifest)
        }
        None => rating::asked_rating(service, version, &manifest),
    };
    Ok(PermissionsOf {
        rating: RatingChange { before: rating::rating_of(service, version, &manifest, &standing.grants()), after },
        plugin: installed.plugin.clone(),
        signed: Signed::of(version, &keys),
        digest: version.digest,
        standing,
        risks: risks::asked_risks(service, version, &manifest).await?,
        records,
        accepted: service.registry.accepted_risks(installed.plugin.id).await?,
        pending: with_risks(service, &installed, pending_version(service, &installed, &keys)?).await?,
        manifest,
    })
}

/// The waiting version with what has to be accepted by name, and what it says about the configuration.
pub(crate) async fn with_risks(
    service: &Service,
    installed: &InstalledPlugin,
    pending: Option<PendingVersion>,
) -> Result<Option<PendingVersion>, ServiceError> {
    let Some(mut pending) = pending else { return Ok(None) };
    pending.config = configuration::pending_config_errors(service, installed).await?;
    let Some((version, _)) = installed.pending()? else { return Ok(None) };
    pending.risks = risks::asked_risks(service, version, &pending.manifest).await?;
    if pending.signer_changed {
        pending.risks.push(Risk::SignerChanged);
    }
    Ok(Some(pending))
}

/// How long before its end somebody is warned.
pub(crate) const NOTICE: Duration = Duration::from_hours(7 * 24);

/// One sentence about a grant that ends.
pub(crate) fn end_warning(name: &str, row: &GrantRecord) -> String {
    let end = row.expires_at.map(|end| end.to_string()).unwrap_or_default();
    format!("the grant of `{}` to `{name}` ends at {end}", row.unit.request())
}
