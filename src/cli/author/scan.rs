//! `plugbay scan`: what the code of a folder or archive looks like, judged by rules. Nothing of it is run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::archive;
use super::report::{self, Format, Report};
use crate::analyze::{Advisories, Declared, Hit, Limits, Policy, Scan, SourceFile, Verdict, scan_files, scan_folder};
use crate::cli::Context;
use crate::cli::client::scan_installed;
use crate::cli::failure::{Failure, Local};
use crate::cli::output::Output;
use crate::domain::{ArchiveLimits, Manifest, Word as _, escape};
use crate::package;

/// What `scan` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: plugbay scan my-plugin --format sarif > plugbay.sarif\n\nNothing of the plugin is run. \
                        `malicious` ends with 4, as no service lets it in by default; all else with 0. A scan helps a reader: \
                        code can be hidden from it, and the sandbox is the border."
)]
pub(in crate::cli) struct ScanArguments {
    /// A plugin's folder or archive; the current folder when absent
    path: Option<PathBuf>,
    /// A plugin that is installed: what the service found in its code
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "advisories"])]
    installed: Option<String>,
    /// Have the service read it again
    #[arg(long, requires = "installed")]
    again: bool,
    /// How hits are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Known holes of packages, as JSON files in the format of OSV, against vendor.lock
    #[arg(long, value_name = "DIR")]
    advisories: Option<PathBuf>,
}

/// What every text of a scan ends with.
const BORDER: &str = "A scan helps a reader and can be evaded. The border is the sandbox, and what you grant.";

/// Runs the command.
pub(in crate::cli) fn scan(arguments: &ScanArguments, context: &Context) -> Result<(), Failure> {
    let ScanArguments { path, installed, again, format, advisories } = arguments;
    let context = &format.context(context)?;
    if let Some(name) = installed {
        if matches!(format, Format::Sarif | Format::Github) {
            let detail = "the files of an installed plugin are with the service, and these formats point at files";
            return Err(Failure::local(Local::Usage, detail, "use --format text or json, or scan the archive"));
        }
        return scan_installed(name, *again, context);
    }
    let path = path.as_deref().unwrap_or(Path::new("."));
    let advisories = match advisories {
        Some(folder) => Advisories::read(folder).map_err(|error| Failure::read(folder, &error))?,
        None => Advisories::default(),
    };
    for problem in advisories.problems() {
        context.output.warning(problem);
    }
    let is_folder = fs::metadata(path).map_err(|error| Failure::read(path, &error))?.is_dir();
    let scan = if is_folder {
        let declared = declared_in(path, &context.output);
        of_folder(path, declared.as_ref(), &advisories)?
    } else {
        of_archive(path, &advisories)?
    };
    match format {
        Format::Text | Format::Json => context.output.result(&text(&path.display().to_string(), &scan), &scan),
        Format::Sarif => {
            context.output.result(&report::sarif(&Report::of_scan(path, &scan).below_its_root(&scan)), &());
        }
        Format::Github => {
            let text = report::github(&Report::of_scan(path, &scan));
            if !text.is_empty() {
                context.output.result(&text, &());
            }
        }
    }
    settle(Some(scan.verdict).filter(|verdict| *verdict == Verdict::Malicious))
}

/// What was written ends the command well, or with the verdict for which the package is refused.
pub(in crate::cli) fn settle(refused: Option<Verdict>) -> Result<(), Failure> {
    let Some(verdict) = refused else { return Ok(()) };
    Err(Failure::local(Local::Scan, format!("the package is {verdict}"), "look at each hit").written())
}

/// What plugin.yaml asks for, where it is valid: a scan also helps with a folder that is none of a plugin yet.
fn declared_in(folder: &Path, output: &Output) -> Option<Declared> {
    match archive::read_manifest(folder) {
        Ok(manifest) => Some(Declared::of(&manifest)),
        Err(failure) => {
            output.warning(&format!("plugin.yaml is not compared with the code: {}", failure.detail));
            None
        }
    }
}

