//! Fetches a plugin's Python packages into `vendor/`, wheels only, the same bytes on every machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use indicatif::ProgressBar;

use super::pack::Vendoring;
use super::pip::pip;
use super::settle::settle;
use super::wheels::{LockKey, Wheel, WheelCache, copy_hashed};
use crate::cli::Context;
use crate::cli::failure::Failure;
use crate::config::Environment;
use crate::domain::{Manifest, Runtime, VendorLock, VendoredPackage, escape};

/// Newest glibc that wheels may need; the images that plugins run in have at least this one.
const NEWEST_GLIBC: u32 = 28;

/// Oldest glibc that any wheel was ever tagged for.
const OLDEST_GLIBC: u32 = 5;

/// The Python that packages are chosen for.
#[derive(Clone, Debug)]
pub(super) struct Target(u32);

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minor =
            text.strip_prefix("3.").and_then(|minor| minor.parse().ok()).filter(|minor| (9..100).contains(minor));
        minor.map(Self).ok_or_else(|| "expected a version of Python from 3.9 on, such as 3.11".to_owned())
    }
}

impl Target {
    /// The version as people write it.
    pub(super) fn version(&self) -> String {
        format!("3.{}", self.0)
    }

    /// The choice of wheels, as pip takes it: each platform tag stands for itself alone.
    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = ["--only-binary=:all:", "--implementation=cp"].map(ToOwned::to_owned).to_vec();
        options.push(format!("--python-version={}", self.version()));
        options
            .extend((OLDEST_GLIBC..=NEWEST_GLIBC).rev().map(|minor| format!("--platform=manylinux_2_{minor}_x86_64")));
        for platform in ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"] {
            options.push(format!("--platform={platform}"));
        }
        options.extend([format!("--abi=cp3{}", self.0), "--abi=abi3".to_owned(), "--abi=none".to_owned()]);
        options
    }
}

/// What a plugin wants in `vendor/`.
pub(super) struct Wishes {
    requirements: Vec<String>,
    file: Option<PathBuf>,
}

impl Wishes {
    /// What plugin.yaml and requirements.txt ask for.
    pub(super) fn of(folder: &Path, manifest: &Manifest) -> Self {
        if manifest.runtime != Runtime::Python {
            return Self { requirements: Vec::new(), file: None };
        }
        let path = folder.join("requirements.txt");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let asks = text.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
        Self { requirements: manifest.dependencies.clone(), file: asks.then_some(path) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requirements.is_empty() && self.file.is_none()
    }

    /// Every line of them without comments; nothing when they cannot be read.
    fn lines(&self) -> Option<Vec<String>> {
        let text = match &self.file {
            Some(path) => fs::read_to_string(path).ok()?,
            None => String::new(),
        };
        let lines = self.requirements.iter().map(String::as_str).chain(text.lines()).map(str::trim);
        Some(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(ToOwned::to_owned).collect())
    }

    /// The same, as pip takes it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let file = self.file.iter().flat_map(|path| ["-r".to_owned(), path.display().to_string()]);
        file.chain(self.requirements.iter().cloned()).collect()
    }
}

/// What decides which wheels are taken.
pub(super) struct Choice<'a> {
    pub(super) wishes: &'a Wishes,
    pub(super) target: &'a Target,
    /// A folder of wheels in the place of every index.
    links: Option<PathBuf>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(wishes: &'a Wishes, vendoring: &'a Vendoring) -> Result<Self, Failure> {
        let whole = |links: &PathBuf| links.canonicalize().map_err(|error| Failure::read(links, &error));
        Ok(Self { wishes, target: &vendoring.python, links: vendoring.find_links.as_ref().map(whole).transpose()? })
    }

    /// The same, as pip takes it.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = self.target.options();
        if let Some(links) = &self.links {
            options.extend(["--no-index".to_owned(), format!("--find-links={}", links.display())]);
        }
        options
    }

    /// What its wheels are remembered under; nothing where they depend on more than can be told from here.
    fn key(&self, environment: &Environment) -> Option<LockKey> {
        let lines = self.wishes.lines()?;
        if self.links.is_some() || !lines.iter().all(|line| is_plain_wish(line)) {
            return None;
        }
        let version = self.target.version();
        let settings: Vec<String> =
            environment.with_prefix("PIP_").map(|(name, value)| format!("{name}={value}")).collect();
        let parts = [env!("CARGO_PKG_VERSION"), &version].into_iter();
        let parts = parts.chain(lines.iter().map(String::as_str)).chain(["\n"]);
        Some(LockKey::of(parts.chain(settings.iter().map(String::as_str))))
    }
}

