//! Makes an installed `vendor/` depend on its wheels alone.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

/// Files that differ with every installation and that nothing needs at run time.
const RESTLESS: [&str; 4] = ["RECORD", "INSTALLER", "REQUESTED", "direct_url.json"];

/// Removes what differs from one installation to the next: compiled files, pip's records, scripts that name a Python.
pub(super) fn settle(folder: &Path) -> io::Result<()> {
    let scripts = folder.join("bin");
    // A package of that name would be code.
    if scripts.is_dir() && !scripts.join("__init__.py").exists() {
        fs::remove_dir_all(&scripts)?;
    }
    settle_below(folder)
}

fn settle_below(folder: &Path) -> io::Result<()> {
    let ends_with = |path: &Path, suffix: &str| path.extension().and_then(OsStr::to_str) == Some(suffix);
    let is_record = ends_with(folder, "dist-info");
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let is_folder = fs::symlink_metadata(&path)?.is_dir();
        if is_folder && name == "__pycache__" {
            fs::remove_dir_all(&path)?;
        } else if is_folder {
            settle_below(&path)?;
        } else if ends_with(&path, "pyc") || (is_record && RESTLESS.contains(&name)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
