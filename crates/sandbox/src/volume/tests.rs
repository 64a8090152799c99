//! Volumes on the real machine. Images need root; what does is left out elsewhere.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::*;
use plugbay_domain::{Code, Refusal as _};

const UID: u32 = 200_321;

fn new_volume() -> DataId {
    DataId { plugin: PluginId::generate(), generation: 0 }
}

struct Place {
    folder: tempfile::TempDir,
    instance: String,
    volume: DataId,
}

impl Place {
    /// `None` where images cannot be had, with the reason.
    fn new() -> Option<Self> {
        let place = Self::anywhere();
        let volumes = place.volumes();
        let (quota, why) = volumes.quota();
        if quota == DataQuota::Soft {
            assert!(!may_mount(), "root has no images: {why:?}");
            return None;
        }
        Some(place)
    }

    fn anywhere() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("volumes")).unwrap();
        Self { folder, instance: uuid::Uuid::now_v7().simple().to_string(), volume: new_volume() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn volumes(&self) -> Volumes {
        Volumes::new(self.path("volumes"), &self.path("run"), &self.instance)
    }

    fn folders(&self) -> Volumes {
        Volumes::as_folders(self.path("volumes"), &self.path("run"), &self.instance)
    }

    fn order(&self, data_mb: u64) -> VolumeOrder {
        VolumeOrder { volume: self.volume, uid: UID, data_mb }
    }

    fn image(&self) -> PathBuf {
        self.path("volumes").join(format!("{}.img", self.volume))
    }

    /// Nothing of the volumes is mounted or has a device.
    fn expect_nothing_left(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.instance), "{mounts}");
        assert!(!self.path("run").join(left_over::folder_name(&self.instance)).exists());
        assert!(!left_over::is_attached(&self.image()).unwrap());
    }
}

/// Root of the machine, not of a container without the right to mount.
fn may_mount() -> bool {
    const SYS_ADMIN: u64 = 1 << 21;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    rustix::process::geteuid().is_root() && u64::from_str_radix(capabilities.trim(), 16).unwrap() & SYS_ADMIN != 0
}

fn fill(path: &Path) -> std::io::Error {
    let mut file = fs::File::create(path).unwrap();
    let block = vec![7; 64 * 1024];
    loop {
        if let Err(error) = file.write_all(&block) {
            return error;
        }
    }
}

#[test]
fn a_full_image_refuses_more_and_keeps_what_it_has() {
    let Some(place) = Place::new() else { return };
    let volumes = place.volumes();
    let lease = volumes.open(place.order(16)).unwrap();
    let source = &lease.mount().source;
    let metadata = fs::metadata(source).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (UID, UID, 0o700));
    assert_eq!(fs::read_dir(source).unwrap().count(), 0, "nothing but what the plugin writes");
    assert!(fs::metadata(place.image()).unwrap().blocks() * 512 < 1 << 20, "nothing written takes little");
    assert!(!lease.is_full());
    assert_eq!(fill(&source.join("big")).kind(), ErrorKind::StorageFull);
    assert!(lease.is_full());
    let used = volumes.used_bytes(place.volume, 16).unwrap();
    assert!((15 << 20..=16 << 20).contains(&used), "{used}");
    assert!(fs::metadata(place.image()).unwrap().blocks() * 512 <= 16 << 20);
    // Two sessions have it while one takes the place of the other.
    let second = volumes.open(place.order(16)).unwrap();
    lease.give_back();
    lease.give_back();
    assert!(second.mount().source.join("big").exists());
    drop(second);
    place.expect_nothing_left();
    assert_eq!(volumes.used_bytes(place.volume, 16), Some(used), "known from the last session");
    let again = volumes.open(place.order(16)).unwrap();
    assert!(again.mount().source.join("big").exists());
    drop((again, lease));
    place.expect_nothing_left();
}

#[test]
fn inodes_end_too() {
    let Some(place) = Place::new() else { return };
    let lease = place.volumes().open(place.order(16)).unwrap();
    let source = &lease.mount().source;
    let failed = (0..3_000).find_map(|number| fs::write(source.join(number.to_string()), "").err());
    assert_eq!(failed.unwrap().kind(), ErrorKind::StorageFull);
    assert!(fs::read_dir(source).unwrap().count() > 2_000);
}

