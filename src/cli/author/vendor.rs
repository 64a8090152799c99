//! Fetches a plugin's Python packages into `vendor/`, wheels only, the same bytes on every machine.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::pip::pip;
use super::settle::settle;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::domain::{Digest, Manifest, Runtime, VendorLock, VendoredPackage, escape};

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

    /// The same, as pip takes it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let file = self.file.iter().flat_map(|path| ["-r".to_owned(), path.display().to_string()]);
        file.chain(self.requirements.iter().cloned()).collect()
    }
}

/// Fills `vendor/` and writes `vendor.lock` in the copy of a plugin.
pub(super) fn vendor(
    wishes: &Wishes,
    copy: &Path,
    target: &Target,
    find_links: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("vendor the dependencies", &error);
    let wheels = tempfile::tempdir().map_err(failed)?;
    let folder = copy.join("vendor");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    let spinner = output.spinner("vendoring dependencies");
    let mut download = vec!["download".to_owned(), format!("--dest={}", wheels.path().display())];
    download.extend(target.options());
    if let Some(links) = find_links {
        let links = links.canonicalize().map_err(|error| Failure::read(links, &error))?;
        download.extend(["--no-index".to_owned(), format!("--find-links={}", links.display())]);
    }
    download.extend(wishes.arguments());
    pip(&download, wishes, target, &spinner)?;
    let files = sorted_files(wheels.path()).map_err(failed)?;
    let mut install: Vec<String> =
        ["install", "--no-deps", "--no-index", "--no-compile"].map(ToOwned::to_owned).to_vec();
    install.push(format!("--target={}", folder.display()));
    install.extend(target.options());
    install.extend(files.iter().map(|path| path.display().to_string()));
    pip(&install, wishes, target, &spinner)?;
    settle(&folder).map_err(failed)?;
    write_lock(&files, copy, target).map_err(failed)?;
    spinner.finish_and_clear();
    output.message(&format!("Vendored {} packages for Python {}.", files.len(), target.version()));
    Ok(())
}

fn sorted_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort_unstable();
    Ok(files)
}

fn write_lock(wheels: &[PathBuf], copy: &Path, target: &Target) -> io::Result<()> {
    let mut packages = Vec::new();
    for path in wheels {
        let mut hash = Sha256::new();
        let mut file = fs::File::open(path)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let digest = Digest::from_bytes(hash.finalize().into());
        let package = VendoredPackage::from_wheel(&name, digest);
        packages.push(package.ok_or_else(|| io::Error::other(format!("`{}` is no wheel", escape(&name))))?);
    }
    let lock = VendorLock { python: target.version(), platform: "linux-x86_64".to_owned(), packages };
    let text = serde_json::to_string_pretty(&lock).map_err(io::Error::other)?;
    fs::write(copy.join("vendor.lock"), text + "\n")
}
