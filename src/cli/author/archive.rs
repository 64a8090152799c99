//! Reading folders and archives as the service will.

use std::fs;
use std::io;
use std::path::Path;

use crate::cli::failure::Failure;
use crate::domain::{
    ArchiveLimits, Clock as _, Code, Digest, FieldError, Manifest, PluginName, Refusal, Runtime, SignaturePolicy,
    SystemClock,
};
use crate::package::{self, Contents, EntryPath, InspectedArchive, PackOptions, Upload};

/// A plugin that was checked, with what its author should know.
pub(super) struct Checked {
    pub(super) manifest: Manifest,
    pub(super) warnings: Vec<String>,
}

/// Reads an archive by every rule but the signature's, which is not looked at here.
pub(super) fn open(path: &Path) -> Result<(InspectedArchive, Digest), Failure> {
    fs::metadata(path).map_err(|error| Failure::read(path, &error))?;
    let limits = ArchiveLimits::default();
    let upload = Upload::read(path, &limits)?;
    let digest = upload.digest();
    let verified = upload.verify(None, &[], SignaturePolicy::Off, SystemClock.now())?;
    Ok((verified.inspect(&limits)?, digest))
}

/// The name in an archive's manifest.
pub(in crate::cli) fn read_name(path: &Path) -> Result<PluginName, Failure> {
    Ok(read_archived_manifest(path)?.name)
}

/// The manifest in an archive.
pub(in crate::cli) fn read_archived_manifest(path: &Path) -> Result<Manifest, Failure> {
    let (archive, _) = open(path)?;
    Ok(Manifest::parse(archive.manifest_bytes())?)
}

/// Checks an archive: its entries, its manifest, and that what the manifest names is there.
pub(super) fn check_archive(path: &Path) -> Result<(Checked, Digest), Failure> {
    let (archive, digest) = open(path)?;
    archive.refuse_secrets(&ArchiveLimits::default())?;
    let manifest = Manifest::parse(archive.manifest_bytes())?;
    archive.check_contents(&wanted(&manifest, manifest.needs_vendor()))?;
    if let Some(config) = archive.default_config() {
        manifest.read_config(config)?;
    }
    let files: Vec<EntryPath> = archive.entries().filter(|entry| !entry.is_folder).map(|entry| entry.path).collect();
    let warnings = warnings(&manifest, &files);
    Ok((Checked { manifest, warnings }, digest))
}

/// Checks a folder as it would be packed; all mistakes of its documents are told together.
pub(super) fn check_folder(folder: &Path) -> Result<Checked, Failure> {
    let manifest = read_manifest(folder)?;
    let files = package::pack(folder, &mut io::sink(), &options(&manifest, 0))?.files;
    let mut errors: Vec<FieldError> = Vec::new();
    if !files.iter().any(|path| path.as_str() == manifest.main) {
        let why = match fs::symlink_metadata(folder.join(&manifest.main)) {
            Ok(found) if found.is_file() => "a rule leaves it out, plugbay pack --list shows which",
            Ok(_) => "it is not a regular file",
            Err(_) => "it is not there",
        };
        errors.push(FieldError::at("/main", format!("the entry point `{}` cannot be packed: {why}", manifest.main)));
    }
    let code = if errors.is_empty() { Code::ManifestInvalid } else { Code::EntrypointMissing };
    let config = folder.join("config.yaml");
    if files.iter().any(|path| path.as_str() == "config.yaml") {
        let bytes = fs::read(&config).map_err(|error| Failure::read(&config, &error))?;
        if let Err(error) = manifest.read_config(&bytes) {
            let in_file = |field: &FieldError| FieldError {
                message: format!("{} (in config.yaml)", field.message),
                ..field.clone()
            };
            errors.extend(error.fields().iter().map(in_file));
        }
    }
    if !errors.is_empty() {
        return Err(Failure::invalid(code, errors));
    }
    let warnings = warnings(&manifest, &files);
    Ok(Checked { manifest, warnings })
}

/// Reads plugin.yaml in a folder.
pub(super) fn read_manifest(folder: &Path) -> Result<Manifest, Failure> {
    let path = folder.join("plugin.yaml");
    match fs::read(&path) {
        Ok(bytes) => Ok(Manifest::parse(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
            Err(Failure::refused(Code::ManifestMissing, format!("there is no plugin.yaml in `{}`", folder.display())))
        }
        Err(error) => Err(Failure::read(&path, &error)),
    }
}

/// What the archive must hold for this manifest.
pub(super) fn wanted(manifest: &Manifest, needs_vendor: bool) -> Contents<'_> {
    Contents { main: &manifest.main, needs_vendor, always_executable: manifest.runtime != Runtime::Python }
}

/// How the folder of this manifest is packed.
pub(super) fn options(manifest: &Manifest, mtime: u64) -> PackOptions {
    PackOptions { name: manifest.name.clone(), mtime }
}

fn warnings(manifest: &Manifest, files: &[EntryPath]) -> Vec<String> {
    let mut warnings = manifest.warnings();
    if files.iter().any(|path| path.as_str() == "Dockerfile") {
        warnings.push("the Dockerfile is kept and never built: plugins run in images the operator offers".to_owned());
    }
    warnings
}
