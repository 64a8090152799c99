//! The files that every sandbox sees at `/opt/plugbay`: shim, SDK, and the files hosts and resolv.conf. They travel inside the program, so
//! that service and sandbox always fit together, and are written out once per version.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use plugbay_domain::{Code, Digest, Refusal};

/// The first process of every sandbox, below `/opt/plugbay`.
pub(super) const SHIM: &str = "shim";

/// The only line of `/etc/hosts`, below `/opt/plugbay`: without a network Docker makes none.
pub(super) const HOSTS: &str = "hosts";

/// Where a sandbox with network access asks for names, below `/opt/plugbay`: at the shim.
pub(super) const RESOLV_CONF: &str = "resolv.conf";

/// What is compiled in, by name.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/runtime_files.rs"));

const HOSTS_TEXT: &str = "127.0.0.1 localhost plugin\n";
const RESOLV_CONF_TEXT: &str = "nameserver 127.0.0.1\n";

/// Execute only: a process that cannot read its own program is not dumpable, so a plugin with the shim's uid cannot open
/// the shim's memory in the moment before the shim forbids it by itself.
const SHIM_MODE: u32 = 0o711;
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// Digits of the hash that name a folder.
const NAME_DIGITS: usize = 16;

/// The files of every sandbox.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeFiles;

/// The files of every sandbox could not be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} `{}`", path.display())]
pub struct RuntimeFilesError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Refusal for RuntimeFilesError {
    fn code(&self) -> Code {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Code::DatabaseReadOnly,
            _ => Code::Internal,
        }
    }
}

/// Adds what was tried to an error.
fn failed<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<T, RuntimeFilesError> {
    result.map_err(|source| RuntimeFilesError { action, path: path.to_owned(), source })
}

impl RuntimeFiles {
    /// Makes sure that the files of this version lie below `folder`, whole and unchanged, and removes those of others.
    ///
    /// Returns their absolute folder for [`SandboxSpec::runtime`](super::SandboxSpec::runtime). They appear at once or
    /// not at all. To be called before sandboxes are started: one that runs would lose the files of its older version.
    pub fn write_out(folder: &Path) -> Result<PathBuf, RuntimeFilesError> {
        failed(make_folder(folder), "make", folder)?;
        let folder = failed(folder.canonicalize(), "find", folder)?;
        let wanted = folder.join(Self::name());
        if !failed(is_whole(&wanted), "read", &wanted)? {
            failed(write_all(&folder, &wanted), "write", &wanted)?;
        }
        failed(remove_others(&folder, &wanted), "clean up", &folder)?;
        Ok(wanted)
    }

    /// A name that only these contents have.
    fn name() -> String {
        let mut hash = Sha256::new();
        for (name, file) in files() {
            for part in [name.as_bytes(), &file.mode.to_be_bytes(), file.bytes] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        let mut name = Digest::from_bytes(hash.finalize().into()).to_hex();
        name.truncate(NAME_DIGITS);
        name
    }
}

/// A file as it must be.
struct Wanted {
    mode: u32,
    bytes: &'static [u8],
}

/// Every file by its path below the folder.
fn files() -> BTreeMap<&'static str, Wanted> {
    let embedded = EMBEDDED.iter().map(|(name, bytes)| {
        let mode = if *name == SHIM { SHIM_MODE } else { FILE_MODE };
        (*name, Wanted { mode, bytes })
    });
    let text = |text: &'static str| Wanted { mode: FILE_MODE, bytes: text.as_bytes() };
    embedded.chain([(HOSTS, text(HOSTS_TEXT)), (RESOLV_CONF, text(RESOLV_CONF_TEXT))]).collect()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    // The process's umask may have taken bits away.
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
}

/// Whether the folder holds exactly the files of this version: a Python file too many would be imported by every plugin.
fn is_whole(folder: &Path) -> io::Result<bool> {
    let mut wanted = files();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        match next.symlink_metadata() {
            Ok(found) if found.is_dir() && found.permissions().mode() & 0o7777 == FOLDER_MODE => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            let found = path.symlink_metadata()?;
            if found.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default();
            let Some(file) = wanted.remove(name) else { return Ok(false) };
            let same = found.is_file()
                && found.permissions().mode() & 0o7777 == file.mode
                && found.len() == file.bytes.len() as u64
                && fs::read(&path)? == file.bytes;
            if !same {
                return Ok(false);
            }
        }
    }
    Ok(wanted.is_empty())
}

fn write_all(folder: &Path, wanted: &Path) -> io::Result<()> {
    let fresh = tempfile::Builder::new().prefix(".new-").tempdir_in(folder)?;
    let content = fresh.path().join("content");
    make_folder(&content)?;
    for (name, file) in files() {
        let path = content.join(name);
        let parents = name.match_indices('/').map(|(at, _)| content.join(&name[..at]));
        parents.into_iter().try_for_each(|parent| make_folder(&parent))?;
        let mut out = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&path)?;
        out.write_all(file.bytes)?;
        out.set_permissions(Permissions::from_mode(file.mode))?;
        // A power cut must not leave a whole folder of empty files; what is damaged anyway is found by `is_whole`.
        out.sync_all()?;
    }
    if wanted.symlink_metadata().is_ok() {
        fs::rename(wanted, fresh.path().join("damaged"))?;
    }
    fs::rename(&content, wanted)
}

