//! A version that is to serve, and the rows that say so.

use std::sync::Arc;

use plugbay_domain::{DataId, Digest, Manifest, Pending, PendingFor, Plugin, SignatureStatus, Snapshot, Standing};
use plugbay_registry::{Caller, PluginChange, Target};
use plugbay_store as store;
use plugbay_store::grants::GrantRecord;
use plugbay_store::plugins::{NewVersion, VersionRecord};
use plugbay_store::{StoreError, WriteTransaction};
use semver::Version;
use serde_json::{Value, json};

use crate::configuration::bind;
use crate::decisions::carry;
use crate::install::version_detail;
use crate::update::UpdateOutcome;
use crate::update::reinstated::reinstated;
use crate::update::replace::SetAside;
use crate::{Service, ServiceError, commands, requires, tools};

/// Where the version comes from.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Unpacked just now, without a row yet.
    New(NewVersion),
    /// One that waits, or served before and was kept.
    Kept(VersionRecord),
}

impl Arrival {
    pub(crate) fn record(&self) -> &VersionRecord {
        match self {
            Self::New(new) => &new.record,
            Self::Kept(record) => record,
        }
    }
}

/// What the version may do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inherits {
    /// What was decided about itself, and about the version before if that is named.
    Carried(Option<Digest>),
    /// What was decided about itself when it served, unless that was taken back since.
    Reinstated,
}

/// Why the version comes.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    /// It was sent, or everything that it waited for is there.
    Update,
    /// An operator goes back to it, with what was kept then or with what is kept now.
    Rollback(Option<Snapshot>),
}

/// A version that is to serve.
#[derive(Debug)]
pub(crate) struct Change {
    /// The plugin as it is.
    pub(crate) plugin: Plugin,
    pub(crate) arrival: Arrival,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) inherits: Inherits,
    /// A version that only waited, and is dropped.
    pub(crate) dropped: Option<Version>,
    /// A version that gives its number to this one. `plugin` names it as it is called once the change is recorded.
    pub(crate) set_aside: Option<SetAside>,
    pub(crate) cause: Cause,
}

impl Change {
    /// The version by its name, for people.
    pub(crate) fn version(&self) -> &Version {
        &self.arrival.record().version
    }

    /// The version that serves, as it is called until the change is recorded.
    pub(crate) fn serving(&self) -> &Version {
        let aside = self.set_aside.as_ref().filter(|aside| aside.to == self.plugin.serving);
        aside.map_or(&self.plugin.serving, |aside| &aside.from)
    }

    fn target(&self) -> Target<'_> {
        let carries = match self.inherits {
            Inherits::Carried(from) => from,
            Inherits::Reinstated => None,
        };
        Target { version: self.arrival.record(), manifest: &self.manifest, carries }
    }

    /// What it keeps is a copy of this.
    pub(crate) fn origin(&self) -> DataId {
        match &self.cause {
            Cause::Rollback(Some(snapshot)) => DataId { generation: snapshot.generation, ..self.plugin.data() },
            Cause::Update | Cause::Rollback(None) => self.plugin.data(),
        }
    }
}

/// What the version may do once it serves.
pub(crate) async fn standing_of(service: &Service, change: &Change) -> Result<Standing, ServiceError> {
    let (target, now) = (change.target(), service.now());
    let history = store::grants::history(&mut *service.store.reader().await?, change.plugin.id).await?;
    let open: Vec<GrantRecord> = history.iter().filter(|row| row.end.is_none()).cloned().collect();
    let mut held = target.held(&open, now);
    if matches!(change.inherits, Inherits::Reinstated) {
        held.extend(reinstated(&history, target.version.digest, now).into_iter().map(|row| (row.unit, row.decision)));
    }
    Ok(Standing::of(target.manifest, held.iter().map(|(unit, decision)| (unit, *decision))))
}

