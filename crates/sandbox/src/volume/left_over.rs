//! What a killed service leaves: mounts, and loop devices behind them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use tracing::info;

use super::copy::thaw;
use super::tools::{Tools, find, run};

/// Begins the name of the folder in which a service mounts its volumes.
const PREFIX: &str = "volumes-";

/// The folder in which the service `instance` mounts its volumes; no other service has one of that name.
pub(super) fn folder_name(instance: &str) -> String {
    format!("{PREFIX}{instance}")
}

/// Unmounts every volume in a folder of that name, also where the service had another `run_dir` before.
pub(super) fn unmount_all(mounts: &Path) -> io::Result<()> {
    let name = mounts.file_name().unwrap_or_default();
    let left = fs::read("/proc/self/mountinfo").map(|text| mounted_below(&text, name))?;
    for mount_point in &left {
        info!(path = %mount_point.display(), "Unmounting `{}`, which is left over", mount_point.display());
        let tools = Tools::find().map_err(io::Error::other)?;
        // A service that was killed during a backup may have left it frozen, and frozen it would never go.
        if let Ok(program) = find("fsfreeze", "util-linux") {
            thaw(&program, mount_point)?;
        }
        // Whoever still uses it keeps it until it ends; nobody new finds it.
        let done = run(&tools.unmount, &[OsStr::new("-l"), mount_point.as_os_str()])?;
        if !done.is_good() {
            return Err(io::Error::other(format!("`{}` stays mounted: {}", mount_point.display(), done.said)));
        }
        fs::remove_dir(mount_point)?;
        if let Some(parent) = mount_point.parent() {
            // Others may follow.
            fs::remove_dir(parent).ok();
        }
    }
    remove_empty(mounts)
}

/// Mount points that a kill left between their making and the mount.
fn remove_empty(mounts: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(mounts) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        fs::remove_dir(entry?.path())?;
    }
    fs::remove_dir(mounts)
}

/// The mount points whose folder has that name, last mounted first.
fn mounted_below(mountinfo: &[u8], name: &OsStr) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|path| path.parent().and_then(Path::file_name) == Some(name))
        .collect();
    found.reverse();
    found
}

/// The kernel writes spaces and the like as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|_| *first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Whether a loop device has the image, in whatever namespace it is mounted.
pub(super) fn is_attached(image: &Path) -> io::Result<bool> {
    for entry in fs::read_dir("/sys/block")? {
        let path = entry?.path().join("loop/backing_file");
        // A device without a file has no such entry.
        let Ok(backing) = fs::read(path) else { continue };
        if backing.strip_suffix(b"\n").unwrap_or(&backing) == image.as_os_str().as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_of_this_service_are_found() {
        let text = b"1 0 7:0 / /run/a\\040b/volumes-ours/plugin_1 rw - ext4 /dev/loop0 rw\n\
            2 0 7:1 / /run/plugbay/volumes-theirs/plugin_2 rw - ext4 /dev/loop1 rw\n\
            3 0 7:2 / /run/plugbay/volumes-ours rw - ext4 /dev/loop2 rw\n\
            4 0 7:3 / /old/volumes-ours/plugin_3 rw - ext4 /dev/loop3 rw\n\n";
        let found = mounted_below(text, OsStr::new("volumes-ours"));
        assert_eq!(found, [Path::new("/old/volumes-ours/plugin_3"), Path::new("/run/a b/volumes-ours/plugin_1")]);
    }
}
