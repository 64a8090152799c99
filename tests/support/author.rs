//! A plugin author: writes packages, packs and signs them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use plugbay::domain::ArchiveLimits;
use plugbay::package::{Receiver, SecretKey};

/// The smallest manifest that is valid without warnings.
pub fn manifest(name: &str, version: &str) -> String {
    format!(
        "name: {name}\nversion: {version}\ndescription: Example plugin\nauthor: Your Name\nlicense: MIT\nmain: main.py\n"
    )
}

/// A .tar.gz of these files below one folder.
pub fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("package/{path}"), *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// A package with this manifest and an entry point.
pub fn package(manifest: &str) -> Vec<u8> {
    pack(&[("plugin.yaml", manifest.as_bytes()), ("main.py", b"class Plugin: pass\n")])
}

/// A key pair.
pub struct Author(pub SecretKey);

impl Author {
    pub fn new() -> Self {
        Self(SecretKey::generate().unwrap())
    }

    pub fn public_key(&self) -> String {
        self.0.public_key().to_string()
    }

    pub fn key_id(&self) -> String {
        self.0.public_key().id().to_string()
    }

    /// The text of the .minisig file.
    pub fn sign(&self, archive: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Receiver::create(folder.path(), &ArchiveLimits::default()).unwrap();
        receiver.write(archive).unwrap();
        self.0.sign(&receiver.finish().unwrap(), "made by a test").unwrap()
    }
}

/// A file in a temporary folder.
pub fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A .tar.gz of a folder, with these files in the place of its own.
pub fn pack_folder(folder: &Path, instead: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut add = |name: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        archive.append_data(&mut header, format!("package/{name}"), content).unwrap();
    };
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_file() && !instead.iter().any(|(other, _)| *other == name) {
            add(&name, metadata.permissions().mode() & 0o755, &fs::read(entry.path()).unwrap());
        }
    }
    for (name, content) in instead {
        add(name, 0o644, content.as_bytes());
    }
    archive.into_inner().unwrap().finish().unwrap()
}