/// Lets a version serve by the rows. What it keeps is `data` from now on; what was kept before is a snapshot.
pub(crate) async fn commit(
    service: &Service,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
    change: &Change,
    outcome: &UpdateOutcome,
    data: DataId,
) -> Result<(), ServiceError> {
    let (mut plugin, now) = (change.plugin.clone(), service.now());
    let version = change.arrival.record();
    let mut tx = changing.begin().await?;
    let floor = store::floors::find(&mut tx, &plugin.name).await?;
    let (watched_until, floor) = (now.plus(service.config.update.watch), floor.map(|floor| floor.version));
    let snapshot = plugin.serve(version.version.clone(), data, watched_until, floor, now);
    requires::check_dependents_in(service, &mut tx, caller, &change.manifest).await?;
    commands::claim_commands(service, &mut tx, &plugin, &change.manifest).await?;
    tools::claim_names(service, &mut tx, &plugin, &change.manifest).await?;
    make_room(&mut tx, change).await?;
    store::plugins::note_served(&mut tx, plugin.id, &plugin.serving, now).await?;
    take_decisions_over(service, &mut tx, caller, &plugin, change).await?;
    if matches!(change.cause, Cause::Update) {
        let versions = store::plugins::list_versions(&mut tx, Some(plugin.id)).await?;
        let before = store::plugins::serving_of(&change.plugin, &versions);
        let before = before.ok_or_else(|| StoreError::missing("versions", &plugin.name))?;
        let manifests = (&*service.registry.manifest(before)?, &*change.manifest);
        bind::bind_to_update(service, &mut tx, plugin.id, &plugin.name, manifests).await?;
    }
    let signed = version.signature_status == SignatureStatus::Valid;
    // By the number that the author gave it: what a version is called that was set aside is not below others of its rank.
    store::floors::raise(&mut tx, &plugin.name, &change.manifest.version, signed).await?;
    store::configs::note_version(&mut tx, plugin.id).await?;
    store::snapshots::set(&mut tx, plugin.id, &snapshot).await?;
    prune(service, &mut tx, &plugin, &snapshot.version).await?;
    let action = match change.cause {
        Cause::Update => "plugin.updated",
        Cause::Rollback(_) => "plugin.rolled_back",
    };
    let mut detail = detail(change, outcome);
    if let Cause::Rollback(restored) = &change.cause {
        detail["data_of"] = json!(restored.as_ref().map(|snapshot| snapshot.taken_at));
    }
    changing.plugin = plugin;
    Ok(changing.commit(tx, action, detail).await?)
}

async fn take_decisions_over(
    _service: &Service,
    tx: &mut WriteTransaction,
    caller: &Caller,
    plugin: &Plugin,
    change: &Change,
) -> Result<(), ServiceError> {
    let target = change.target();
    let back = match change.inherits {
        Inherits::Carried(_) => Vec::new(),
        Inherits::Reinstated => {
            let history = store::grants::history(tx, plugin.id).await?;
            reinstated(&history, target.version.digest, plugin.updated_at)
        }
    };
    carry(tx, plugin, &target, &caller.token.to_string(), plugin.updated_at).await?;
    for mut row in back {
        store::grants::insert(tx, &mut row).await?;
    }
    Ok(())
}

/// Forgets versions beyond those that are kept to go back to.
async fn prune(
    service: &Service,
    tx: &mut WriteTransaction,
    plugin: &Plugin,
    before: &Version,
) -> Result<(), ServiceError> {
    let mut versions = store::plugins::list_versions(tx, Some(plugin.id)).await?;
    versions.retain(|version| version.version != plugin.serving);
    // The one before comes first by its name: two may have begun to serve within one tick of the clock.
    versions.sort_by_key(|version| (version.version != *before, std::cmp::Reverse(version.served_at)));
    let kept = service.config.update.keep_versions.saturating_sub(1);
    for old in versions.iter().skip(kept) {
        store::plugins::delete_version(tx, plugin.id, &old.version).await?;
    }
    Ok(())
}

/// Lets a version wait.
pub(crate) async fn record_pending(
    service: &Service,
    caller: &Caller,
    changing: &mut PluginChange<'_>,
    change: Change,
    waits_for: PendingFor,
    outcome: &UpdateOutcome,
) -> Result<(), ServiceError> {
    let mut plugin = change.plugin.clone();
    let version = change.arrival.record();
    let (version, signer_changed) = (version.version.clone(), outcome.signer_changed);
    plugin.wait_for(Pending { version, waits_for, signer_changed }, service.now());
    let mut tx = changing.begin().await?;
    make_room(&mut tx, &change).await?;
    carry(&mut tx, &plugin, &change.target(), &caller.token.to_string(), plugin.updated_at).await?;
    changing.plugin = plugin;
    Ok(changing.commit(tx, "plugin.update_pending", detail(&change, outcome)).await?)
}

/// The rows of the versions: what goes, what gives up its number, what comes.
async fn make_room(tx: &mut WriteTransaction, change: &Change) -> Result<(), ServiceError> {
    let plugin = change.plugin.id;
    if let Some(SetAside { from, to, digest }) = &change.set_aside {
        store::replaced::rename(tx, plugin, *digest, (from, to)).await?;
    }
    if let Some(dropped) = &change.dropped {
        store::plugins::delete_version(tx, plugin, dropped).await?;
    }
    if let Arrival::New(new) = &change.arrival {
        store::plugins::insert_version(tx, new).await?;
    }
    Ok(())
}

/// What the audit log tells about a version that serves or waits.
fn detail(change: &Change, outcome: &UpdateOutcome) -> Value {
    let mut detail = version_detail(change.arrival.record());
    if let Some(aside) = &change.set_aside {
        detail["replaced"] = json!(aside.digest);
    }
    detail["previous_version"] = json!(outcome.previous);
    detail["added"] = json!(outcome.growth.added);
    detail["signer_changed"] = json!(outcome.signer_changed);
    detail
}
