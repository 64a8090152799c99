//! A volume as a file system in a file: made, checked, made anew in another size, mounted. What is in it was written by a plugin, but only
//! through the kernel; the image itself is the service's.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::tools::{Done, Tools, run};
use super::{VolumeError, VolumeOrder, left_over, remove};

/// No program in it is started, no device opened, no user changed; reading writes nothing.
const OPTIONS: &str = "loop,noexec,nosuid,nodev,noatime,errors=remount-ro";

/// Bytes of disk for each inode: enough for many small files, at 3 % of the space.
pub(super) const BYTES_PER_INODE: u64 = 8_192;

/// Longest wait for a sandbox that ended to let go of its volume.
pub(super) const LET_GO: Duration = Duration::from_secs(10);

/// How often that is looked at, and an unmount tried again.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Longest time in which an unmount is tried again.
const UNMOUNT: Duration = Duration::from_secs(2);

/// What mkfs.ext4 says of content that is too large.
const NO_ROOM: &str = "Could not allocate";

/// e2fsck's exit codes up to here mean that all is well now.
const MENDED: i32 = 2;

/// Where the parts of a volume are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) image: PathBuf,
    /// What a service that was not root left.
    pub(super) folder: PathBuf,
    pub(super) mount_point: PathBuf,
}

impl Places {
    /// What takes the image's place when it is complete.
    pub(super) fn image_in_the_making(&self) -> PathBuf {
        self.image.with_extension("new")
    }
}

fn good(action: &'static str, path: &Path, done: io::Result<Done>) -> Result<(), VolumeError> {
    match done {
        Ok(done) if done.is_good() => Ok(()),
        Ok(Done { code, said }) => {
            let said = if said.is_empty() { format!("exit code {code:?}") } else { said };
            Err(VolumeError::Program { action, path: path.to_owned(), said })
        }
        Err(source) => Err(VolumeError::file(action, path, source)),
    }
}

/// Finds out by trying whether this machine lets the service have images; else says what is missing.
pub(super) fn try_out(folder: &Path, mounts: &Path) -> Result<Tools, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the service is not root".to_owned());
    }
    let tools = Tools::find()?;
    let name = format!("trial-{}", uuid::Uuid::now_v7().simple());
    let places = Places {
        image: folder.join(format!("{name}.img")),
        folder: folder.join(&name),
        mount_point: mounts.join(&name),
    };
    let tried =
        make(&tools, &places, 1).and_then(|()| mount(&tools, &places, "rw")).and_then(|()| close(&tools, &places));
    let removed = remove(&places.image).and_then(|()| remove(&places.image_in_the_making()));
    tried.map_err(|error| format!("a trial failed: {}", plugbay_domain::Chain(&error)))?;
    removed.map_err(|error| format!("a trial could not be removed: {error}"))?;
    Ok(tools)
}

/// How an image was left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing is known.
    #[default]
    Unknown,
    /// This process has unmounted it, and nobody else had it. Who has changed it since has changed this time.
    Sound(SystemTime),
}

