//! The folder of a service for a moment, such as that of `plugbay test`, and what one leaves that was killed: nobody starts
//! it again, so whoever starts next removes it.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use plugbay_config::Config;
use plugbay_data_dir::{DataDir, DataDirError};
use plugbay_domain::Chain;
use plugbay_runtime::shutdown::Shutdown;
use plugbay_sandbox::{Place, RuntimeFiles, Volumes};
use tempfile::TempDir;
use tracing::{info, warn};

use crate::engines::Engines;
use crate::{ServiceError, blocking};

/// Begins the name of such a folder.
const PREFIX: &str = "plugbay-";

/// Its rights.
const CLOSED: u32 = 0o700;

/// Bytes of the folder for temporary files that leave room for the names of sockets.
const MAX_TEMPORARY_PATH: usize = 32;

fn parent() -> PathBuf {
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() > MAX_TEMPORARY_PATH { PathBuf::from("/tmp") } else { usual }
}

/// Writes out the Python SDK of this version for tests that run outside of a sandbox; it is gone with the folder.
pub fn write_sdk(folder: &Path) -> Result<PathBuf, ServiceError> {
    Ok(RuntimeFiles::write_out(folder)?.join("sdk"))
}

/// Makes a folder for a service that keeps everything in it, closed to others. It is removed when it is dropped.
pub fn momentary_folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(CLOSED)).tempdir_in(parent())
}

/// Removes what services for a moment have left that were killed. What cannot be removed is told, and tried again next time.
pub async fn remove_abandoned(config: &Config) {
    for folder in abandoned(&parent()) {
        match remove(&config.clone().in_folder(&folder)).await {
            // It runs.
            Err(ServiceError::DataDir(DataDirError::InUse { .. })) => continue,
            Err(error) => {
                warn!(error = %Chain(&error), "What is left in `{}` could not be removed", folder.display());
                continue;
            }
            Ok(()) => {}
        }
        match fs::remove_dir_all(&folder) {
            Ok(()) => info!("Removed `{}`, which a killed service had left", folder.display()),
            Err(error) => warn!(%error, "`{}` could not be removed", folder.display()),
        }
    }
}

/// Folders that may be such. Anybody may make folders there: those of others, and links, are nobody's business.
fn abandoned(parent: &Path) -> Vec<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)));
    let ours = named.map(|entry| entry.path()).filter(|path| {
        fs::symlink_metadata(path)
            .is_ok_and(|found| found.is_dir() && found.uid() == own && found.mode() & 0o777 == CLOSED)
    });
    // Without it nothing was started there yet.
    ours.filter(|path| path.join("data/instance").is_file()).collect()
}

/// Removes sandboxes and mounts of a service whose process has gone.
async fn remove(config: &Config) -> Result<(), ServiceError> {
    let data = DataDir::open_existing(&config.server.data_dir)?;
    let instance = data.instance()?;
    let runtime_dir = data.runtime();
    let runtime = blocking("runtime files", move || Ok(RuntimeFiles::write_out(&runtime_dir)?)).await?;
    let shutdown = Shutdown::default();
    let place = Place { runtime: &runtime, shutdown: shutdown.clone() };
    let (engines, _chosen) = Engines::open(&instance, config, place)?;
    engines.remove_all().await;
    let volumes = Volumes::new(data.volumes(), &config.server.run_dir, &instance);
    blocking("left-over volumes", move || {
        let action = "unmount left-over volumes".to_owned();
        volumes.remove_left_overs().map_err(|source| ServiceError::File { action, source })
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_closed_folders_of_our_own_with_a_service_in_them_are_looked_at() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let folder = parent.path().join(name);
            fs::create_dir_all(folder.join("data")).unwrap();
            fs::write(folder.join("data/instance"), "").unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            folder
        };
        let (left, _open, _other) = (make("plugbay-1", 0o700), make("plugbay-2", 0o755), make("another", 0o700));
        symlink(&left, parent.path().join("plugbay-3")).unwrap();
        fs::create_dir(parent.path().join("plugbay-4")).unwrap();
        assert_eq!(abandoned(parent.path()), [left]);
    }
}