/// Tells whether a line names a package, and no file, address or option that could mean something else tomorrow.
fn is_plain_wish(line: &str) -> bool {
    let is_archive = [".whl", ".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz"].iter().any(|end| line.ends_with(end));
    line.starts_with(|first: char| first.is_ascii_alphanumeric()) && !line.contains(['@', '/', '\\']) && !is_archive
}

/// What is kept of earlier packs.
pub(super) struct KeptWheels {
    pub(super) cache: Option<WheelCache>,
    /// Otherwise the index is asked, and what it gives is kept in their place.
    pub(super) may_be_taken: bool,
}

/// Fills `vendor/` and writes `vendor.lock` in the copy of a plugin.
pub(super) fn vendor(choice: &Choice<'_>, copy: &Path, kept: &KeptWheels, context: &Context) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("vendor the dependencies", &error);
    let wheels = tempfile::tempdir().map_err(failed)?;
    let folder = copy.join("vendor");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    let output = &context.output;
    let spinner = output.spinner("vendoring dependencies");
    let cached = kept.cache.as_ref().and_then(|cache| Some((cache, choice.key(&context.environment)?)));
    let recalled =
        cached.as_ref().filter(|_| kept.may_be_taken).and_then(|(cache, key)| cache.recall(key, wheels.path()));
    let is_recalled = recalled.is_some();
    let mut files = match recalled {
        Some(files) => files,
        None => fetch(choice, wheels.path(), &spinner)?,
    };
    files.sort_unstable();
    let mut install: Vec<String> =
        ["install", "--no-deps", "--no-index", "--no-compile"].map(ToOwned::to_owned).to_vec();
    install.push(format!("--target={}", folder.display()));
    install.extend(choice.target.options());
    install.extend(files.iter().map(|path| path.display().to_string()));
    pip(&install, choice, &spinner)?;
    settle(&folder).map_err(failed)?;
    let found = write_lock(&files, copy, choice.target).map_err(failed)?;
    spinner.finish_and_clear();
    let how = if is_recalled { ", from the cache; --no-cache asks the index again" } else { "" };
    output.message(&format!("Vendored {} packages for Python {}{how}.", files.len(), choice.target.version()));
    if let Some((cache, key)) = cached.filter(|_| !is_recalled)
        && let Err(error) = cache.keep(&key, &found, wheels.path())
    {
        output.message(&format!("The wheels are not kept for the next time: {error}"));
    }
    Ok(())
}

/// Has pip choose and fetch the wheels.
fn fetch(choice: &Choice<'_>, wheels: &Path, spinner: &ProgressBar) -> Result<Vec<PathBuf>, Failure> {
    let mut download = vec!["download".to_owned(), format!("--dest={}", wheels.display())];
    download.extend(choice.options());
    download.extend(choice.wishes.arguments());
    pip(&download, choice, spinner)?;
    let failed = |error: io::Error| Failure::io("vendor the dependencies", &error);
    let entries = fs::read_dir(wheels).map_err(failed)?;
    entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)
}

fn write_lock(paths: &[PathBuf], copy: &Path, target: &Target) -> io::Result<Vec<Wheel>> {
    let (mut packages, mut wheels) = (Vec::new(), Vec::new());
    for path in paths {
        let sha256 = copy_hashed(&mut fs::File::open(path)?, &mut io::sink())?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let package = VendoredPackage::from_wheel(&file, sha256);
        packages.push(package.ok_or_else(|| io::Error::other(format!("`{}` is no wheel", escape(&file))))?);
        wheels.push(Wheel { file, sha256 });
    }
    let lock = VendorLock { python: target.version(), platform: "linux-x86_64".to_owned(), packages };
    let text = serde_json::to_string_pretty(&lock).map_err(io::Error::other)?;
    fs::write(copy.join("vendor.lock"), text + "\n")?;
    Ok(wheels)
}
