//! The data directory: who may use it, where things are, what is left over.

mod error;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;
use tracing::info;

use plugbay_domain::{Digest, PluginId};

pub use error::DataDirError;

/// Folders that hold content named by sha256.
const ARCHIVES: &str = "archives";
const PACKAGES: &str = "packages";
const STAGING: &str = "staging";
/// What plugins keep.
const VOLUMES: &str = "volumes";
/// What plugins print.
const LOGS: &str = "logs";
/// Hex digits of an installation's name.
const INSTANCE_DIGITS: usize = 32;

/// A data directory that no other service uses while this value lives.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    /// Held until [`DataDir::release`], or until the process ends.
    lock: Mutex<Option<Lock>>,
}

fn file_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DataDirError + 'a {
    move |source| DataDirError::File { action, path: path.to_owned(), source }
}

impl DataDir {
    /// Makes the directory if needed, locks it, and empties the staging folder.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        make_folder(root)?;
        // The shell may have been started in another folder than the tools that read this path later.
        let root = root.canonicalize().map_err(file_error("resolve", root))?;
        let lock = take_lock(&root)?;
        let staging = root.join(STAGING);
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(file_error("empty", &staging))?;
        }
        for folder in [ARCHIVES, PACKAGES, STAGING, VOLUMES, LOGS] {
            make_folder(&root.join(folder))?;
        }
        Ok(Self { root, lock: Mutex::new(Some(lock)) })
    }

    /// Locks a directory that a service has used; nothing is made or removed.
    pub fn open_existing(root: &Path) -> Result<Self, DataDirError> {
        let root = root.canonicalize().map_err(file_error("open", root))?;
        let lock = take_lock(&root)?;
        Ok(Self { root, lock: Mutex::new(Some(lock)) })
    }

    /// Lets another service have the directory, whoever still holds this value.
    pub fn release(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What plugins keep.
    pub fn volumes(&self) -> PathBuf {
        self.root.join(VOLUMES)
    }

    /// What the plugin prints.
    pub fn log(&self, plugin: PluginId) -> PathBuf {
        self.root.join(LOGS).join(format!("{plugin}.jsonl"))
    }

    /// Where shim and SDK are written out.
    pub fn runtime(&self) -> PathBuf {
        self.root.join("runtime")
    }

    /// The name by which this installation's sandboxes are told from others; made when it is not there.
    pub fn instance(&self) -> Result<String, DataDirError> {
        let path = self.root.join("instance");
        match fs::read_to_string(&path) {
            Ok(name) if name.len() == INSTANCE_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(name),
            Ok(_) => Err(file_error("understand", &path)(io::ErrorKind::InvalidData.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = uuid::Uuid::now_v7().simple().to_string();
                fs::write(&path, &name).map_err(file_error("write", &path))?;
                Ok(name)
            }
            Err(error) => Err(file_error("read", &path)(error)),
        }
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.root.join("plugbay.db")
    }

    /// Known holes of packages, a record in each line.
    pub fn advisories(&self) -> PathBuf {
        self.root.join("advisories.ndjson")
    }

    /// Where the first token is written.
    pub fn admin_token(&self) -> PathBuf {
        self.root.join("admin.token")
    }

    /// Where the master key is.
    pub fn master_key_file(&self) -> PathBuf {
        self.root.join("master.key")
    }

    /// Where an archive is kept.
    pub fn archive(&self, digest: Digest) -> PathBuf {
        self.root.join(ARCHIVES).join(digest.to_hex())
    }

    /// Where an archive's signature is kept.
    pub fn signature(&self, digest: Digest) -> PathBuf {
        self.root.join(ARCHIVES).join(format!("{}.minisig", digest.to_hex()))
    }

    /// The folder of unpacked packages.
    pub fn packages(&self) -> PathBuf {
        self.root.join(PACKAGES)
    }

    /// Where a package is unpacked.
    pub fn package(&self, digest: Digest) -> PathBuf {
        self.packages().join(digest.to_hex())
    }

    /// A new folder on the same file system, which is removed when it is dropped.
    pub fn stage(&self) -> Result<TempDir, DataDirError> {
        let staging = self.root.join(STAGING);
        let folder = staging.join(uuid::Uuid::now_v7().to_string());
        tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .prefix(folder.file_name().unwrap_or_default())
            .rand_bytes(0)
            .tempdir_in(&staging)
            .map_err(file_error("make a folder in", &staging))
    }

    /// Reads the master key, or makes it if nothing was sealed yet.
    pub fn master_key(&self, needed: KeyNeeded) -> Result<[u8; 32], DataDirError> {
        let path = self.master_key_file();
        match File::open(&path) {
            Ok(file) => read_master_key(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && needed == KeyNeeded::MayBeNew => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|error| file_error("draw", &path)(io::Error::other(error)))?;
                write_secret(&path, &key)?;
                Ok(key)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DataDirError::KeyMissing { path }),
            Err(error) => Err(file_error("open", &path)(error)),
        }
    }

    /// Writes the first token, for its owner alone.
    pub fn write_admin_token(&self, secret: &str) -> Result<(), DataDirError> {
        write_secret(&self.admin_token(), format!("{secret}\n").as_bytes())
    }

    /// Removes archives and packages that no version refers to: what a killed install or uninstall left behind.
    pub fn remove_left_overs(&self, kept: &HashSet<Digest>) -> Result<usize, DataDirError> {
        let kept: HashSet<String> = kept.iter().map(|digest| digest.to_hex()).collect();
        let mut removed = 0;
        for folder in [ARCHIVES, PACKAGES] {
            let folder = self.root.join(folder);
            for entry in fs::read_dir(&folder).map_err(file_error("list", &folder))? {
                let path = entry.map_err(file_error("list", &folder))?.path();
                let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
                if !kept.contains(name) {
                    remove(&path)?;
                    removed += 1;
                    info!(path = %path.display(), "Removed `{}`, which no plugin refers to", path.display());
                }
            }
        }
        Ok(removed)
    }

    /// Removes archive, signature and package of one digest.
    pub fn remove_content(&self, digest: Digest) -> Result<(), DataDirError> {
        for path in [self.package(digest), self.archive(digest), self.signature(digest)] {
            remove(&path)?;
        }
        Ok(())
    }
}

