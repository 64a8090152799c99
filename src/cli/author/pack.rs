//! `plugbay pack`: a folder becomes an archive that installs without asking anybody for anything.
//!
//! The author's folder is read, never written, except by the author's own build command. Dependencies are put into a copy.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::{NamedTempFile, TempDir};

use super::archive;
use super::listing;
use super::scan;
use super::source;
use super::vendor::{self, KeptWheels, Target};
use super::wheels::WheelCache;
use crate::analyze::{Advisories, Declared};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::mistake::Mistake;
use crate::config::Environment;
use crate::domain::{Digest, Manifest, escape};
use crate::package::{self, PackSummary};

/// What `pack` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: plugbay pack my-plugin -o my-plugin.tar.gz\n\nThe same files give the same bytes on any \
                        machine. SOURCE_DATE_EPOCH sets the time of every entry (default: 1970). What .pluginignore \
                        lists, in gitignore's syntax, stays out, and so do files such as .env and *.key. Secret keys \
                        are refused wherever they stand; --list shows what would travel."
)]
pub(in crate::cli) struct PackArguments {
    /// The plugin's folder
    dir: PathBuf,
    /// The archive to write (default: NAME-VERSION.tar.gz in the current folder)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show what would be packed, with sizes, and what is left out, with the rule; make nothing
    #[arg(long, conflicts_with_all = ["output", "python", "find_links"])]
    list: bool,
    #[command(flatten)]
    vendoring: Vendoring,
}

/// Where dependencies come from.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Vendoring {
    /// The Python that dependencies are vendored for
    #[arg(long, default_value = "3.11", value_name = "3.N")]
    pub(super) python: Target,
    /// Take dependencies from this folder of wheels, without any network
    #[arg(long, value_name = "DIR")]
    pub(super) find_links: Option<PathBuf>,
    /// Ask the index although the wheels of the last time are kept, and keep what it gives; so does `PLUGBAY_NO_CACHE=1`
    #[arg(long)]
    no_cache: bool,
}

impl Vendoring {
    /// The wheels of the last time, and whether they may be taken.
    fn kept(&self, environment: &Environment) -> KeptWheels {
        let is_refused = environment.get("PLUGBAY_NO_CACHE").is_some_and(|value| !matches!(value, "" | "0"));
        KeptWheels { cache: WheelCache::find(environment), may_be_taken: !self.no_cache && !is_refused }
    }
}

/// A plugin that was packed.
pub(in crate::cli) struct Packed {
    pub(in crate::cli) manifest: Manifest,
    pub(in crate::cli) files: usize,
    path: PathBuf,
    size: u64,
    digest: Digest,
    warnings: Vec<Mistake>,
    /// The folder with the dependencies in it, where there are any. It is gone with this.
    copy: Option<TempDir>,
}

impl Packed {
    /// Where the plugin's dependencies lie: what was fetched, else what its author has put there.
    pub(in crate::cli) fn vendor(&self, folder: &Path) -> PathBuf {
        self.copy.as_ref().map_or(folder, TempDir::path).join("vendor")
    }
}

/// Runs the command.
pub(in crate::cli) fn pack(arguments: &PackArguments, context: &Context) -> Result<(), Failure> {
    if arguments.list {
        return listing::list(&arguments.dir, context);
    }
    let packed = build(&arguments.dir, arguments.output.as_deref(), &arguments.vendoring, context)?;
    let Packed { manifest, files, path, size, digest, warnings, copy } = packed;
    let source = copy.as_ref().map_or(arguments.dir.as_path(), TempDir::path);
    let scan = scan::of_folder(source, Some(&Declared::of(&manifest)), &Advisories::default())?;
    scan::warn(&scan, &context.output);
    let shown = path.display();
    context.output.result(
        &format!("{shown}\n{size} bytes\n{digest}"),
        &json!({
            "path": path,
            "name": manifest.name,
            "version": manifest.version,
            "size": size,
            "digest": digest,
            "files": files,
            "scan": scan,
            "warnings": warnings.iter().map(Mistake::sentence).collect::<Vec<_>>(),
        }),
    );
    context.output.message(&format!("Packed {files} files. Next: plugbay sign {shown} --key NAME.key"));
    Ok(())
}