/// Judges a folder as it would be packed.
pub(super) fn of_folder(folder: &Path, declared: Option<&Declared>, advisories: &Advisories) -> Result<Scan, Failure> {
    let packed = package::sources(folder)?.packed.into_iter().filter(|source| source.file.is_some());
    let files = packed.map(|source| SourceFile { path: source.path.to_string(), from: source.from }).collect();
    Ok(scan_files(files, declared, &Policy::default(), advisories, &Limits::default()))
}

/// Judges an archive. It is read by the service's rules, and unpacked into a folder that is gone afterwards.
pub(super) fn of_archive(path: &Path, advisories: &Advisories) -> Result<Scan, Failure> {
    let failed = |error: io::Error| Failure::io("unpack the archive", &error);
    let (archive, _) = archive::open(path)?;
    let manifest = Manifest::parse(archive.manifest_bytes())?;
    let folder = tempfile::tempdir().map_err(failed)?;
    let into = folder.path().join("package");
    // What is missing in it is told by `validate`, and must not keep a reader from looking.
    let staged = archive.unpack(&into, &archive::wanted(&manifest, false), &ArchiveLimits::default())?;
    let declared = Declared::of(&manifest);
    let scan = scan_folder(&into, Some(&declared), &Policy::default(), advisories, &Limits::default());
    drop(staged);
    scan.map_err(failed)
}

/// A scan for people: the verdict, then the hits by how much they matter.
pub(in crate::cli) fn text(subject: &str, scan: &Scan) -> String {
    let files = if scan.files == 1 { "1 file" } else { &format!("{} files", scan.files) };
    let mut lines = vec![format!("{}: {} ({files})", escape(subject), scan.verdict), String::new()];
    for verdict in Verdict::ALL.iter().copied().rev() {
        let hits: Vec<&Hit> = scan.hits.iter().filter(|hit| hit.verdict == verdict).collect();
        if hits.is_empty() {
            continue;
        }
        lines.push(verdict.to_string());
        let mut told = None;
        for hit in hits {
            lines.push(format!("  {}", sentence(hit)));
            // What a rule says once holds for the hits after it, too.
            if told != Some((&hit.rule, &hit.reason)) {
                lines.extend([&hit.reason, &hit.how].map(|text| format!("      {}", escape(text))));
            }
            told = Some((&hit.rule, &hit.reason));
        }
        lines.push(String::new());
    }
    if scan.left_out > 0 {
        lines.push(format!("{} more hits are not shown.", scan.left_out));
    }
    if !scan.is_complete {
        lines.push("Not all of it was read: a limit was reached.".to_owned());
    }
    lines.push(BORDER.to_owned());
    lines.join("\n")
}

/// A hit in one line: `main.py:3:5: credentials: open(~/.ssh/id_rsa)`.
fn sentence(hit: &Hit) -> String {
    let place = hit.place.map(|place| format!(":{}:{}", place.line, place.column)).unwrap_or_default();
    let path = if hit.path.is_empty() { "the package" } else { &hit.path };
    format!("{}{place}: {}: {}", escape(path), hit.rule, escape(&hit.what))
}

/// Tells the author what readers of the package will be told.
pub(super) fn warn(scan: &Scan, output: &Output) {
    const TOLD: usize = 20;
    for hit in scan.hits.iter().filter(|hit| hit.verdict >= Verdict::Suspicious).take(TOLD) {
        output.warning(&format!("{} ({})\n{}", sentence(hit), hit.verdict, escape(&hit.reason)));
    }
    let notes = scan.hits.iter().filter(|hit| hit.verdict == Verdict::Notes).count();
    if scan.verdict > Verdict::Clean {
        output.message(&format!("Scan: {}, {notes} notes. `plugbay scan` shows all of it.", scan.verdict));
    }
}
