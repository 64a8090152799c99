//! Reading folders and archives as the service will.

use std::fs;
use std::io;
use std::path::Path;

use super::entry;
use crate::cli::failure::Failure;
use crate::domain::{
    ArchiveLimits, Clock as _, Code, DeclaredMain, Digest, FieldError, Manifest, PluginName, Refusal, Runtime,
    SignaturePolicy, SystemClock,
};
use crate::package::{self, Contents, EntryPath, InspectedArchive, PackOptions, Source, Upload};

/// A plugin that was checked, with what its author should know.
pub(super) struct Checked {
    pub(super) manifest: Manifest,
    pub(super) warnings: Vec<String>,
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

/// Checks a folder as it would be packed; all mistakes of its documents are told together.
pub(super) fn check_folder(folder: &Path, build: Build) -> Result<Checked, Failure> {
    let bytes = read_manifest_bytes(folder)?;
    let packed = package::sources(folder)?.packed;
    let main = DeclaredMain::find(&bytes);
    let missing = main.as_ref().and_then(|main| missing(folder, main, &packed, build));
    let manifest = match Manifest::parse(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            // What `build` makes is judged once it can run.
            let missing = missing.filter(|_| main.is_some_and(|main| !main.is_built));
            let failure = match missing {
                None => error.into(),
                Some((missing, _)) => {
                    let errors = error.fields().iter().cloned().chain([missing]);
                    Failure::invalid(Code::ManifestInvalid, Vec::new()).with_errors(errors)
                }
            };
            return Err(failure.without_circle());
        }
    };
    let mut mistakes = mistakes_in_config(folder, &manifest, &packed)?;
    let mut doubts = match &main {
        // What `build` makes is made anew before it is packed.
        Some(main) if missing.is_none() && !main.is_built => entry::look(folder, main, &manifest),
        _ => Vec::new(),
    };
    // What Python here says of a file is not the last word: it stops `validate`, and nothing that may be needed at once.
    if build == Build::ToCome {
        mistakes.append(&mut doubts);
    }
    match missing {
        Some((missing, how)) => {
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
    warnings.extend(doubts.iter().map(ToString::to_string));
    Ok(Checked { manifest, warnings })
}

/// Why the entry point would not be in the archive, and the way out where it is not plugin.yaml's.
fn missing(
    folder: &Path,
    main: &DeclaredMain,
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
            return Some((main.mistake(message), Some(format!("plugbay pack {}", folder.display()))));
        }
        Err(_) if main.is_built => ("`build` did not make it", None),
        Err(_) => ("it is not there", None),
    };
    Some((main.mistake(format!("the entry point `{}` cannot be packed: {why}", main.path)), how))
}

fn mistakes_in_config(folder: &Path, manifest: &Manifest, packed: &[Source]) -> Result<Vec<FieldError>, Failure> {
    let path = folder.join("config.yaml");
    if !packed.iter().any(|source| source.path.as_str() == "config.yaml") {
        return Ok(Vec::new());
    }
    let bytes = fs::read(&path).map_err(|error| Failure::read(&path, &error))?;
    let Err(error) = manifest.read_config(&bytes) else { return Ok(Vec::new()) };
    let in_file =
        |field: &FieldError| FieldError { message: format!("{} (in config.yaml)", field.message), ..field.clone() };
    Ok(error.fields().iter().map(in_file).collect())
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

fn warnings(manifest: &Manifest, files: &[EntryPath]) -> Vec<String> {
    let mut warnings = manifest.warnings();
    if files.iter().any(|path| path.as_str() == "Dockerfile") {
        warnings.push("the Dockerfile is kept and never built: plugins run in images the operator offers".to_owned());
    }
    warnings
}
