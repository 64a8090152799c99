//! Comparing unpacked packages with what Python's tarfile and zipfile make of the same archive.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use plugbay::domain::{ArchiveLimits, SignaturePolicy, Timestamp};
use plugbay::package::{Contents, Upload, verify_tree};
use serde::Deserialize;

/// What both sides are compared by.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Tree {
    files: BTreeMap<String, (String, Option<bool>)>,
    folders: Vec<String>,
}

/// Unpacks with plugbay and with Python; the trees must be equal.
pub(crate) fn assert_same_as_python(label: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    fs::write(&archive, bytes).unwrap();
    let theirs = python_tree(&archive);
    let has_modes = !bytes.starts_with(b"PK");
    let ours = plugbay_tree(&archive, folder.path(), has_modes);
    assert_eq!(ours, theirs, "{label}");
}

fn python_tree(archive: &Path) -> Tree {
    #[expect(clippy::disallowed_methods, reason = "the second implementation of the formats")]
    let output = std::process::Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/python_tree.py"))
        .arg(archive)
        .output()
        .expect("this test needs python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn plugbay_tree(archive: &Path, folder: &Path, has_modes: bool) -> Tree {
    let limits = ArchiveLimits::default();
    let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    let upload = Upload::read(archive, &limits).unwrap();
    let inspected = upload.verify(None, &[], SignaturePolicy::Off, now).unwrap().inspect(&limits).unwrap();
    let contents = Contents { main: "plugin.yaml", needs_vendor: false, always_executable: false };
    let staged = inspected.unpack(&folder.join("staged"), &contents, &limits).unwrap();
    let files = staged.files().to_vec();
    let published = staged.publish(folder, inspected.digest()).unwrap();
    verify_tree(&published, &files).unwrap();

    let mut tree = Tree { files: BTreeMap::new(), folders: Vec::new() };
    list_folders(&published, &published, &mut tree.folders);
    tree.folders.sort();
    for file in files {
        let on_disk = published.join(file.path.as_str());
        let executable = fs::metadata(&on_disk).unwrap().permissions().mode() & 0o100 != 0;
        assert_eq!(executable, file.executable);
        tree.files.insert(file.path.to_string(), (file.sha256.to_hex(), has_modes.then_some(executable)));
    }
    tree
}

fn list_folders(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            list_folders(root, &entry.path(), found);
        }
    }
}
