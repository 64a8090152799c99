//! The first pass over an archive: reads every byte against every rule, writes nothing, and leaves a plan of what is in
//! it, relative to the package's root.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::archive::{Archive, Entry, EntryKind};
use super::names::Names;
use super::root::{MANIFEST, Root, find_root};
use super::upload::ArchiveFile;
use super::{EntryPath, PackageError, Signer, VerifiedArchive};
use plugbay_domain::{ArchiveLimits, Digest, PluginName, escape};

/// Longest plugin.yaml and longest config.yaml.
const MAX_DOCUMENT_BYTES: u64 = 64 * 1024;

const CONFIG: &str = "config.yaml";

/// A verified archive that obeys every rule for archives. Its manifest has not been read yet.
pub struct InspectedArchive {
    pub(super) archive: ArchiveFile,
    signer: Signer,
    pub(super) plan: Plan,
    manifest: Vec<u8>,
    config: Option<Vec<u8>>,
}

/// What unpacking will make, and must find again.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) root: Root,
    /// All entries in the archive's order, with the paths it gives them.
    pub(super) entries: Vec<Entry>,
    /// All folders, relative to the package's root, each after the one it lies in.
    pub(super) folders: Vec<EntryPath>,
}

/// What the manifest needs the package to contain.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    /// The entry point, as the manifest writes it.
    pub main: &'a str,
    /// Whether dependencies must be in `vendor/`.
    pub needs_vendor: bool,
    /// Whether the entry point is started as a program, so that it is executable whatever its mode was.
    pub always_executable: bool,
}

/// One entry of an inspected archive, relative to the package's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageEntry {
    /// Where it lies.
    pub path: EntryPath,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Bytes of a file; 0 for a folder.
    pub bytes: u64,
    /// Whether its owner may run it.
    pub executable: bool,
}

impl std::fmt::Debug for InspectedArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InspectedArchive")
            .field("digest", &self.archive.digest)
            .field("entries", &self.plan.entries.len())
            .finish_non_exhaustive()
    }
}

impl InspectedArchive {
    pub(super) fn read(verified: VerifiedArchive, limits: &ArchiveLimits) -> Result<Self, PackageError> {
        let VerifiedArchive { archive, signer } = verified;
        let (plan, documents) = read_plan(At::start(&archive.file), archive.size, limits)?;
        let (manifest, config) = documents.of(&plan.root)?;
        Ok(Self { archive, signer, plan, manifest, config })
    }

