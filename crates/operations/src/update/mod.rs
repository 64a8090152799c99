//! Update: a new version of an installed plugin. It takes over at once if its signer is the same and it asks for nothing
//! more; otherwise it waits beside the version that serves.
//!
//! ```text
//! change     a version that is to serve, and the rows that say so
//! reinstated decisions of before that hold again with their version
//! take_over  tries it on a copy of what the plugin keeps, then lets it answer in the place of the one before
//! replace    other bytes under the number of a version that is known, for development
//! rollback   an operator goes back to an earlier version
//! undo       a version goes back by itself that proved bad in its first while
//! ```

pub(crate) mod change;
pub(crate) mod reinstated;
pub(crate) mod replace;
pub(crate) mod rollback;
pub(crate) mod take_over;
pub(crate) mod undo;

use std::sync::Arc;

use plugbay_domain::{Growth, PendingFor, Plugin, PluginId, Scope, SignaturePolicy, Timestamp};
use plugbay_fleet::settings::Ground;
use plugbay_package::Signer;
use plugbay_registry::{Caller, Target};
use plugbay_store as store;
use plugbay_store::plugins::VersionRecord;
use replace::SetAside;
use semver::Version;
use serde_json::json;

use crate::install::Candidate;
use crate::update::change::{Arrival, Cause, Change, Inherits};
use crate::{Incoming, Service, ServiceError, configuration, find, install, requires, risks};

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
    /// Until when it can go back by itself, if it is watched.
    pub watched_until: Option<Timestamp>,
    /// What could be better about the package.
    pub warnings: Vec<String>,
}

/// Brings in a new version of the plugin `wanted`.
pub async fn update(
    service: &Arc<Service>,
    caller: &Caller,
    wanted: &str,
    incoming: Incoming,
    downgrade: Downgrade,
) -> Result<UpdateOutcome, ServiceError> {
    let plugin = find::find_plugin(service, caller, wanted).await?;
    let digest = incoming.upload.digest();
    let change = Box::pin(try_update(service, caller, &plugin, incoming, downgrade));
    service
        .registry
        .attempt(caller, "plugin.update_refused", Some(&plugin.name), json!({"digest": digest}), change)
        .await
}

async fn try_update(
    service: &Arc<Service>,
    caller: &Caller,
    plugin: &Plugin,
    incoming: Incoming,
    downgrade: Downgrade,
) -> Result<UpdateOutcome, ServiceError> {
    if downgrade == Downgrade::Allow {
        // An old version is signed as well, and may have faults that are known.
        caller.require(Scope::Approve)?;
    }
    let candidate = install::examine(service, caller, incoming).await?;
    let (wanted, found) = (&plugin.name, &candidate.manifest.name);
    if wanted != found {
        return Err(ServiceError::WrongPlugin { wanted: wanted.clone(), found: found.clone() });
    }
    let mut changing = find::change(service, caller, plugin).await?;
    let floor = store::floors::find(&mut *service.store.reader().await?, &plugin.name).await?;
    let installed = changing.installed().await?;
    let (mut plugin, versions, serving) = (installed.plugin.clone(), &installed.versions, installed.serving());
    let older = installed.manifest()?;
    let growth = candidate.manifest.growth(&older);
    let mut outcome = UpdateOutcome {
        plugin_id: plugin.id,
        status: UpdateStatus::Unchanged,
        version: candidate.manifest.version.clone(),
        previous: plugin.serving.clone(),
        growth,
        signer_changed: signer_changed(service, &candidate, serving),
        watched_until: None,
        warnings: candidate.warnings.clone(),
    };
    let known = versions.iter().find(|version| version.version == outcome.version);
    let replaced = known.filter(|known| known.digest != candidate.archive.digest());
    if let Some(replaced) = replaced {
        replace::check_replacement(service, replaced, &candidate)?;
    } else if known.is_some() && (plugin.serving == outcome.version || plugin.awaits(&outcome.version)) {
        return Ok(outcome);
    }
    install::check_floor(service, &candidate, floor.as_ref(), downgrade)?;
    requires::check_dependents(service, caller, found, &candidate.manifest.version, &candidate.manifest.requires)
        .await?;

    let carries = (!outcome.signer_changed).then_some(serving.digest);
    let mut serves = !outcome.signer_changed && outcome.growth.added.is_empty();
    let manifest = Arc::new(candidate.manifest.clone());
    let arrival = match known.filter(|_| replaced.is_none()) {
        Some(kept) => Arrival::Kept(kept.clone()),
        None => Arrival::New(install::publish(service, candidate, plugin.id, &mut outcome.warnings).await?),
    };
    let version = arrival.record().clone();
    let target = Target { version: &version, manifest: &manifest, carries };
    if serves {
        outcome.growth.added = risks::new_risks(service, caller, &plugin, &target).await?;
        serves = outcome.growth.added.is_empty();
    }
    let mut waits_for = PendingFor::Approval;
    if serves
        && !configuration::accepts_config(service, &plugin, serving, &Ground::new(Arc::clone(&manifest), &version)?)
            .await?
    {
        (serves, waits_for) = (false, PendingFor::Config);
    }
    outcome.status = if serves { UpdateStatus::Updated } else { waits_for.into() };
    // One that only waited is replaced; one that served stays among the versions kept.
    let only_waited = |old: &&VersionRecord| installed.plugin.awaits(&old.version) && old.served_at.is_none();
    let dropped = versions.iter().find(only_waited).map(|old| old.version.clone());
    let set_aside = replaced.filter(|old| !only_waited(old)).map(SetAside::of);
    if let Some(aside) = set_aside.as_ref().filter(|aside| aside.from == plugin.serving) {
        plugin.rename_serving(aside.to.clone());
        outcome.previous = aside.to.clone();
    }
    let (inherits, cause) = (Inherits::Carried(carries), Cause::Update);
    let change = Change { plugin, arrival, manifest, inherits, dropped, set_aside, cause };
    let done = if serves {
        take_over::take_over(service, caller, &mut changing, change, &outcome).await
    } else {
        change::record_pending(service, caller, &mut changing, change, waits_for, &outcome).await.map(|()| None)
    };
    // What was replaced, or came in vain.
    for digest in versions.iter().map(|version| version.digest).chain([version.digest]) {
        install::forget_content(service, digest).await?;
    }
    outcome.watched_until = done?;
    Ok(outcome)
}

/// A version from another signer waits, also where the serving one was not signed at all.
fn signer_changed(service: &Service, candidate: &Candidate, serving: &VersionRecord) -> bool {
    match candidate.archive.signer() {
        Signer::Trusted(key) => serving.key_id != Some(key.key.id()),
        Signer::Untrusted(id) => serving.key_id != Some(*id),
        Signer::Unsigned => serving.key_id.is_some() && service.config.security.signatures == SignaturePolicy::Required,
    }
}
