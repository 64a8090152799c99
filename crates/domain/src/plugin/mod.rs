//! A plugin that is installed: what an administrator wants of it, which version serves, and what becomes of others.
//!
//! ```text
//!             wait_for ┌─────────────────┐ wait_for_config
//!          ┌──────────▶│ B waits         │──────────┐
//!          │           │ for approval    │◀─ undo ─ B waits for a configuration
//!          │           └─────────────────┘          │
//!     A serves ─────────────── serve ◀──────────────┘
//!          ▲                     │
//!          │ undo                ▼        keep
//!          └───────────── B serves, watched ─────▶ B serves
//! ```
//!
//! Whether it runs is another matter (`session`, `fleet`); here stands what is wanted and what was decided.

#[cfg(test)]
mod tests;
mod update;

use std::ops::Deref;

use semver::Version;

use super::{DataId, PendingFor, PluginId, PluginName, PluginStatus, Quarantine, QuarantineReason, Timestamp};

pub use update::{LastUpdate, Update, UpdateFailure, UpdateState};

/// Everything that is recorded of a plugin itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRecord {
    /// Its id.
    pub id: PluginId,
    /// Its name.
    pub name: PluginName,
    /// What the administrator wants.
    pub status: PluginStatus,
    /// The version that serves.
    pub serving: Version,
    /// A version that waits.
    pub pending: Option<Pending>,
    /// Set while the service holds the plugin back.
    pub quarantine: Option<Quarantine>,
    /// Which copy of what it keeps is its own.
    pub generation: u32,
    /// What became of the last update.
    pub last_update: Option<LastUpdate>,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// When anything about it changed.
    pub updated_at: Timestamp,
}

/// A version that does not serve yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The version.
    pub version: Version,
    /// What it waits for.
    pub waits_for: PendingFor,
    /// It comes from another signer than the version that serves.
    pub signer_changed: bool,
}

/// What a plugin kept when another version took over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The generation that holds it.
    pub generation: u32,
    /// The version that had kept it.
    pub version: Version,
    /// When.
    pub taken_at: Timestamp,
}

/// An update that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The version that served.
    pub version: Version,
    /// What the floor of the name is then, if it changes.
    pub floor: Option<Version>,
}

/// A plugin. Its record can be read; only the methods here write it, so that what belongs together changes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin(PluginRecord);

impl From<PluginRecord> for Plugin {
    fn from(record: PluginRecord) -> Self {
        Self(record)
    }
}

impl Deref for Plugin {
    type Target = PluginRecord;

    fn deref(&self) -> &PluginRecord {
        &self.0
    }
}

impl Plugin {
    /// A plugin that was just installed.
    pub fn new(name: PluginName, serving: Version, now: Timestamp) -> Self {
        Self(PluginRecord {
            id: PluginId::generate(),
            name,
            status: PluginStatus::Installed,
            serving,
            pending: None,
            quarantine: None,
            generation: 0,
            last_update: None,
            installed_at: now,
            updated_at: now,
        })
    }

    /// What it keeps.
    pub fn data(&self) -> DataId {
        DataId { plugin: self.id, generation: self.generation }
    }

    /// An administrator wants it to run.
    pub fn is_enabled(&self) -> bool {
        self.status == PluginStatus::Enabled
    }

    /// It is wanted, and the service does not hold it back.
    pub fn should_run(&self) -> bool {
        self.is_enabled() && self.quarantine.is_none()
    }