    /// The content of plugin.yaml.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest
    }

    /// The content of config.yaml beside it, if there is one.
    pub fn default_config(&self) -> Option<&[u8]> {
        self.config.as_deref()
    }

    /// Tells whether there is a regular file at a path.
    pub fn has_file(&self, path: &EntryPath) -> bool {
        self.entries().any(|entry| entry.path == *path && !entry.is_folder)
    }

    /// Everything in the package, in the archive's order. Folders that no entry names are left out.
    pub fn entries(&self) -> impl Iterator<Item = PackageEntry> {
        self.plan.entries.iter().filter_map(|entry| {
            let path = self.plan.root.relative(&entry.path)?;
            let is_folder = entry.kind == EntryKind::Folder;
            Some(PackageEntry { path, is_folder, bytes: entry.size, executable: entry.executable })
        })
    }

    /// Who vouches for the archive.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The sha256 of the archive.
    pub fn digest(&self) -> Digest {
        self.archive.digest
    }

    /// How many bytes the archive has.
    pub fn size(&self) -> u64 {
        self.archive.size
    }

    /// Where the archive is.
    pub fn path(&self) -> &Path {
        &self.archive.path
    }

    /// The second half of the signature check: the key may sign plugins of this name.
    pub fn check_scope(&self, name: &PluginName) -> Result<(), PackageError> {
        match &self.signer {
            Signer::Trusted(trusted) if !trusted.covers(name) => {
                let patterns: Vec<String> = trusted.names.iter().map(|pattern| format!("`{pattern}`")).collect();
                Err(PackageError::SignatureScope {
                    id: trusted.key.id(),
                    label: escape(&trusted.label),
                    patterns: if patterns.is_empty() { "no names".to_owned() } else { patterns.join(", ") },
                    name: name.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks that what the manifest names is there.
    pub fn check_contents(&self, wanted: &Contents<'_>) -> Result<(), PackageError> {
        let missing = |found| Err(PackageError::EntrypointMissing { main: escape(wanted.main), found });
        let Ok(main) = wanted.main.parse::<EntryPath>() else { return missing("no path within the package") };
        if !self.has_file(&main) {
            let is_folder = self.plan.folders.contains(&main);
            return missing(if is_folder { "a folder" } else { "not in the archive" });
        }
        if wanted.needs_vendor && !self.plan.folders.iter().any(|folder| folder.as_str() == "vendor") {
            return Err(PackageError::DependenciesNotVendored);
        }
        Ok(())
    }
}

/// The documents found where the root might be.
#[derive(Debug, Default)]
pub(super) struct Documents {
    manifest: Option<Document>,
    config: Vec<Document>,
}

#[derive(Debug)]
struct Document {
    path: EntryPath,
    /// Nothing if it is longer than it may be.
    content: Option<Vec<u8>>,
}

impl Documents {
    /// Tells whether the content of a file may be needed, and makes room for it. The root is known only at the end.
    fn expect(&mut self, entry: &Entry, first_top: &str) -> Result<Option<&mut Document>, PackageError> {
        let (top, name) = match entry.path.as_str().split_once('/') {
            None => (None, entry.path.as_str()),
            Some((top, name)) => (Some(top), name),
        };
        if entry.kind != EntryKind::File || !matches!(name, MANIFEST | CONFIG) {
            return Ok(None);
        }
        let fits = entry.size <= MAX_DOCUMENT_BYTES;
        let document = Document { path: entry.path.clone(), content: fits.then(Vec::new) };
        if name == MANIFEST {
            if let Some(other) = &self.manifest {
                // Which one is meant would depend on the reader.
                return Err(PackageError::ManifestInvalid {
                    rule: format!(
                        "there are two manifests, `{}` and `{}`",
                        escape(other.path.as_str()),
                        escape(entry.path.as_str())
                    ),
                    how: "keep one plugin.yaml at the archive's root or in its single top folder",
                });
            }
            return Ok(Some(self.manifest.insert(document)));
        }
        // Only the first top folder can be the root, so at most two of these are ever held.
        if top.is_none_or(|top| top == first_top) {
            self.config.push(document);
            return Ok(self.config.last_mut());
        }
        Ok(None)
    }

    fn of(self, root: &Root) -> Result<(Vec<u8>, Option<Vec<u8>>), PackageError> {
        let Some(manifest) = self.manifest else { return Err(PackageError::ManifestMissing { found: None }) };
        let manifest = manifest.content.ok_or_else(|| too_long(MANIFEST))?;
        let config = self
            .config
            .into_iter()
            .find(|document| root.relative(&document.path).is_some_and(|path| path.as_str() == CONFIG));
        match config.map(|document| document.content) {
            Some(None) => Err(too_long(CONFIG)),
            Some(Some(content)) => Ok((manifest, Some(content))),
            None => Ok((manifest, None)),
        }
    }
}

fn too_long(name: &str) -> PackageError {
    PackageError::ManifestInvalid {
        rule: format!("{name} has more than {MAX_DOCUMENT_BYTES} bytes"),
        how: "move long texts and data into files of their own",
    }
}

/// Reads the whole archive.
pub(super) fn read_plan<R: Read + Seek>(
    reader: R,
    size: u64,
    limits: &ArchiveLimits,
) -> Result<(Plan, Documents), PackageError> {
    let mut archive = Archive::open(reader, size, limits)?;
    let mut names = Names::new(limits.entries);
    let mut documents = Documents::default();
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(entry) = archive.next()? {
        names.add(&entry.path, entry.kind)?;
        let first_top = entries.first().unwrap_or(&entry).path.top().to_owned();
        let mut wanted = documents.expect(&entry, &first_top)?.and_then(|document| document.content.as_mut());
        archive.content(&mut |bytes| {
            if let Some(content) = &mut wanted {
                content.extend_from_slice(bytes);
            }
            Ok(())
        })?;
        entries.push(entry);
    }
    let root = find_root(&entries, documents.manifest.as_ref().map(|manifest| &manifest.path))?;
    let folders = names.folders().into_iter();
    let folders = folders.filter_map(|folder| root.relative(&folder.parse().ok()?)).collect();
    Ok((Plan { root, entries, folders }, documents))
}

/// Reads a file from a position of its own, so that the handle can be shared.
pub(super) struct At<'a> {
    file: &'a File,
    position: u64,
}

impl<'a> At<'a> {
    pub(super) fn start(file: &'a File) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.position = moved.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
