//! Signatures bind for life: what is stored is verified again at every start, and a revoked key takes down
//! what it signed. A plugin is held back while the cause lasts and released when it is gone.

use std::collections::HashSet;
use std::path::PathBuf;

use plugbay_domain::{
    Chain, Code, Plugin, PluginName, PluginRef, QuarantineReason, Refusal, SignaturePolicy, SignatureStatus, TrustedKey,
};
use plugbay_package::{PackageFile, Signature, Upload, verify_tree};
use plugbay_registry::{Actor, InstalledPlugin};
use plugbay_store as store;
use plugbay_store::StoreError;
use plugbay_store::plugins::VersionRecord;
use serde_json::json;
use tracing::{info, warn};

use crate::{Service, ServiceError, audit, blocking};

/// Verifies the audit log with what it says of the registry, and the serving version of every plugin.
pub(crate) async fn verify_everything(service: &Service) -> Result<(), ServiceError> {
    audit::look_at_audit(service).await?;
    let keys = store::keys::list(&mut *service.store.reader().await?).await?;
    for installed in service.registry.snapshot().await?.plugins {
        judge_installed(service, &installed, keys.clone()).await?;
    }
    service.fleet.set_verified();
    Ok(())
}

/// Holds back what revoked keys signed.
pub(crate) async fn quarantine_what_revoked_keys_signed(service: &Service) -> Result<(), ServiceError> {
    let mut reader = service.store.reader().await?;
    let keys = store::keys::list(&mut reader).await?;
    let revoked: HashSet<_> = keys.iter().filter(|key| key.revoked_at.is_some()).map(|key| key.key.id()).collect();
    // This runs every few seconds and mostly has nothing to do.
    if revoked.is_empty() {
        return Ok(());
    }
    drop(reader);
    let is_signed_by_one = |serving: &VersionRecord| serving.key_id.is_some_and(|id| revoked.contains(&id));
    for installed in service.registry.snapshot().await?.plugins {
        if installed.plugin.quarantine.is_none() && is_signed_by_one(installed.serving()) {
            settle(service, &installed, Some(QuarantineReason::KeyRevoked)).await?;
        }
    }
    Ok(())
}

/// Looks at the stored files of a plugin again, as before a start.
pub(crate) async fn reverify(service: &Service, plugin: &Plugin) -> Result<(), ServiceError> {
    let keys = store::keys::list(&mut *service.store.reader().await?).await?;
    match service.registry.find_installed(&PluginRef::Id(plugin.id)).await? {
        Some(installed) => judge_installed(service, &installed, keys).await,
        None => Ok(()),
    }
}

/// Holds a plugin back, whichever version serves.
pub(crate) async fn quarantine(
    service: &Service,
    name: &PluginName,
    reason: QuarantineReason,
) -> Result<(), ServiceError> {
    match service.registry.find_installed(&PluginRef::Name(name.clone())).await? {
        Some(installed) => settle(service, &installed, Some(reason)).await,
        None => Ok(()),
    }
}

async fn judge_installed(
    service: &Service,
    installed: &InstalledPlugin,
    keys: Vec<TrustedKey>,
) -> Result<(), ServiceError> {
    let found = judge(service, installed.serving().clone(), keys).await?;
    settle(service, installed, found).await
}

/// What is wrong with a stored version, if anything.
pub(crate) async fn judge(
    service: &Service,
    version: VersionRecord,
    keys: Vec<TrustedKey>,
) -> Result<Option<QuarantineReason>, ServiceError> {
    let files = store::plugins::find_files(&mut *service.store.reader().await?, version.digest).await?;
    // Uninstalled or replaced since it was listed: there is nothing left to hold back.
    let Some(files) = files else { return Ok(None) };
    let stored = Stored {
        files,
        archive: service.data.archive(version.digest),
        package: service.data.package(version.digest),
        policy: service.config.security.signatures,
        limits: service.config.limits,
        version,
        keys,
    };
    blocking("verify", move || stored.judge()).await
}

/// Writes down what was found about a package, if that is news and the package still serves: judging takes a
/// while, and an update or uninstall that came first must not be undone.
pub(crate) async fn settle(
    service: &Service,
    judged: &InstalledPlugin,
    found: Option<QuarantineReason>,
) -> Result<(), ServiceError> {
    let (id, name) = (judged.plugin.id, &judged.plugin.name);
    let Some(mut change) = service.registry.change(Actor::Service, (id, name)).await? else { return Ok(()) };
    let serves = change.installed().await?.serving().digest == judged.serving().digest;
    let present = change.plugin.quarantine.as_ref().map(|quarantine| quarantine.reason);
    // Sound files do not end a crash loop; enabling does.
    let is_crash_loop = found.is_none() && present == Some(QuarantineReason::CrashLoop);
    if !serves || present == found || is_crash_loop {
        return Ok(());
    }
    let action = if let Some(reason) = found {
        change.plugin.quarantine(reason, service.now());
        "plugin.quarantined"
    } else {
        change.plugin.release(service.now());
        "plugin.released"
    };
    change.commit(change.begin().await?, action, json!({"reason": found})).await?;
    if let Some(reason) = found {
        warn!(plugin.name = %name, %reason, "Quarantined `{name}`: {reason}");
        // If it runs, it must not any more.
        service.fleet.look_again();
    } else {
        info!(plugin.name = %name, "Released `{name}` from quarantine");
    }
    Ok(())
}

/// A version as it lies on disk, with what it is judged by.
struct Stored {
    files: String,
    archive: PathBuf,
    package: PathBuf,
    policy: SignaturePolicy,
    limits: plugbay_domain::ArchiveLimits,
    version: VersionRecord,
    keys: Vec<TrustedKey>,
}

impl Stored {
    fn judge(self) -> Result<Option<QuarantineReason>, ServiceError> {
        let tampered = Ok(Some(QuarantineReason::PackageTampered));
        let Ok(upload) = Upload::read(&self.archive, &self.limits.without_upload_bound()) else {
            return tampered;
        };
        if upload.digest() != self.version.digest {
            return tampered;
        }
        let files: Vec<PackageFile> = serde_json::from_str(&self.files)
            .map_err(|error| StoreError::bad_row("versions", self.version.digest, error))?;
        if let Err(error) = verify_tree(&self.package, &files) {
            warn!(error = %Chain(&error), digest = %self.version.digest, "A stored package was changed");
            return tampered;
        }
        Ok(self.judge_signature(upload))
    }

    fn judge_signature(&self, upload: Upload) -> Option<QuarantineReason> {
        // The row's own word is not believed: the signature is read and verified as if it had just arrived.
        let signature = self.version.signature.as_deref().map(str::parse::<Signature>).transpose();
        let Ok(signature) = signature else { return Some(QuarantineReason::SignatureUnverified) };
        if self.policy == SignaturePolicy::Off && self.version.signature_status != SignatureStatus::Valid {
            return None;
        }
        // A key's period says when it may bring something in, so it is looked at as of that time.
        match upload.verify(signature.as_ref(), &self.keys, self.policy, self.version.installed_at) {
            Ok(_) => None,
            Err(error) if error.code() == Code::KeyRevoked => Some(QuarantineReason::KeyRevoked),
            Err(_) => Some(QuarantineReason::SignatureUnverified),
        }
    }
}