fn remove_others(folder: &Path, wanted: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path == wanted {
            continue;
        }
        if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "cargo and rustc say what the package is")]
    fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
        let output = std::process::Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The package has the lints and the tests; what runs in sandboxes is compiled by `build.rs`.
    #[test]
    fn the_compiled_in_shim_is_the_package() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shim").canonicalize().unwrap();
        let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"];
        let manifest = folder.join("Cargo.toml").display().to_string();
        let metadata = output(env!("CARGO"), &[&arguments[..], &[&manifest]].concat());
        let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["manifest_path"] == manifest.as_str()).unwrap();
        let [target] = &package["targets"].as_array().unwrap()[..] else { panic!("{}", package["targets"]) };
        let flags = fs::read_to_string(folder.join("rustc.args")).unwrap();
        assert!(flags.contains(&format!("--edition={}\n", target["edition"].as_str().unwrap())), "{flags}");
        assert_eq!(target["name"], SHIM);
        let others = package["dependencies"].as_array().unwrap().iter().filter(|other| other["kind"] != "dev");
        assert_eq!(others.count(), 0, "rustc alone finds no dependency, and no build script runs for it");

        let out = tempfile::tempdir().unwrap();
        let (binary, flags) = (out.path().join(SHIM), format!("@{}", folder.join("rustc.args").display()));
        let source = target["src_path"].as_str().unwrap();
        output("rustc", &[&flags, "-o", binary.to_str().unwrap(), source]);
        let (_, embedded) = EMBEDDED.iter().find(|(name, _)| *name == SHIM).unwrap();
        assert!(fs::read(binary).unwrap() == *embedded, "the package compiles to something else");
    }

    #[test]
    fn the_compiled_in_files_are_those_of_the_tree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python");
        let mut found = vec![SHIM.to_owned()];
        let mut folders = vec![root.join("plugbay")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true if path.ends_with("__pycache__") => {}
                    true => folders.push(path),
                    false => found.push(format!("sdk/{}", path.strip_prefix(&root).unwrap().display())),
                }
            }
        }
        found.sort();
        let mut embedded: Vec<_> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, found, "touch build.rs after a file was added");
        assert!(embedded.contains(&"sdk/plugbay/runner/__main__.py".to_owned()));
    }

    #[test]
    fn files_are_written_once_and_mended() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("runtime");
        let written = RuntimeFiles::write_out(&folder).unwrap();
        assert!(is_whole(&written).unwrap() && written.is_absolute());
        let mode = |name: &str| written.join(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(SHIM), mode(HOSTS), mode("sdk/plugbay/runner"), mode("")), (0o711, 0o644, 0o755, 0o755));
        assert!(fs::read_to_string(written.join(HOSTS)).unwrap().starts_with("127.0.0.1 localhost"));
        let first = written.join(HOSTS).metadata().unwrap().modified().unwrap();
        assert_eq!(RuntimeFiles::write_out(&folder).unwrap(), written);
        assert_eq!(written.join(HOSTS).metadata().unwrap().modified().unwrap(), first, "an equal folder is kept");

        let damages: [fn(&Path); 6] = [
            |folder| fs::write(folder.join(HOSTS), "127.0.0.2 localhost plugin\n").unwrap(),
            |folder| fs::write(folder.join("sdk/asyncio.py"), "evil = True").unwrap(),
            |folder| fs::remove_file(folder.join(SHIM)).unwrap(),
            |folder| fs::set_permissions(folder.join(SHIM), Permissions::from_mode(0o4755)).unwrap(),
            |folder| fs::set_permissions(folder.join("sdk"), Permissions::from_mode(0o777)).unwrap(),
            |folder| {
                fs::remove_file(folder.join(HOSTS)).unwrap();
                std::os::unix::fs::symlink("/etc/hosts", folder.join(HOSTS)).unwrap();
            },
        ];
        for damage in damages {
            damage(&written);
            assert!(!is_whole(&written).unwrap());
            assert_eq!(RuntimeFiles::write_out(&folder).unwrap(), written);
            assert!(is_whole(&written).unwrap());
        }
    }

    #[test]
    fn files_of_other_versions_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("0123456789abcdef")).unwrap();
        fs::create_dir(folder.path().join(".new-left")).unwrap();
        fs::write(folder.path().join("stray"), "").unwrap();
        let written = RuntimeFiles::write_out(folder.path()).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [written.file_name().map(|name| folder.path().canonicalize().unwrap().join(name)).unwrap()]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = RuntimeFiles::write_out(Path::new("/proc/plugbay")).unwrap_err();
        assert_eq!(error.to_string(), "failed to make `/proc/plugbay`");
    }
}