/// Checks a folder and packs it.
pub(in crate::cli) fn build(
    folder: &Path,
    output: Option<&Path>,
    vendoring: &Vendoring,
    context: &Context,
) -> Result<Packed, Failure> {
    let mtime = mtime(&context.environment)?;
    // A manifest with mistakes is told with everything else that is wrong; nothing of it is run.
    if let Some(build) = archive::read_manifest(folder).ok().and_then(|manifest| manifest.build) {
        source::run_build(folder, &build, &context.output)?;
    }
    let archive::Checked { manifest, warnings } = archive::check_folder(folder, archive::Build::Done)?;
    for warning in &warnings {
        context.output.warning_at(warning);
    }
    let usual = || PathBuf::from(format!("{}-{}.tar.gz", manifest.name, manifest.version));
    let path = output.map_or_else(usual, Path::to_owned);
    let copy = vendored_copy(folder, vendoring, &manifest, context)?;
    let source = copy.as_ref().map_or(folder, TempDir::path);
    let (archive, summary) = pack_into_temporary(source, &manifest, mtime)?;
    refuse_output_in_package(folder, &path, &summary)?;
    let size = archive.as_file().metadata().map_err(|error| Failure::io("read the archive", &error))?.len();
    let (_, digest) = archive::check_archive(archive.path())?;
    publish(archive.path(), &path)?;
    Ok(Packed { manifest, files: summary.files.len(), path, size, digest, warnings, copy })
}

/// The time every entry gets: <https://reproducible-builds.org/specs/source-date-epoch/>.
fn mtime(environment: &Environment) -> Result<u64, Failure> {
    let Some(text) = environment.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(0) };
    // More does not fit the field of a tar header.
    text.parse().ok().filter(|seconds| *seconds < 1 << 33).ok_or_else(|| {
        let detail = format!("SOURCE_DATE_EPOCH is `{}`, which is no number of seconds since 1970", escape(text));
        Failure::local(Local::Usage, detail, "unset it, or set it to a number")
    })
}

/// A copy of the folder with `vendor/` in it, if there is anything to vendor.
fn vendored_copy(
    folder: &Path,
    vendoring: &Vendoring,
    manifest: &Manifest,
    context: &Context,
) -> Result<Option<TempDir>, Failure> {
    let wishes = vendor::Wishes::of(folder, manifest);
    if wishes.is_empty() {
        return Ok(None);
    }
    let copy = tempfile::tempdir().map_err(|error| Failure::io("make a temporary folder", &error))?;
    source::copy_folder(folder, copy.path())?;
    vendor::vendor(
        &vendor::Choice::new(&wishes, vendoring)?,
        copy.path(),
        &vendoring.kept(&context.environment),
        context,
    )?;
    Ok(Some(copy))
}

fn pack_into_temporary(
    source: &Path,
    manifest: &Manifest,
    mtime: u64,
) -> Result<(NamedTempFile, PackSummary), Failure> {
    let failed = |error: io::Error| Failure::io("write the archive", &error);
    let mut file = NamedTempFile::new().map_err(failed)?;
    let mut buffer = io::BufWriter::new(file.as_file_mut());
    let summary = package::pack(source, &mut buffer, &archive::options(manifest, mtime))?;
    buffer.flush().map_err(failed)?;
    drop(buffer);
    Ok((file, summary))
}

/// An archive that holds its own last version would grow with every run, and never twice have the same bytes.
fn refuse_output_in_package(folder: &Path, output: &Path, summary: &PackSummary) -> Result<(), Failure> {
    let (Ok(folder), Ok(output)) = (folder.canonicalize(), output.canonicalize()) else { return Ok(()) };
    let Ok(inner) = output.strip_prefix(folder) else { return Ok(()) };
    if !summary.files.iter().any(|path| Path::new(path.as_str()) == inner) {
        return Ok(());
    }
    let detail = format!("`{}` lies in the plugin's folder and would be packed into itself", output.display());
    Err(Failure::local(Local::PathExists, detail, "list it in .pluginignore, or write the archive elsewhere with -o"))
}

/// Puts the finished archive in its place at once: nobody ever sees half of it.
fn publish(from: &Path, output: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(format_args!("write `{}`", output.display()), &error);
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(Failure::missing(parent));
    }
    let mut name = output.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(name);
    let written = File::open(from).and_then(|mut source| {
        // Not a file of `tempfile`: those are for their owner alone, and archives are for sharing.
        let mut target = File::create(&part)?;
        io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        fs::rename(&part, output)
    });
    written.map_err(|error| {
        drop(fs::remove_file(&part));
        failed(error)
    })
}
