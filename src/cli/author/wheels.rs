//! Wheels that were fetched before, and which of them a plugin was packed with: the second pack needs no index.
//!
//! `$XDG_CACHE_HOME/plugbay/wheels`, else `~/.cache/plugbay/wheels`, holds a folder NAME-VERSION-SHA256 for each wheel and
//! under `locks` a list for each set of wishes. Nothing in it is believed: a wheel is hashed while it is copied out.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::Environment;
use crate::domain::{Digest, VendoredPackage};

/// Bytes of all wheels. Beyond it, the ones that were not used for longest leave.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Lists that are remembered.
const MAX_LOCKS: usize = 1_000;

/// Bytes of a list.
const MAX_LOCK_BYTES: u64 = 1024 * 1024;

/// The cache of this user.
#[derive(Debug)]
pub(super) struct WheelCache {
    folder: PathBuf,
    max_bytes: u64,
}

/// A wheel with what its bytes are.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wheel {
    pub(super) file: String,
    pub(super) sha256: Digest,
}

/// What a list is remembered under.
#[derive(Debug)]
pub(super) struct LockKey(Digest);

impl LockKey {
    /// Of everything that decides which wheels are chosen.
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(Digest::from_bytes(hash.finalize().into()))
    }
}

impl WheelCache {
    /// The cache, where this user has a place for one.
    pub(super) fn find(environment: &Environment) -> Option<Self> {
        let place = |name: &str| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = place("XDG_CACHE_HOME").or_else(|| place("HOME").map(|home| home.join(".cache")))?;
        Some(Self { folder: base.join("plugbay/wheels"), max_bytes: MAX_BYTES })
    }

    /// Copies the wheels of a remembered list into a folder, if every one of them is there as it was.
    pub(super) fn recall(&self, key: &LockKey, to: &Path) -> Option<Vec<PathBuf>> {
        let mut text = Vec::new();
        File::open(self.lock(key)).ok()?.take(MAX_LOCK_BYTES).read_to_end(&mut text).ok()?;
        let wheels: Vec<Wheel> = serde_json::from_slice(&text).ok()?;
        let copied: Option<Vec<PathBuf>> = wheels.iter().map(|wheel| self.copy_out(wheel, to)).collect();
        if copied.is_none() {
            // What was copied before the one that lacks must not be taken for what pip fetched.
            wheels
                .iter()
                .filter(|wheel| is_plain(&wheel.file))
                .for_each(|wheel| drop(fs::remove_file(to.join(&wheel.file))));
        }
        copied.filter(|copied| !copied.is_empty())
    }

    fn copy_out(&self, wheel: &Wheel, to: &Path) -> Option<PathBuf> {
        let kept = self.place(wheel)?;
        let target = to.join(&wheel.file);
        let mut from = File::open(&kept).ok()?;
        if copy_hashed(&mut from, &mut File::create_new(&target).ok()?).ok()? != wheel.sha256 {
            drop(fs::remove_file(kept));
            return None;
        }
        // The ones that were not used for longest leave first.
        drop(File::options().append(true).open(&kept).and_then(|file| file.set_times(now())));
        Some(target)
    }

    /// Keeps wheels and remembers them under `key`.
    pub(super) fn keep(&self, key: &LockKey, wheels: &[Wheel], from: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join("locks"))?;
        for wheel in wheels {
            let Some(place) = self.place(wheel) else { continue };
            if place.is_file() {
                continue;
            }
            let folder = place.parent().unwrap_or(&self.folder);
            fs::create_dir_all(folder)?;
            let mut part = tempfile::NamedTempFile::new_in(folder)?;
            if copy_hashed(&mut File::open(from.join(&wheel.file))?, part.as_file_mut())? == wheel.sha256 {
                part.persist(&place)?;
            }
        }
        let mut lock = tempfile::NamedTempFile::new_in(&self.folder)?;
        lock.write_all(&serde_json::to_vec(wheels)?)?;
        lock.persist(self.lock(key))?;
        self.shrink()
    }

    /// Where a wheel is kept; nowhere when its name is none.
    fn place(&self, wheel: &Wheel) -> Option<PathBuf> {
        let package = VendoredPackage::from_wheel(&wheel.file, wheel.sha256).filter(|_| is_plain(&wheel.file))?;
        let folder = format!("{}-{}-{}", package.name, package.version, wheel.sha256.to_hex());
        Some(self.folder.join(folder).join(&wheel.file))
    }

    fn lock(&self, key: &LockKey) -> PathBuf {
        self.folder.join("locks").join(format!("{}.json", key.0.to_hex()))
    }

    /// Removes what is too much, oldest first.
    fn shrink(&self) -> io::Result<()> {
        let locks = oldest_first(&self.folder.join("locks"))?;
        for lock in &locks[..locks.len().saturating_sub(MAX_LOCKS)] {
            fs::remove_file(&lock.path)?;
        }
        let mut wheels = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("locks") {
                wheels.extend(oldest_first(&path)?);
            }
        }
        wheels.sort_by_key(|wheel| wheel.used);
        let mut bytes: u64 = wheels.iter().map(|wheel| wheel.bytes).sum();
        for wheel in wheels {
            if bytes <= self.max_bytes {
                break;
            }
            bytes -= wheel.bytes;
            fs::remove_file(&wheel.path)?;
            // Another program may be putting something there.
            drop(wheel.path.parent().map(fs::remove_dir));
        }
        Ok(())
    }
}

