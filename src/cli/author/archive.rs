//! Reading folders and archives as the service will.

use std::fs;
use std::io;
use std::path::Path;

use super::code::{self, Code as Look};
use super::vendor::Wishes;
use crate::cli::failure::Failure;
use crate::cli::mistake::{Document, Mistake};
use crate::domain::{
    ArchiveLimits, Clock as _, Code, DeclaredCode, Digest, FieldError, Manifest, PluginName, Refusal, Runtime,
    SignaturePolicy, SystemClock,
};
use crate::package::{self, Contents, EntryPath, InspectedArchive, PackOptions, Source, Upload};

/// A plugin that was checked, with what its author should know.
pub(super) struct Checked {
    pub(super) manifest: Manifest,
    pub(super) warnings: Vec<Mistake>,
}

/// Reads an archive by every rule but the signature's, which is not looked at here.
pub(super) fn open(path: &Path) -> Result<(InspectedArchive, Digest), Failure> {
    if fs::metadata(path).map_err(|error| Failure::read(path, &error))?.is_dir() {
        return Err(Failure::is_folder(path));
    }
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

/// Whether the folder's build command has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    ToCome,
    Done,
}

/// Checks a folder as it would be packed; all mistakes of its documents and its code are told together.
pub(super) fn check_folder(folder: &Path, build: Build) -> Result<Checked, Failure> {
    let bytes = read_manifest_bytes(folder)?;
    let packed = package::sources(folder)?.packed;
    let document = Document { file: "plugin.yaml", path: shown(folder, "plugin.yaml"), text: &bytes };
    let declared = DeclaredCode::find(&bytes);
    let missing = declared.as_ref().and_then(|declared| missing(folder, declared, &packed, build));
    let parsed = Manifest::parse(&bytes);
    let mut found = match &declared {
        // What `build` makes is made anew before it is packed.
        Some(declared) if missing.is_none() && !declared.is_built => {
            let vendors = match &parsed {
                Ok(manifest) => !Wishes::of(folder, manifest).is_empty(),
                Err(_) => declared.has_dependencies,
            };
            code::look(&Look { folder, packed: &packed, declared, manifest: &document, vendors })
        }
        _ => code::Found::default(),
    };
    // What is read of the code is not the last word: it stops `validate`, and nothing that may be needed at once.
    let mut doubts = Vec::new();
    if build == Build::Done {
        doubts.append(&mut found.mistakes);
    }
    doubts.append(&mut found.warnings);
    let manifest = match parsed {
        Ok(manifest) => manifest,
        Err(error) => {
            // What `build` makes is judged once it can run.
            let missing = missing.filter(|_| declared.is_some_and(|declared| !declared.is_built));
            let more = missing.map(|(missing, _)| document.mistake(missing)).into_iter().chain(found.mistakes);
            let more: Vec<Mistake> = more.collect();
            let failure = Failure::from(error).located(&document);
            let failure = if more.is_empty() {
                failure
            } else {
                Failure::invalid(Code::ManifestInvalid, failure.errors).with_errors(more)
            };
            return Err(failure.without_circle());
        }
    };
    let mut mistakes = mistakes_in_config(folder, &manifest, &packed)?;
    mistakes.append(&mut found.mistakes);
    match missing {
        Some((missing, how)) => {
            let missing = document.mistake(missing);
            let failure = Failure::invalid(Code::EntrypointMissing, vec![missing]).with_errors(mistakes);
            return Err(match how {
                Some(how) => failure.with_how(how),
                None => failure,
            });
        }
        None if !mistakes.is_empty() => {
            let failure = Failure::invalid(Code::ManifestInvalid, Vec::new()).with_errors(mistakes);
            return Err(failure.without_circle());
        }
        None => {}
    }
    let files = package::pack(folder, &mut io::sink(), &options(&manifest, 0))?.files;
    let mut warnings = warnings(&manifest, &files);
    warnings.append(&mut doubts);
    Ok(Checked { manifest, warnings })
}

/// A file of the folder as a reader in the current folder opens it.
pub(super) fn shown(folder: &Path, file: &str) -> String {
    let folder = folder.strip_prefix(".").unwrap_or(folder);
    folder.join(file).display().to_string()
}

/// Why the entry point would not be in the archive, and the way out where it is not plugin.yaml's.
fn missing(
    folder: &Path,
    main: &DeclaredCode,
    packed: &[Source],
    build: Build,
) -> Option<(FieldError, Option<String>)> {
    if packed.iter().any(|source| source.file.is_some() && source.path.as_str() == main.path) {
        return None;
    }
    let (why, how) = match fs::symlink_metadata(folder.join(&main.path)) {
        Ok(found) if found.is_file() => {
            let how = format!("plugbay pack {} --list shows the rule", folder.display());
            ("a rule leaves it out", Some(how))
        }
        Ok(_) => ("it is not a regular file", None),
        Err(_) if main.is_built && build == Build::ToCome => {
            let message = format!("`{}` is made by `build`: run `plugbay pack`", main.path);
            return Some((main.mistake("/main", message), Some(format!("plugbay pack {}", folder.display()))));
        }
        Err(_) if main.is_built => ("`build` did not make it", None),
        Err(_) => ("it is not there", None),
    };
    Some((main.mistake("/main", format!("the entry point `{}` cannot be packed: {why}", main.path)), how))
}

fn mistakes_in_config(folder: &Path, manifest: &Manifest, packed: &[Source]) -> Result<Vec<Mistake>, Failure> {
    let path = folder.join("config.yaml");
    if !packed.iter().any(|source| source.path.as_str() == "config.yaml") {
        return Ok(Vec::new());
    }
    let bytes = fs::read(&path).map_err(|error| Failure::read(&path, &error))?;
    let Err(error) = manifest.read_config(&bytes) else { return Ok(Vec::new()) };
    let document = Document { file: "config.yaml", path: shown(folder, "config.yaml"), text: &bytes };
    Ok(error.fields().iter().map(|field| document.mistake(field.clone())).collect())
}

/// Reads plugin.yaml in a folder.
pub(super) fn read_manifest(folder: &Path) -> Result<Manifest, Failure> {
    Ok(Manifest::parse(&read_manifest_bytes(folder)?)?)
}

fn read_manifest_bytes(folder: &Path) -> Result<Vec<u8>, Failure> {
    let path = folder.join("plugin.yaml");
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes),
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

fn warnings(manifest: &Manifest, files: &[EntryPath]) -> Vec<Mistake> {
    let mut warnings = manifest.warnings();
    if files.iter().any(|path| path.as_str() == "Dockerfile") {
        warnings.push("the Dockerfile is kept and never built: plugins run in images the operator offers".to_owned());
    }
    warnings.into_iter().map(|warning| FieldError::at("", warning).into()).collect()
}