#[test]
fn an_image_grows_and_shrinks_with_what_is_in_it() {
    let Some(place) = Place::new() else { return };
    let volumes = place.volumes();
    let text = vec![b'x'; 6 << 20];
    let lease = volumes.open(place.order(16)).unwrap();
    fs::write(lease.mount().source.join("kept"), &text).unwrap();
    drop(lease);
    for data_mb in [64, 8, 16, 200, 7] {
        let lease = volumes.open(place.order(data_mb)).unwrap();
        assert!(fs::read(lease.mount().source.join("kept")).unwrap() == text, "{data_mb}");
        assert_eq!(fs::metadata(place.image()).unwrap().len(), data_mb << 20);
        let free = usage(&lease.mount().source).unwrap().1;
        assert!(free < data_mb << 20 && free + (7 << 20) > (data_mb << 20) * 9 / 10, "{data_mb}: {free}");
    }
    let error = volumes.open(place.order(5)).unwrap_err();
    assert_eq!(error.code(), Code::QuotaExceeded, "{error}");
    assert!(error.to_string().contains("5 MiB"), "{error}");
    assert_eq!(fs::read_dir(place.path("volumes")).unwrap().count(), 1, "no copy is left");
    let lease = volumes.open(place.order(7)).unwrap();
    assert!(fs::read(lease.mount().source.join("kept")).unwrap() == text);
    drop(lease);
    place.expect_nothing_left();
}

#[test]
fn a_damaged_image_is_told_and_kept() {
    let Some(place) = Place::new() else { return };
    let volumes = place.volumes();
    drop(volumes.open(place.order(16)).unwrap());
    let mut bytes = fs::read(place.image()).unwrap();
    bytes[..1 << 20].fill(0xa5);
    fs::write(place.image(), &bytes).unwrap();
    let error = volumes.open(place.order(16)).unwrap_err();
    assert!(matches!(error, VolumeError::Damaged { .. }), "{error}");
    assert_eq!(error.code(), Code::DataUnavailable);
    assert!(error.how().unwrap().contains("e2fsck"), "{error}");
    assert!(fs::read(place.image()).unwrap() == bytes, "untouched");
    place.expect_nothing_left();
}

#[test]
fn an_image_that_is_still_in_use_is_not_mounted_twice() {
    let Some(place) = Place::new() else { return };
    let first = place.volumes().open(place.order(16)).unwrap();
    let (other, order) = (place.volumes(), place.order(16));
    let second = std::thread::spawn(move || other.open(order));
    std::thread::sleep(std::time::Duration::from_millis(300));
    fs::write(first.mount().source.join("last"), "x").unwrap();
    drop(first);
    let second = second.join().unwrap().unwrap();
    assert_eq!(fs::read_to_string(second.mount().source.join("last")).unwrap(), "x");
}

#[test]
fn what_a_folder_held_is_moved_into_the_image_or_stays() {
    let Some(place) = Place::new() else { return };
    let lease = place.folders().open(place.order(16)).unwrap();
    let folder = lease.mount().source.clone();
    assert_eq!((lease.mount().quota, fs::metadata(&folder).unwrap().uid()), (DataQuota::Soft, UID));
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    fs::write(folder.join("deep/er/file"), vec![b'x'; 3 << 20]).unwrap();
    std::os::unix::fs::chown(folder.join("deep/er/file"), Some(UID), Some(UID)).unwrap();
    fs::set_permissions(folder.join("deep/er/file"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", folder.join("link")).unwrap();
    drop(lease);
    let volumes = place.volumes();
    volumes.open(place.order(2)).unwrap_err();
    assert!(folder.join("deep/er/file").exists() && !place.image().exists(), "it does not fit, and stays");
    let lease = volumes.open(place.order(16)).unwrap();
    let source = &lease.mount().source;
    let file = fs::metadata(source.join("deep/er/file")).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o7777, file.len()), (UID, 0o640, 3 << 20));
    assert_eq!(fs::read_link(source.join("link")).unwrap(), Path::new("/etc/shadow"));
    assert!(!folder.exists() && place.image().exists());
    drop(lease);
    // A service that may not mount does not begin anew beside it.
    let error = place.folders().open(place.order(16)).unwrap_err();
    assert!(matches!(error, VolumeError::NeedsImages { .. }), "{error}");
}

#[test]
fn what_a_killed_service_left_is_unmounted() {
    let Some(place) = Place::new() else { return };
    let killed = place.volumes();
    let lease = killed.open(place.order(16)).unwrap();
    fs::write(lease.mount().source.join("kept"), "x").unwrap();
    let volumes = place.volumes();
    volumes.remove_left_overs().unwrap();
    place.expect_nothing_left();
    let again = volumes.open(place.order(16)).unwrap();
    assert_eq!(fs::read_to_string(again.mount().source.join("kept")).unwrap(), "x");
    drop(again);
    place.expect_nothing_left();
    drop(lease);
}

