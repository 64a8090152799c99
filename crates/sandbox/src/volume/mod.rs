//! What plugins keep: the file system behind `/data`. Where the service is root it is an image of its own for each plugin,
//! mounted without programs and with a limit that nothing gets past; elsewhere a folder that is measured.
//!
//! Everything here blocks. The service calls it off the threads that answer requests; a session holds a [`VolumeLease`]
//! and gives it back when its sandbox is gone.

mod copy;
mod error;
mod folder;
mod image;
mod left_over;
mod tools;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::fs::statvfs;
use tracing::warn;

pub use error::VolumeError;
pub use folder::Measured;

use plugbay_domain::{Chain, DataId, PluginId};
use tools::Tools;

/// Free bytes below which a volume counts as full: less than any allocation takes.
const FULL: u64 = 64 * 1024;

/// What holds a plugin to its share of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataQuota {
    /// The file system: what is too much is not written.
    Hard,
    /// The service: it measures, and ends what keeps too much.
    Soft,
}

impl DataQuota {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }
}

/// Where `/data` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataMount {
    /// The folder on the machine.
    pub source: PathBuf,
    /// What limits it.
    pub quota: DataQuota,
}

/// Which volume, and how large.
#[derive(Clone, Copy, Debug)]
pub struct VolumeOrder {
    /// The volume.
    pub volume: DataId,
    /// The plugin's user.
    pub uid: u32,
    /// The most it may keep, in MiB.
    pub data_mb: u64,
}

/// How volumes are made on this machine.
#[derive(Debug)]
enum Means {
    /// As images.
    Images(Tools),
    /// As folders; the text says what images would need.
    Folders(String),
}

/// A volume that may be in use.
#[derive(Debug, Default)]
struct Slot {
    /// Sessions that have it: two while one takes the place of another.
    users: u32,
    /// What was in it when it was last looked at.
    used_bytes: Option<u64>,
    /// How its image was left.
    left: image::Left,
}