    /// Tells whether this version waits.
    pub fn awaits(&self, version: &Version) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.version == *version)
    }

    /// The version that waits comes from another signer.
    pub fn signer_changed(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.signer_changed)
    }

    /// Is to run from now on. What held it back is over.
    pub fn enable(&mut self, now: Timestamp) {
        self.0.quarantine = None;
        self.want(PluginStatus::Enabled, now);
    }

    /// Is not to run.
    pub fn disable(&mut self, now: Timestamp) {
        self.want(PluginStatus::Disabled, now);
    }

    /// Takes a wish back to the one of before.
    pub fn want(&mut self, status: PluginStatus, now: Timestamp) {
        self.0.status = status;
        self.0.updated_at = now;
    }

    /// Is held back until the cause is gone.
    pub fn quarantine(&mut self, reason: QuarantineReason, now: Timestamp) {
        self.0.quarantine = Some(Quarantine { reason, since: now });
        self.0.updated_at = now;
    }

    /// Is not held back any more.
    pub fn release(&mut self, now: Timestamp) {
        self.0.quarantine = None;
        self.0.updated_at = now;
    }

    /// Lets a version wait, in the place of another one that waited.
    pub fn wait_for(&mut self, pending: Pending, now: Timestamp) {
        self.0.pending = Some(pending);
        self.0.updated_at = now;
    }

    /// Everything about the version that waits was decided; only its configuration is missing.
    pub fn wait_for_config(&mut self, now: Timestamp) {
        if let Some(pending) = &mut self.0.pending {
            pending.waits_for = PendingFor::Config;
            self.0.updated_at = now;
        }
    }

    /// Forgets the version that waits.
    pub fn drop_pending(&mut self) {
        self.0.pending = None;
    }

    /// The version that serves gives its number to another one, and is called `to`.
    pub fn rename_serving(&mut self, to: Version) {
        self.0.serving = to;
    }

    /// Lets a version serve, with this copy of what is kept, watched until then. What was kept before is a snapshot.
    pub fn serve(
        &mut self,
        version: Version,
        data: DataId,
        watched_until: Timestamp,
        floor_before: Option<Version>,
        now: Timestamp,
    ) -> Snapshot {
        let previous = std::mem::replace(&mut self.0.serving, version.clone());
        let snapshot = Snapshot { generation: self.generation, version: previous.clone(), taken_at: now };
        let update = Update::Watched { floor_before };
        self.0.last_update = Some(LastUpdate { version, previous, at: now, watched_until, update });
        self.0.pending = None;
        // The quarantine belonged to the replaced version.
        self.0.quarantine = None;
        self.0.generation = data.generation;
        self.0.updated_at = now;
        snapshot
    }

    /// The version that is watched serves for good. False if none is watched.
    pub fn keep(&mut self) -> bool {
        match &mut self.0.last_update {
            Some(LastUpdate { update: update @ Update::Watched { .. }, .. }) => {
                *update = Update::Kept;
                true
            }
            _ => false,
        }
    }

    /// Goes back from the version that is watched to the one of the snapshot, with what it had kept. None if no version
    /// is watched.
    pub fn undo(&mut self, to: &Snapshot, why: UpdateFailure, now: Timestamp) -> Option<Undone> {
        let last = self.0.last_update.as_mut()?;
        let Update::Watched { .. } = last.update else { return None };
        let undone = Undone { version: last.version.clone(), floor: last.update.floor_after(&to.version).cloned() };
        last.update = Update::RolledBack { why, at: now, data_of: Some(to.taken_at) };
        self.0.serving = to.version.clone();
        self.0.generation = to.generation;
        if let Some(pending) = &mut self.0.pending {
            // It was compared with the version that ended: it may ask for more than this one has.
            pending.waits_for = PendingFor::Approval;
        }
        self.0.updated_at = now;
        Some(undone)
    }

    /// Notes that a version was tried in vain. False while an update is watched, which goes by what was noted then.
    pub fn note_failure(&mut self, tried: Version, why: UpdateFailure, now: Timestamp) -> bool {
        if self.last_update.as_ref().is_some_and(|last| last.state_at(now) == UpdateState::Watched) {
            return false;
        }
        let update = Update::RolledBack { why, at: now, data_of: None };
        let previous = self.serving.clone();
        self.0.last_update = Some(LastUpdate { version: tried, previous, at: now, watched_until: now, update });
        true
    }
}