#[test]
fn volumes_are_handed_over_and_removed() {
    let place = Place::anywhere();
    let (volumes, other) = (place.volumes(), new_volume());
    let lease = volumes.open(place.order(16)).unwrap();
    fs::write(lease.mount().source.join("kept"), "x").unwrap();
    drop(lease);
    volumes.hand_over(place.volume, other).unwrap();
    volumes.hand_over(place.volume, other).unwrap();
    let lease = volumes.open(VolumeOrder { volume: other, ..place.order(16) }).unwrap();
    assert_eq!(fs::read_to_string(lease.mount().source.join("kept")).unwrap(), "x");
    drop(lease);
    volumes.remove(other).unwrap();
    volumes.remove(other).unwrap();
    assert_eq!(fs::read_dir(place.path("volumes")).unwrap().count(), 0);
    place.expect_nothing_left();
}

/// A fork has what was there when it was made, and each goes its own way.
fn expect_forked(place: &Place, volumes: &Volumes) {
    let next = DataId { generation: place.volume.generation + 1, ..place.volume };
    let (old, order) = (volumes.open(place.order(16)).unwrap(), VolumeOrder { volume: next, ..place.order(16) });
    let inside = |lease: &VolumeLease, name: &str| lease.mount().source.join(name);
    fs::create_dir(inside(&old, "folder")).unwrap();
    fs::write(inside(&old, "folder/kept"), "before").unwrap();
    fs::set_permissions(inside(&old, "folder/kept"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", inside(&old, "link")).unwrap();
    volumes.fork(place.volume, next).unwrap();
    fs::write(inside(&old, "folder/kept"), "after").unwrap();
    let new = volumes.open(order).unwrap();
    assert_eq!(fs::read_to_string(inside(&new, "folder/kept")).unwrap(), "before");
    assert_eq!(fs::metadata(inside(&new, "folder/kept")).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs::read_link(inside(&new, "link")).unwrap(), Path::new("/etc/hostname"));
    fs::write(inside(&new, "new"), "").unwrap();
    assert!(!inside(&old, "new").exists());
    assert_eq!(volumes.list(place.volume.plugin).unwrap(), [place.volume, next]);
    assert_eq!(volumes.list(PluginId::generate()).unwrap(), []);
    drop((old, new));
    volumes.remove(next).unwrap();
    assert_eq!(volumes.list_all().unwrap(), [place.volume]);
}

#[test]
fn a_volume_in_use_is_forked() {
    let Some(place) = Place::new() else { return };
    expect_forked(&place, &place.volumes());
    place.expect_nothing_left();
}

#[test]
fn a_folder_is_forked() {
    let place = Place::anywhere();
    expect_forked(&place, &place.folders());
}

#[test]
fn a_fork_of_nothing_begins_empty_and_takes_the_place_of_what_was_there() {
    let place = Place::anywhere();
    let (volumes, next) = (place.volumes(), DataId { generation: 1, ..place.volume });
    let lease = volumes.open(VolumeOrder { volume: next, ..place.order(16) }).unwrap();
    fs::write(lease.mount().source.join("left"), "").unwrap();
    drop(lease);
    volumes.fork(place.volume, next).unwrap();
    let lease = volumes.open(VolumeOrder { volume: next, ..place.order(16) }).unwrap();
    assert_eq!(fs::read_dir(&lease.mount().source).unwrap().count(), 0);
}

#[test]
fn a_folder_is_measured_to_its_limit_and_not_further() {
    let place = Place::anywhere();
    let volumes = place.folders();
    let lease = volumes.open(place.order(1)).unwrap();
    let source = lease.mount().source.clone();
    assert_eq!(lease.measure(), Measured::Within { bytes: 0 });
    fs::write(source.join("half"), vec![0; 512 << 10]).unwrap();
    assert_eq!(lease.measure(), Measured::Within { bytes: 512 << 10 });
    // A hole takes nothing.
    fs::File::create(source.join("hole")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(lease.measure(), Measured::Within { bytes: 512 << 10 });
    fs::create_dir(source.join("folder")).unwrap();
    fs::write(source.join("folder/more"), vec![0; 600 << 10]).unwrap();
    assert!(matches!(lease.measure(), Measured::Beyond { what, .. } if what == "more than 1 MiB"));
    drop(lease);
    let error = volumes.open(place.order(1)).unwrap_err();
    assert!(matches!(error, VolumeError::OverQuota { .. }), "{error}");
    fs::remove_dir_all(source.join("folder")).unwrap();
    let lease = volumes.open(place.order(1)).unwrap();
    for number in 0..200 {
        fs::write(source.join(number.to_string()), "").unwrap();
    }
    assert!(matches!(lease.measure(), Measured::Beyond { what, .. } if what == "more than 128 files and folders"));
}
