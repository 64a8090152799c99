//! Install: verify, inspect, check, unpack, publish, record. Killed at any point it is wholly there or not at all:
//! what was published without its row is removed at the next start.

use std::path::PathBuf;
use std::sync::Arc;

use plugbay_config::Config;
use plugbay_domain::{
    Chain, Digest, Manifest, Plugin, PluginId, PluginRef, Runtime, SignaturePolicy, SignatureStatus, Timestamp,
};
use plugbay_fleet::settings::{Checked, checks};
use plugbay_fleet::volumes;
use plugbay_package::{Contents, EntryPath, InspectedArchive, Signature, Signer, StagedPackage};
use plugbay_registry::Caller;
use plugbay_store as store;
use plugbay_store::floors::Floor;
use plugbay_store::plugins::{NewVersion, VersionRecord};
use semver::Version;
use serde_json::json;
use tracing::warn;

use crate::kept_data::Attached;
use crate::{Incoming, PluginView, Service, ServiceError, blocking, kept_data, plugins, requires, scan};

/// A plugin that was installed.
#[derive(Debug)]
pub struct InstallOutcome {
    /// The plugin as it is shown.
    pub view: PluginView,
    /// What could be better about the package.
    pub warnings: Vec<String>,
}

/// An archive that passed every check that needs no row of its plugin.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) archive: InspectedArchive,
    pub(crate) manifest: Manifest,
    pub(crate) warnings: Vec<String>,
    pub(crate) signature: Option<String>,
    pub(crate) staging: crate::Staging,
}

/// Installs a new plugin.
pub async fn install(
    service: &Arc<Service>,
    caller: &Caller,
    incoming: Incoming,
) -> Result<InstallOutcome, ServiceError> {
    let digest = incoming.upload.digest();
    let change = Box::pin(try_install(service, caller, incoming));
    service.registry.attempt(caller, "plugin.refused", None, json!({"digest": digest}), change).await
}

async fn try_install(service: &Service, caller: &Caller, incoming: Incoming) -> Result<InstallOutcome, ServiceError> {
    let candidate = examine(service, caller, incoming).await?;
    let name = candidate.manifest.name.clone();
    let _changing = service.registry.lock(&name).await;
    let (existing, floor) = {
        let mut reader = service.store.reader().await?;
        let existing = store::plugins::find(&mut reader, &PluginRef::Name(name.clone())).await?;
        (existing, store::floors::find(&mut reader, &name).await?)
    };
    if let Some(existing) = existing {
        return Err(ServiceError::PluginExists { name, version: existing.serving.clone() });
    }
    check_floor(service, &candidate, floor.as_ref(), crate::Downgrade::Refuse)?;

    let mut warnings = candidate.warnings.clone();
    let now = service.now();
    let plugin = Plugin::new(name, candidate.manifest.version.clone(), now);
    let mut version = publish(service, candidate, plugin.id, &mut warnings).await?;
    version.record.served_at = Some(now);
    let recorded = record_install(service, caller, &plugin, &version).await;
    if recorded.is_err() {
        forget_content(service, version.record.digest).await?;
    }
    warnings.extend(kept_data::warning(&plugin.name, recorded?));
    if let Err(error) = volumes::finish_hand_over(&service.fleet, plugin.id).await {
        // Before its first start it is tried again.
        warn!(plugin.name = %plugin.name, error = %Chain(&error), "Kept data could not be handed over yet");
    }
    let view = plugins::view(service, plugin).await?;
    Ok(InstallOutcome { view, warnings })
}

async fn record_install(
    service: &Service,
    caller: &Caller,
    plugin: &Plugin,
    new: &NewVersion,
) -> Result<Attached, ServiceError> {
    let version = &new.record;
    let mut tx = service.store.begin().await?;
    store::plugins::insert(&mut tx, plugin).await?;
    store::plugins::insert_version(&mut tx, new).await?;
    let signed = version.signature_status == SignatureStatus::Valid;
    store::floors::raise(&mut tx, &plugin.name, &version.version, signed).await?;
    let attached = kept_data::attach_data(service, &mut tx, plugin, version).await?;
    let mut detail = version_detail(version);
    if let Some(from) = attached.from {
        detail["data_of"] = json!(from);
    }
    service.registry.commit(tx, caller, "plugin.installed", Some(&plugin.name), detail).await?;
    Ok(attached)
}

