//! Comparing a published package with what was installed.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};

use super::archive::BUFFER_BYTES;
use super::beneath::{FILE_MODE, FOLDER_MODE, Folder, Found, RUNNABLE_MODE, is_gone};
use super::{PackageError, PackageFile};
use plugbay_domain::Digest;

/// Compares content, size, mode and kind of every file, and refuses what was not installed.
///
/// Empty folders are not recorded, so they may come and go; a folder with anything in it is noticed.
pub fn verify_tree(folder: &Path, files: &[PackageFile]) -> Result<(), PackageError> {
    let opened = Folder::open(folder).map_err(|error| gone(error, "."))?;
    if opened.mode()? != FOLDER_MODE {
        return Err(PackageError::tampered(
            ".",
            format!("has mode {:04o}; expected {FOLDER_MODE:04o}", opened.mode()?),
        ));
    }
    let mut expected: HashMap<&str, &PackageFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        let listed = opened.list(&path).map_err(|error| gone(error, &path))?;
        for found in listed {
            let name = String::from_utf8(found.name.clone())
                .map_err(|_not_utf8| PackageError::tampered(&path, "holds a file that was not installed"))?;
            let inner = if path.is_empty() { name } else { format!("{path}/{name}") };
            if found.kind == FileType::Directory {
                check_mode(&inner, &found, FOLDER_MODE)?;
                waiting.push(inner);
                continue;
            }
            let file = expected
                .remove(inner.as_str())
                .ok_or_else(|| PackageError::tampered(&inner, "was not there when the package was installed"))?;
            check_file(&opened, file, &found, &mut buffer)?;
        }
    }
    match expected.into_keys().min() {
        Some(missing) => Err(PackageError::tampered(missing, "is missing")),
        None => Ok(()),
    }
}

fn check_file(folder: &Folder, expected: &PackageFile, found: &Found, buffer: &mut [u8]) -> Result<(), PackageError> {
    let path = expected.path.as_str();
    if found.kind != FileType::RegularFile {
        return Err(PackageError::tampered(path, "is no longer a regular file"));
    }
    check_mode(path, found, if expected.executable { RUNNABLE_MODE } else { FILE_MODE })?;
    let changed = || PackageError::tampered(path, "has other content than when it was installed");
    if found.bytes != expected.bytes {
        return Err(changed());
    }
    let mut file = folder.read_file(path).map_err(|error| gone(error, path))?;
    let mut hash = Sha256::new();
    loop {
        let count = file.read(buffer).map_err(PackageError::io("read", path))?;
        let Some(bytes @ [_, ..]) = buffer.get(..count) else { break };
        hash.update(bytes);
    }
    if Digest::from_bytes(hash.finalize().into()) == expected.sha256 { Ok(()) } else { Err(changed()) }
}

fn check_mode(path: &str, found: &Found, expected: u32) -> Result<(), PackageError> {
    if found.mode == expected {
        return Ok(());
    }
    Err(PackageError::tampered(path, format!("has mode {:04o}; expected {expected:04o}", found.mode)))
}

fn gone(error: PackageError, path: &str) -> PackageError {
    if is_gone(&error) { PackageError::tampered(path, "is missing") } else { error }
}