/// A file of the cache.
struct Kept {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

fn oldest_first(folder: &Path) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Another program may have removed it just now.
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        found.push(Kept { path, bytes: about.len(), used: about.modified()? });
    }
    found.sort_by_key(|kept| kept.used);
    Ok(found)
}

/// The name of a file, and not a path.
fn is_plain(name: &str) -> bool {
    !name.contains(['/', '\\', '\0']) && !name.starts_with('.')
}

#[expect(clippy::disallowed_methods, reason = "when a file was used, for this machine alone")]
fn now() -> FileTimes {
    FileTimes::new().set_modified(SystemTime::now())
}

/// Copies everything and tells what it was.
pub(super) fn copy_hashed(from: &mut File, to: &mut impl io::Write) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(folder: &Path, name: &str, bytes: usize) -> Wheel {
        let file = format!("{name}-1.0-py3-none-any.whl");
        fs::write(folder.join(&file), vec![7; bytes]).unwrap();
        let sha256 = copy_hashed(&mut File::open(folder.join(&file)).unwrap(), &mut io::sink()).unwrap();
        Wheel { file, sha256 }
    }

    fn key(name: &str) -> LockKey {
        LockKey::of([name].into_iter())
    }

    #[test]
    fn what_was_not_used_for_longest_leaves_first() {
        let (base, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = WheelCache { folder: base.path().join("wheels"), max_bytes: 250 };
        let old = SystemTime::UNIX_EPOCH;
        for (index, name) in ["a", "b"].into_iter().enumerate() {
            let wheel = wheel(from.path(), name, 100);
            cache.keep(&key(name), std::slice::from_ref(&wheel), from.path()).unwrap();
            let kept = File::options().append(true).open(cache.place(&wheel).unwrap()).unwrap();
            kept.set_modified(old + std::time::Duration::from_secs(index as u64)).unwrap();
        }
        // `a` is the older one, until it is used.
        let to = tempfile::tempdir().unwrap();
        assert_eq!(cache.recall(&key("a"), to.path()).unwrap().len(), 1);
        cache.keep(&key("c"), &[wheel(from.path(), "c", 100)], from.path()).unwrap();
        let is_there = |name: &str| cache.recall(&key(name), tempfile::tempdir().unwrap().path()).is_some();
        assert_eq!((is_there("a"), is_there("b"), is_there("c")), (true, false, true));
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_wheels() {
        let base = tempfile::tempdir().unwrap();
        let cache = WheelCache { folder: base.path().join("wheels"), max_bytes: 250 };
        for file in ["../a-1.0-py3-none-any.whl", "/a-1.0-py3-none-any.whl", ".a-1-py3-none-any.whl", "a.whl", ""] {
            let wheel = Wheel { file: file.to_owned(), sha256: Digest::from_bytes([0; 32]) };
            assert_eq!(cache.place(&wheel), None, "{file}");
        }
        fs::create_dir_all(base.path().join("wheels/locks")).unwrap();
        for text in ["[]", "{}", r#"[{"file":"../x.whl","sha256":"sha256:00"}]"#] {
            fs::write(cache.lock(&key("x")), text).unwrap();
            assert!(cache.recall(&key("x"), base.path()).is_none(), "{text}");
        }
    }

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let folder = |variables| WheelCache::find(&Environment::from(variables)).map(|cache| cache.folder);
        let home = ("HOME", "/home/ada");
        assert_eq!(folder([home, ("XDG_CACHE_HOME", "/c")]), Some("/c/plugbay/wheels".into()));
        assert_eq!(folder([home, ("XDG_CACHE_HOME", "c")]), Some("/home/ada/.cache/plugbay/wheels".into()));
        assert_eq!(folder([("HOME", ""), ("X", "")]), None);
    }
}