/// Every check that needs no row of the plugin itself, cheapest and least trusting first.
pub(crate) async fn examine(service: &Service, caller: &Caller, incoming: Incoming) -> Result<Candidate, ServiceError> {
    let Incoming { staging, upload, signature, expected } = incoming;
    if let Some(expected) = expected.filter(|expected| *expected != upload.digest()) {
        return Err(ServiceError::DigestMismatch { expected, found: upload.digest() });
    }
    let keys = store::keys::list(&mut *service.store.reader().await?).await?;
    let (policy, limits, now) = (service.config.security.signatures, service.config.limits, service.now());
    let parsed = signature.as_deref().map(str::parse::<Signature>).transpose()?;
    let archive = blocking("inspect", move || {
        let verified = upload.verify(parsed.as_ref(), &keys, policy, now)?;
        Ok(verified.inspect(&limits)?)
    })
    .await?;
    let (archive, manifest, brought) = checks::checking(&service.fleet, Checked::Package, move || {
        let manifest = Manifest::parse(archive.manifest_bytes())?;
        let brought = archive.default_config().map(|config| manifest.read_config(config)).transpose();
        Ok::<_, ServiceError>((archive, manifest, brought))
    })
    .await?;
    archive.check_scope(&manifest.name)?;
    caller.require_plugin(&manifest.name)?;
    archive.check_contents(&contents(&manifest))?;
    brought?;
    check_requirements(&manifest, &service.config)?;
    let mut warnings = warnings(&manifest, &archive);
    warnings.extend(requires::requirement_warnings(service, caller, &manifest).await?);
    Ok(Candidate { archive, manifest, warnings, signature, staging })
}

/// Refuses versions below what has served, and unsigned versions of a name that was signed.
pub(crate) fn check_floor(
    service: &Service,
    candidate: &Candidate,
    floor: Option<&Floor>,
    downgrade: crate::Downgrade,
) -> Result<(), ServiceError> {
    let Some(floor) = floor else { return Ok(()) };
    let Manifest { name, version, .. } = &candidate.manifest;
    let unsigned = !matches!(candidate.archive.signer(), Signer::Trusted(_));
    if floor.ever_signed && unsigned && service.config.security.signatures == SignaturePolicy::Required {
        return Err(ServiceError::SignatureDropped { name: name.clone() });
    }
    if *version < floor.version && downgrade == crate::Downgrade::Refuse {
        let (name, version, floor) = (name.clone(), version.clone(), floor.version.clone());
        return Err(ServiceError::DowngradeRefused { name, version, floor });
    }
    Ok(())
}

/// Unpacks the candidate and moves archive and package to their places, in that order, on disk for good.
pub(crate) async fn publish(
    service: &Service,
    candidate: Candidate,
    plugin_id: PluginId,
    warnings: &mut Vec<String>,
) -> Result<NewVersion, ServiceError> {
    let Candidate { archive, manifest, signature, staging, .. } = candidate;
    let digest = archive.digest();
    let places = Places {
        archive: service.data.archive(digest),
        signature: service.data.signature(digest),
        packages: service.data.packages(),
    };
    let (limits, now) = (service.config.limits, service.now());
    let folder = staging.folder.path().join("package");
    let into = folder.clone();
    let (archive, manifest, unpacked) = blocking("unpack", move || {
        let unpacked = archive.unpack(&into, &contents(&manifest), &limits)?;
        unpacked.open_up()?;
        Ok((archive, manifest, unpacked))
    })
    .await?;
    let arrived = scan::judge_arrival(service, &folder, &manifest).await?;
    warnings.extend(scan::warning(&manifest, &arrived));
    blocking("publish", move || {
        let files = list_files(&unpacked)?;
        let record = VersionRecord {
            verdict: Some(arrived.verdict),
            ..version_record(&archive, &manifest, signature.clone(), plugin_id, now)
        };
        places.take(&archive, signature.as_deref(), unpacked, digest)?;
        drop(staging);
        Ok(NewVersion { record, files, scan: arrived.text })
    })
    .await
}