/// Makes the volume if needed, gives it its size, and mounts it.
pub(super) fn open(tools: &Tools, places: &Places, order: VolumeOrder, left: Left) -> Result<(), VolumeError> {
    let Places { image, folder, mount_point } = places;
    // A second loop device on the same image would destroy it.
    let_go(image)?;
    let file_error = |action, path: &Path| {
        let path = path.to_owned();
        move |source| VolumeError::File { action, path, source }
    };
    let unfinished = places.image_in_the_making();
    remove(&unfinished).map_err(file_error("remove", &unfinished))?;
    let bytes = order.data_mb.saturating_mul(1 << 20);
    match fs::metadata(image) {
        Ok(found) => {
            if !found.modified().is_ok_and(|modified| left == Left::Sound(modified)) {
                check(tools, image)?;
            }
            if found.len() != bytes {
                resize(tools, places, order.data_mb)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(tools, places, order.data_mb)?,
        Err(error) => return Err(file_error("look at", image)(error)),
    }
    // It is in the image, which took its name when it was complete.
    remove(folder).map_err(file_error("remove", folder))?;
    mount(tools, places, "rw")?;
    let settled = settle(mount_point, order.uid).map_err(file_error("give to its plugin", mount_point));
    settled.inspect_err(|_| {
        close(tools, places).ok();
    })
}

/// The volume belongs to the plugin's user alone.
fn settle(mount_point: &Path, uid: u32) -> io::Result<()> {
    // The file system's own; e2fsck makes it again when it needs it, and what is in it is kept.
    fs::remove_dir(mount_point.join("lost+found")).ok();
    chown(mount_point, Some(uid), Some(uid))?;
    fs::set_permissions(mount_point, Permissions::from_mode(0o700))
}

/// Makes a file system with what a folder holds, if there is one. It has no name yet by which it would be found.
fn build(tools: &Tools, places: &Places, data_mb: u64, content: Option<&Path>) -> Result<(), VolumeError> {
    let unfinished = places.image_in_the_making();
    let file_error = |source| VolumeError::file("make", &unfinished, source);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(file_error)?;
    // Nothing is on the disk yet but the promise.
    file.set_len(data_mb.saturating_mul(1 << 20)).map_err(file_error)?;
    let ratio = BYTES_PER_INODE.to_string();
    let mut arguments: Vec<&OsStr> = ["-q", "-F", "-m", "0", "-b", "4096", "-I", "256", "-i", &ratio]
        .into_iter()
        .chain(["-O", "^has_journal,^resize_inode"])
        .map(OsStr::new)
        .collect();
    if let Some(folder) = content {
        arguments.extend([OsStr::new("-d"), folder.as_os_str()]);
    }
    arguments.push(unfinished.as_os_str());
    let made = good("make a file system in", &unfinished, run(&tools.make, &arguments));
    let made = made.map_err(|error| match error {
        VolumeError::Program { said, .. } if content.is_some() && said.contains(NO_ROOM) => {
            VolumeError::TooSmall { data_mb }
        }
        other => other,
    });
    made.and_then(|()| file.sync_all().map_err(file_error))
}

/// Lets what was built be found, or removes what could not be.
fn finish(places: &Places, built: Result<(), VolumeError>) -> Result<(), VolumeError> {
    let unfinished = places.image_in_the_making();
    let named = built.and_then(|()| {
        let renamed = fs::rename(&unfinished, &places.image);
        renamed.map_err(|source| VolumeError::file("name", &unfinished, source))
    });
    named.inspect_err(|_| {
        remove(&unfinished).ok();
    })
}

/// Makes the first image of a volume.
fn make(tools: &Tools, places: &Places, data_mb: u64) -> Result<(), VolumeError> {
    let content = Some(places.folder.as_path()).filter(|folder| folder.is_dir());
    finish(places, build(tools, places, data_mb, content))
}

/// Makes an image of another size from one that is there, which stays until the other is complete.
fn resize(tools: &Tools, places: &Places, data_mb: u64) -> Result<(), VolumeError> {
    mount(tools, places, "ro")?;
    let built = build(tools, places, data_mb, Some(&places.mount_point));
    let built = close(tools, places).and(built);
    let_go(&places.image).and_then(|()| finish(places, built))
}

/// Makes sure that the file system is sound: without a journal, a machine that lost its power leaves it otherwise.
fn check(tools: &Tools, image: &Path) -> Result<(), VolumeError> {
    let done = run(&tools.check, &[OsStr::new("-p"), image.as_os_str()]);
    let Done { code, said } = done.map_err(|source| VolumeError::file("check", image, source))?;
    if code.is_some_and(|code| (0..=MENDED).contains(&code)) {
        return Ok(());
    }
    Err(VolumeError::Damaged { image: image.to_owned(), said })
}

fn mount(tools: &Tools, places: &Places, access: &str) -> Result<(), VolumeError> {
    let Places { image, mount_point, .. } = places;
    make_mount_point(mount_point).map_err(|source| VolumeError::file("make", mount_point, source))?;
    let options = format!("{OPTIONS},{access}");
    let arguments = ["-t", "ext4", "-o", &options].map(OsStr::new);
    let arguments = [&arguments[..], &[image.as_os_str(), mount_point.as_os_str()]].concat();
    good("mount", image, run(&tools.mount, &arguments)).inspect_err(|_| {
        remove_mount_point(mount_point).ok();
    })
}

/// Unmounts it. Its loop device goes with the last mount, also of a sandbox that has not let go yet.
pub(super) fn close(tools: &Tools, places: &Places) -> Result<Left, VolumeError> {
    let Places { image, mount_point, .. } = places;
    let began = Instant::now();
    let is_ours = loop {
        let done = good("unmount", image, run(&tools.unmount, &[mount_point.as_os_str()]));
        match done {
            Ok(()) => break true,
            Err(_busy) if began.elapsed() < UNMOUNT => thread::sleep(TICK),
            // Out of sight; the next start waits until nobody uses it.
            Err(_busy) => {
                let lazily = [OsStr::new("-l"), mount_point.as_os_str()];
                good("unmount", image, run(&tools.unmount, &lazily))?;
                break false;
            }
        }
    };
    remove_mount_point(mount_point).map_err(|source| VolumeError::file("remove", mount_point, source))?;
    // A sandbox that still has it may write on.
    let is_attached = left_over::is_attached(image).map_err(|source| VolumeError::file("look at", image, source))?;
    let modified = fs::metadata(image).and_then(|found| found.modified()).ok();
    Ok(modified.filter(|_| is_ours && !is_attached).map_or(Left::Unknown, Left::Sound))
}

fn make_mount_point(path: &Path) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            // The folder around it was removed just then, with another volume of the service.
            Err(error) if error.kind() == io::ErrorKind::NotFound && began.elapsed() < UNMOUNT => {}
            other => return other,
        }
    }
}

fn remove_mount_point(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)?;
    if let Some(parent) = path.parent() {
        // Others may be there.
        fs::remove_dir(parent).ok();
    }
    Ok(())
}

/// Waits until no loop device has the image.
pub(super) fn let_go(image: &Path) -> Result<(), VolumeError> {
    let began = Instant::now();
    while left_over::is_attached(image).map_err(|source| VolumeError::file("look at the users of", image, source))? {
        if began.elapsed() > LET_GO {
            return Err(VolumeError::InUse { image: image.to_owned() });
        }
        thread::sleep(TICK);
    }
    Ok(())
}
