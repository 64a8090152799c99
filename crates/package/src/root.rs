//! Where a package begins inside its archive: at the archive's root, or in the single top folder with nothing beside it.

use super::archive::{Entry, EntryKind};
use super::{EntryPath, PackageError};
use plugbay_domain::escape;

/// What says what a package is.
pub(super) const MANIFEST: &str = "plugin.yaml";

/// The package's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// The archive's own.
    Archive,
    /// The top folder of this name.
    Folder(String),
}

impl Root {
    /// The path within the package; nothing for the root itself.
    pub(super) fn relative(&self, path: &EntryPath) -> Option<EntryPath> {
        match self {
            Self::Archive => Some(path.clone()),
            Self::Folder(top) if path.top() == top => path.below_top(),
            Self::Folder(_) => None,
        }
    }
}

/// Finds the root from where the one manifest lies.
pub(super) fn find_root(entries: &[Entry], manifest: Option<&EntryPath>) -> Result<Root, PackageError> {
    let Some(manifest) = manifest else {
        let meant = entries.iter().find(|entry| is_probably_meant(entry)).map(|entry| escape(entry.path.as_str()));
        return Err(PackageError::ManifestMissing { found: meant });
    };
    if manifest.as_str() == MANIFEST {
        return Ok(Root::Archive);
    }
    let top = manifest.top();
    match entries.iter().find(|entry| entry.path.top() != top) {
        None => Ok(Root::Folder(top.to_owned())),
        Some(other) => Err(PackageError::ManifestInvalid {
            rule: format!("`{}` lies beside the top folder `{}`", escape(other.path.as_str()), escape(top)),
            how: how_to_pack(other.path.top()),
        }),
    }
}

/// Another case, the other suffix, a folder of that name, or a place too deep.
fn is_probably_meant(entry: &Entry) -> bool {
    let name = entry.path.components().last().unwrap_or_default();
    let spelled = name.eq_ignore_ascii_case(MANIFEST) || name.eq_ignore_ascii_case("plugin.yml");
    spelled && (entry.kind == EntryKind::Folder || name != MANIFEST || entry.path.components().count() > 2)
}

/// Names the setting of the program that puts such entries into archives.
fn how_to_pack(name: &str) -> &'static str {
    if name == "__MACOSX" {
        "the Finder adds that folder; pack with `plugbay pack`, `zip -r`, or ditto -c -k --norsrc --keepParent"
    } else if name.starts_with("._") {
        "tar of macOS adds such files; pack with `plugbay pack`, or set COPYFILE_DISABLE=1 before tar"
    } else {
        "pack one folder alone, or put plugin.yaml at the archive's root"
    }
}