/// Removes what was published for a version that was not recorded, unless another version has the same bytes.
pub(crate) async fn forget_content(service: &Service, digest: Digest) -> Result<(), ServiceError> {
    let kept = store::plugins::list_digests(&mut *service.store.reader().await?).await?;
    if !kept.contains(&digest) {
        service.registry.forget_manifest(digest);
        service.data.remove_content(digest)?;
    }
    Ok(())
}

/// Where the parts of an installed version go.
struct Places {
    archive: PathBuf,
    signature: PathBuf,
    packages: PathBuf,
}

impl Places {
    fn take(
        &self,
        archive: &InspectedArchive,
        signature: Option<&str>,
        unpacked: StagedPackage,
        digest: Digest,
    ) -> Result<(), ServiceError> {
        let file_error = |action: &str| {
            let action = action.to_owned();
            move |source| ServiceError::File { action, source }
        };
        if let Some(text) = signature {
            std::fs::write(&self.signature, text).map_err(file_error("keep the signature"))?;
        }
        std::fs::rename(archive.path(), &self.archive).map_err(file_error("keep the archive"))?;
        // `publish` ends with one syncfs for all of it, then makes the package visible under its name.
        unpacked.publish(&self.packages, digest)?;
        Ok(())
    }
}

/// What the package must contain for this manifest.
pub(crate) fn contents(manifest: &Manifest) -> Contents<'_> {
    Contents {
        main: &manifest.main,
        needs_vendor: manifest.needs_vendor(),
        always_executable: manifest.runtime != Runtime::Python,
    }
}

fn check_requirements(manifest: &Manifest, config: &Config) -> Result<(), ServiceError> {
    let ours: Version = env!("CARGO_PKG_VERSION").parse().expect("cargo checks the version of the package");
    if let Some(wanted) = manifest.plugbay.as_ref().filter(|wanted| !wanted.matches(&ours)) {
        return Err(ServiceError::PlugbayTooOld { wanted: wanted.to_string() });
    }
    let limits = manifest.resources.or(&config.sandbox.defaults);
    let fields = limits.above(&config.sandbox.ceiling);
    if fields.is_empty() { Ok(()) } else { Err(ServiceError::LimitsExceedCeiling { fields }) }
}

fn warnings(manifest: &Manifest, archive: &InspectedArchive) -> Vec<String> {
    let mut warnings = manifest.warnings();
    if "Dockerfile".parse::<EntryPath>().is_ok_and(|path| archive.has_file(&path)) {
        warnings.push("Dockerfile is kept and never built".to_owned());
    }
    warnings
}

fn list_files(unpacked: &StagedPackage) -> Result<String, ServiceError> {
    serde_json::to_string(unpacked.files()).map_err(|error| ServiceError::File {
        action: "list the files of the package".to_owned(),
        source: error.into(),
    })
}

fn version_record(
    archive: &InspectedArchive,
    manifest: &Manifest,
    signature: Option<String>,
    plugin_id: PluginId,
    now: Timestamp,
) -> VersionRecord {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let signature_status = match archive.signer() {
        Signer::Trusted(_) => SignatureStatus::Valid,
        Signer::Untrusted(_) => SignatureStatus::Untrusted,
        Signer::Unsigned => SignatureStatus::Unsigned,
    };
    VersionRecord {
        plugin_id,
        version: manifest.version.clone(),
        digest: archive.digest(),
        manifest: text(archive.manifest_bytes()),
        default_config: archive.default_config().map(text),
        signature_status,
        key_id: archive.signer().key_id(),
        signature,
        archive_bytes: archive.size(),
        served_at: None,
        installed_at: now,
        verdict: None,
    }
}

/// What the audit log tells about a version.
pub(crate) fn version_detail(version: &VersionRecord) -> serde_json::Value {
    json!({
        "version": version.version,
        "digest": version.digest,
        "signature": version.signature_status,
        "key_id": version.key_id,
    })
}