/// Whether a missing master key may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyNeeded {
    /// The database holds nothing that was sealed.
    MayBeNew,
    /// The database was written with it.
    MustExist,
}

/// Writes a master key that came from elsewhere.
pub fn write_master_key(root: &Path, key: &[u8; 32]) -> Result<(), DataDirError> {
    write_secret(&root.join("master.key"), key)
}

/// Reads a master key wherever it lies; nobody else may be able to.
pub fn read_key_file(path: &Path) -> Result<[u8; 32], DataDirError> {
    read_master_key(File::open(path).map_err(file_error("open", path))?, path.to_owned())
}

fn make_folder(path: &Path) -> Result<(), DataDirError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file_error("make", path))
}

/// The right to use a data directory.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it is not enough: a child that was just started has it, too, until its program runs.
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "The lock of the data directory is given back when the process ends");
        }
    }
}

fn take_lock(root: &Path) -> Result<Lock, DataDirError> {
    let path = root.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(file_error("open", &path))?;
    // The kernel gives the lock back when the process ends, however it ends.
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder).map_err(file_error("read", &path))?;
        return Err(DataDirError::InUse { root: root.to_owned(), holder: holder.trim().to_owned() });
    }
    file.set_len(0).map_err(file_error("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(file_error("write", &path))?;
    Ok(Lock(file))
}

fn read_master_key(mut file: File, path: PathBuf) -> Result<[u8; 32], DataDirError> {
    let mode = file.metadata().map_err(file_error("read", &path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::KeyReadable { path, mode });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(file_error("read", &path))?;
    bytes.try_into().map_err(|bytes: Vec<u8>| DataDirError::KeyLength { path, found: bytes.len() })
}

/// Writes a file of mode 0600 wholly or not at all.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(file_error("write", path))
}

fn remove(path: &Path) -> Result<(), DataDirError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_package(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(file_error("remove", path)),
    }
}

/// Packages are read-only; a service that is not root has to make their folders writable to empty them.
fn remove_package(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::{Code, Refusal as _};

    #[test]
    fn a_second_service_is_refused_and_names_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let error = DataDir::open(folder.path()).unwrap_err();
        assert_eq!(error.code(), Code::DataDirInUse);
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_master_key_is_made_once_and_its_loss_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let key = data.master_key(KeyNeeded::MayBeNew).unwrap();
        assert_eq!(data.master_key(KeyNeeded::MustExist).unwrap(), key);

        fs::set_permissions(data.master_key_file(), Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(data.master_key(KeyNeeded::MustExist), Err(DataDirError::KeyReadable { .. })));
        fs::remove_file(data.master_key_file()).unwrap();
        assert!(matches!(data.master_key(KeyNeeded::MustExist), Err(DataDirError::KeyMissing { .. })));
    }

    #[test]
    fn staging_is_emptied_and_left_overs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let staged = data.stage().unwrap().keep();
        fs::write(staged.join("archive"), b"half").unwrap();
        let (kept, lost) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        for digest in [kept, lost] {
            fs::write(data.archive(digest), b"x").unwrap();
            fs::write(data.signature(digest), b"x").unwrap();
            fs::create_dir(data.package(digest)).unwrap();
            fs::set_permissions(data.package(digest), Permissions::from_mode(0o555)).unwrap();
        }
        drop(data);
        let data = DataDir::open(folder.path()).unwrap();
        assert!(!staged.exists());
        assert_eq!(data.remove_left_overs(&HashSet::from([kept])).unwrap(), 3);
        assert!(data.archive(kept).exists() && data.signature(kept).exists() && data.package(kept).exists());
        assert!(!data.archive(lost).exists() && !data.signature(lost).exists() && !data.package(lost).exists());
    }
}
