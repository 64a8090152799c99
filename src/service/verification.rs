//! Signatures bind for life: what is stored is verified again at every start, and a revoked key takes down
//! what it signed. A plugin is held back while the cause lasts and released when it is gone.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde_json::json;
use tracing::{info, warn};

use super::{Service, ServiceError};
use crate::domain::{
    Chain, Code, Plugin, PluginName, PluginRef, QuarantineReason, Refusal, SignaturePolicy, SignatureStatus, TrustedKey,
};
use crate::package::{PackageFile, Signature, Upload, verify_tree};
use crate::registry::{Actor, InstalledPlugin};
use crate::store::plugins::VersionRecord;
use crate::store::{self, StoreError};

impl Service {
    /// Whether everything stored was verified since the start.
    pub fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }

    /// Verifies the audit log with what it says of the registry, and the serving version of every plugin.
    pub(super) async fn verify_everything(&self) -> Result<(), ServiceError> {
        self.look_at_audit().await?;
        let keys = store::keys::list(&mut *self.store.reader().await?).await?;
        for installed in self.registry.snapshot().await?.plugins {
            self.judge_installed(&installed, keys.clone()).await?;
        }
        self.verified.store(true, Ordering::Release);
        self.fleet.look.notify_one();
        Ok(())
    }

    /// Holds back what revoked keys signed.
    pub(super) async fn quarantine_what_revoked_keys_signed(&self) -> Result<(), ServiceError> {
        let mut reader = self.store.reader().await?;
        let keys = store::keys::list(&mut reader).await?;
        let revoked: HashSet<_> = keys.iter().filter(|key| key.revoked_at.is_some()).map(|key| key.key.id()).collect();
        // This runs every few seconds and mostly has nothing to do.
        if revoked.is_empty() {
            return Ok(());
        }
        drop(reader);
        let is_signed_by_one = |serving: &VersionRecord| serving.key_id.is_some_and(|id| revoked.contains(&id));
        for installed in self.registry.snapshot().await?.plugins {
            if installed.plugin.quarantine.is_none() && is_signed_by_one(installed.serving()) {
                self.settle(&installed, Some(QuarantineReason::KeyRevoked)).await?;
            }
        }
        Ok(())
    }

    /// Looks at the stored files of a plugin again, as before a start.
    pub(super) async fn reverify(&self, plugin: &Plugin) -> Result<(), ServiceError> {
        let keys = store::keys::list(&mut *self.store.reader().await?).await?;
        match self.registry.find_installed(&PluginRef::Id(plugin.id)).await? {
            Some(installed) => self.judge_installed(&installed, keys).await,
            None => Ok(()),
        }
    }

    /// Holds a plugin back, whichever version serves.
    pub(super) async fn quarantine(&self, name: &PluginName, reason: QuarantineReason) -> Result<(), ServiceError> {
        match self.registry.find_installed(&PluginRef::Name(name.clone())).await? {
            Some(installed) => self.settle(&installed, Some(reason)).await,
            None => Ok(()),
        }
    }

    async fn judge_installed(&self, installed: &InstalledPlugin, keys: Vec<TrustedKey>) -> Result<(), ServiceError> {
        let found = self.judge(installed.serving().clone(), keys).await?;
        self.settle(installed, found).await
    }

    /// What is wrong with a stored version, if anything.
    pub(super) async fn judge(
        &self,
        version: VersionRecord,
        keys: Vec<TrustedKey>,
    ) -> Result<Option<QuarantineReason>, ServiceError> {
        let files = store::plugins::find_files(&mut *self.store.reader().await?, version.digest).await?;
        // Uninstalled or replaced since it was listed: there is nothing left to hold back.
        let Some(files) = files else { return Ok(None) };
        let stored = Stored {
            files,
            archive: self.data.archive(version.digest),
            package: self.data.package(version.digest),
            policy: self.config.security.signatures,
            limits: self.config.limits,
            version,
            keys,
        };
        Self::blocking("verify", move || stored.judge()).await
    }

    /// Writes down what was found about a package, if that is news and the package still serves: judging takes a
    /// while, and an update or uninstall that came first must not be undone.
    async fn settle(&self, judged: &InstalledPlugin, found: Option<QuarantineReason>) -> Result<(), ServiceError> {
        let (id, name) = (judged.plugin.id, &judged.plugin.name);
        let Some(mut change) = self.registry.change(Actor::Service, (id, name)).await? else { return Ok(()) };
        let serves = change.installed().await?.serving().digest == judged.serving().digest;
        let present = change.plugin.quarantine.as_ref().map(|quarantine| quarantine.reason);
        // Sound files do not end a crash loop; enabling does.
        let is_crash_loop = found.is_none() && present == Some(QuarantineReason::CrashLoop);
        if !serves || present == found || is_crash_loop {
            return Ok(());
        }
        let action = if let Some(reason) = found {
            change.plugin.quarantine(reason, self.now());
            "plugin.quarantined"
        } else {
            change.plugin.release(self.now());
            "plugin.released"
        };
        change.commit(change.begin().await?, action, json!({"reason": found})).await?;
        if let Some(reason) = found {
            warn!(plugin.name = %name, %reason, "Quarantined `{name}`: {reason}");
            // If it runs, it must not any more.
            self.fleet.look.notify_one();
        } else {
            info!(plugin.name = %name, "Released `{name}` from quarantine");
        }
        Ok(())
    }
}

/// A version as it lies on disk, with what it is judged by.
struct Stored {
    files: String,
    archive: PathBuf,
    package: PathBuf,
    policy: SignaturePolicy,
    limits: crate::domain::ArchiveLimits,
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