/// The volumes of a service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Volumes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    /// Where images are mounted, one folder for each.
    mounts: PathBuf,
    means: OnceLock<Means>,
    slots: Mutex<HashMap<DataId, Arc<Mutex<Slot>>>>,
    /// Whose volume went to whom since the start: a backup under way knows it by its old name.
    handed_over: Mutex<HashMap<DataId, DataId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Volumes {
    /// Volumes below `folder`, mounted below `run_dir` under the name of this `instance`. Touches nothing yet.
    pub fn new(folder: PathBuf, run_dir: &Path, instance: &str) -> Self {
        let mounts = std::path::absolute(run_dir).unwrap_or_else(|_no_current_folder| run_dir.to_owned());
        let mounts = mounts.join(left_over::folder_name(instance));
        Self(Arc::new(Shared {
            folder,
            mounts,
            means: OnceLock::new(),
            slots: Mutex::default(),
            handed_over: Mutex::default(),
        }))
    }

    /// As [`Volumes::new`], always as folders, as for a service that is not root.
    pub fn as_folders(folder: PathBuf, run_dir: &Path, instance: &str) -> Self {
        let made = Self::new(folder, run_dir, instance);
        let why = "the service was told to keep folders".to_owned();
        made.0.means.get_or_init(|| Means::Folders(why));
        made
    }

    /// Unmounts what a process of this service left that was killed.
    pub fn remove_left_overs(&self) -> io::Result<()> {
        left_over::unmount_all(&self.0.mounts)
    }

    fn means(&self) -> &Means {
        self.0.means.get_or_init(|| match image::try_out(&self.0.folder, &self.0.mounts) {
            Ok(tools) => Means::Images(tools),
            Err(why) => {
                warn!("Plugins' data have a soft quota, and programs in them can be started: {why}");
                Means::Folders(why)
            }
        })
    }

    /// What limits volumes on this machine, and what keeps it from more.
    pub fn quota(&self) -> (DataQuota, Option<&str>) {
        match self.means() {
            Means::Images(_) => (DataQuota::Hard, None),
            Means::Folders(why) => (DataQuota::Soft, Some(why)),
        }
    }

    /// Where a volume is or will be.
    pub fn mount_of(&self, volume: DataId) -> DataMount {
        match self.means() {
            Means::Images(_) => DataMount { source: self.mount_point(volume), quota: DataQuota::Hard },
            Means::Folders(_) => DataMount { source: self.folder_of(volume), quota: DataQuota::Soft },
        }
    }

    /// Makes a volume ready for one session.
    pub fn open(&self, order: VolumeOrder) -> Result<VolumeLease, VolumeError> {
        let slot = self.slot(order.volume);
        let mut slot = lock(&slot);
        match self.means() {
            Means::Images(tools) if slot.users == 0 => {
                let places = self.places(order.volume);
                image::open(tools, &places, order, std::mem::take(&mut slot.left))?;
            }
            Means::Images(_) => {}
            Means::Folders(why) => {
                let image = self.image_of(order.volume);
                if image.exists() {
                    return Err(VolumeError::NeedsImages { image, why: why.clone() });
                }
                folder::open(&self.folder_of(order.volume), order)?;
            }
        }
        slot.users += 1;
        let mount = self.mount_of(order.volume);
        let held = Held { volumes: self.clone(), order, mount, given_back: Mutex::new(false) };
        Ok(VolumeLease(Arc::new(held)))
    }

    fn close(&self, volume: DataId) {
        let slot = self.slot(volume);
        let mut slot = lock(&slot);
        slot.users = slot.users.saturating_sub(1);
        if slot.users > 0 {
            return;
        }
        if let Means::Images(tools) = self.means() {
            let places = self.places(volume);
            slot.used_bytes = usage(&places.mount_point).map(|(used, _free)| used).or(slot.used_bytes);
            match image::close(tools, &places) {
                Ok(left) => slot.left = left,
                // The next start looks again.
                Err(error) => warn!(%volume, error = %Chain(&error), "A volume could not be unmounted"),
            }
        }
    }

    /// What is in a volume now, or was when its last session ended; nothing is known of one that was not used yet.
    pub fn used_bytes(&self, volume: DataId, data_mb: u64) -> Option<u64> {
        match self.means() {
            Means::Folders(_) => Some(folder::measure(&self.folder_of(volume), data_mb).bytes()),
            Means::Images(_) => {
                let slot = self.slot(volume);
                let slot = lock(&slot);
                if slot.users == 0 {
                    return slot.used_bytes.or_else(|| (!self.image_of(volume).exists()).then_some(0));
                }
                usage(&self.mount_point(volume)).map(|(used, _free)| used)
            }
        }
    }

    /// Removes a volume, once the last of its sessions has given it back.
    pub fn remove(&self, volume: DataId) -> Result<(), VolumeError> {
        let slot = self.slot(volume);
        let places = self.places(volume);
        let began = Instant::now();
        let _slot = loop {
            let slot = lock(&slot);
            if slot.users == 0 {
                break slot;
            }
            if began.elapsed() > image::LET_GO {
                return Err(VolumeError::InUse { image: places.image });
            }
            drop(slot);
            thread::sleep(image::TICK);
        };
        for path in [&places.image, &places.image_in_the_making(), &places.folder] {
            remove(path).map_err(|source| VolumeError::file(error::REMOVE, path, source))?;
        }
        lock(&self.0.slots).remove(&volume);
        Ok(())
    }

    /// Gives what one plugin kept to another, which keeps nothing yet. Done already, it does nothing.
    pub fn hand_over(&self, from: DataId, to: DataId) -> Result<(), VolumeError> {
        lock(&self.0.handed_over).insert(from, to);
        let (from, to) = (self.places(from), self.places(to));
        for (old, new) in [(&from.image, &to.image), (&from.folder, &to.folder)] {
            match fs::rename(old, new) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(VolumeError::file("hand over", old, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every volume of one plugin that is on the disk.
    pub fn list(&self, plugin: PluginId) -> io::Result<Vec<DataId>> {
        Ok(self.list_all()?.into_iter().filter(|volume| volume.plugin == plugin).collect())
    }

    /// Every volume that is on the disk.
    pub fn list_all(&self) -> io::Result<Vec<DataId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0.folder)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let stem = [".img", ".new"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
            found.extend(stem.parse::<DataId>());
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Which volume it is now that was this one.
    fn now_of(&self, volume: DataId) -> DataId {
        if self.places(volume).image.exists() {
            return volume;
        }
        lock(&self.0.handed_over).get(&volume).copied().unwrap_or(volume)
    }

    fn slot(&self, volume: DataId) -> Arc<Mutex<Slot>> {
        Arc::clone(lock(&self.0.slots).entry(volume).or_default())
    }

    fn folder_of(&self, volume: DataId) -> PathBuf {
        self.0.folder.join(volume.to_string())
    }

    fn image_of(&self, volume: DataId) -> PathBuf {
        self.0.folder.join(format!("{volume}.img"))
    }

    fn mount_point(&self, volume: DataId) -> PathBuf {
        self.0.mounts.join(volume.to_string())
    }

    fn places(&self, volume: DataId) -> image::Places {
        image::Places {
            image: self.image_of(volume),
            folder: self.folder_of(volume),
            mount_point: self.mount_point(volume),
        }
    }
}

/// Bytes used and free in a mounted volume.
fn usage(mount_point: &Path) -> Option<(u64, u64)> {
    let found = statvfs(mount_point).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some((bytes(found.f_blocks.saturating_sub(found.f_bfree)), bytes(found.f_bavail)))
}

fn remove(path: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A session's hold on its volume.
#[derive(Clone, Debug)]
pub struct VolumeLease(Arc<Held>);

#[derive(Debug)]
struct Held {
    volumes: Volumes,
    order: VolumeOrder,
    mount: DataMount,
    given_back: Mutex<bool>,
}

impl VolumeLease {
    /// Where `/data` comes from.
    pub fn mount(&self) -> &DataMount {
        &self.0.mount
    }

    /// The most that may be kept, in MiB.
    pub fn data_mb(&self) -> u64 {
        self.0.order.data_mb
    }

    /// What is in it, as far as the limit asks: for the service to hold a plugin to it.
    pub fn measure(&self) -> Measured {
        folder::measure(&self.0.mount.source, self.0.order.data_mb)
    }

    /// Whether nothing more can be written.
    pub fn is_full(&self) -> bool {
        match self.0.mount.quota {
            DataQuota::Hard => usage(&self.0.mount.source).is_some_and(|(_used, free)| free < FULL),
            DataQuota::Soft => false,
        }
    }

    /// Gives it back, once the sandbox is gone. Whoever is the last to do so unmounts it.
    pub fn give_back(&self) {
        self.0.give_back();
    }
}

impl Held {
    fn give_back(&self) {
        let mut given_back = lock(&self.given_back);
        if !std::mem::replace(&mut *given_back, true) {
            self.volumes.close(self.order.volume);
        }
    }
}

/// What nobody gave back in order, such as a start that was given up, blocks whoever drops it.
impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests;
