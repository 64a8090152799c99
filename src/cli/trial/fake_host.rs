//! What stands in for the operator in a trial: answers of host functions from the author's file, and resources of every name
//! that the plugin asks for. Nothing of this machine's own service is touched: what a plugin writes is thrown away.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::cli::failure::{Failure, Local};
use crate::config::{ApiConfig, DatabaseConfig, FolderConfig, ResourcesConfig};
use crate::domain::{Manifest, Permission};
use crate::startup::HostStandIn;

/// Bytes of a file that a flag names.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads `--fake-host`.
pub(super) fn read(path: Option<&Path>) -> Result<Arc<HostStandIn>, Failure> {
    let Some(path) = path else { return Ok(Arc::default()) };
    let bytes = read_small(path)?;
    let is_json = path.extension().is_some_and(|ending| ending == "json");
    let stand_in = HostStandIn::parse(&bytes, is_json).map_err(|errors| {
        let how = format!("correct `{}`; docs/authors.md, section Testing, has an example", path.display());
        Failure::local(Local::Usage, "", how).with_errors(errors.into_iter().map(Into::into))
    })?;
    Ok(Arc::new(stand_in))
}

/// Reads a file of the author's up to its limit.
pub(super) fn read_small(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    let count = read.map_err(|error| Failure::read(path, &error))?;
    if count as u64 > MAX_FILE_BYTES {
        let detail = format!("`{}` has more than {MAX_FILE_BYTES} bytes", path.display());
        return Err(Failure::local(Local::Usage, detail, "write less"));
    }
    Ok(bytes)
}

/// A resource for every name under `access`: empty folders, databases and APIs that only the stand-in answers for.
pub(super) fn resources(manifest: &Manifest, place: &Path) -> Result<ResourcesConfig, Failure> {
    let mut resources = ResourcesConfig::default();
    for (permission, name) in
        manifest.access.iter().flat_map(|(permission, names)| names.iter().map(move |name| (permission, name)))
    {
        match permission {
            Permission::FilesystemRead | Permission::FilesystemWrite if !resources.folders.contains_key(name) => {
                let path = folder(place, &resources.folders)?;
                resources.folders.insert(name.clone(), path);
            }
            Permission::DatabaseRead | Permission::DatabaseWrite => {
                let url = format!("sqlite://{}", place.join("no-database").display());
                resources.databases.insert(name.clone(), DatabaseConfig { url });
            }
            Permission::ApiAccess => {
                // A port at which nothing listens; nothing is sent either way.
                let api = ApiConfig { base_url: "http://127.0.0.1:1".to_owned(), token: None, allow: Vec::new() };
                resources.apis.insert(name.clone(), api);
            }
            _ => {}
        }
    }
    Ok(resources)
}

fn folder(place: &Path, known: &BTreeMap<String, FolderConfig>) -> Result<FolderConfig, Failure> {
    let path = place.join(format!("folder-{}", known.len()));
    // The plugin is another user; no other user but the author gets as far as this folder.
    let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o777)));
    made.map_err(|error| Failure::io(format_args!("make `{}`", path.display()), &error))?;
    Ok(FolderConfig { path })
}
