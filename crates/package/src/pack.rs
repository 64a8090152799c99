//! Packing a plugin's folder into a `.tar.gz` whose bytes depend on the folder's content and names alone.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::beneath::FOLDER_MODE;
use super::secrets::Secrets;
use super::sources::{Source, Sources, sources};
use super::{EntryPath, PackageError};
use plugbay_domain::PluginName;

/// gzip's number for an unknown operating system: the real one must not be in the bytes.
const NO_SYSTEM: u8 = 255;

/// What goes into the archive beside the files.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// The plugin's name, which becomes the top folder.
    pub name: PluginName,
    /// The time every entry gets, in seconds since 1970: `SOURCE_DATE_EPOCH`, or 0.
    pub mtime: u64,
}

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackSummary {
    /// The files, relative to the folder, in the archive's order.
    pub files: Vec<EntryPath>,
    /// Their bytes together.
    pub bytes: u64,
}

/// Packs a folder. Hidden files are packed unless a rule of [`super::sources`] leaves them out. A link, a special file
/// and a secret key are errors.
pub fn pack(folder: &Path, output: &mut dyn Write, options: &PackOptions) -> Result<PackSummary, PackageError> {
    let sources = list(folder)?.packed;
    let failed = || PackageError::io("write the archive of", folder);
    // Level and chunks are fixed, and the compressor takes the same decisions on every processor.
    let gzip = GzBuilder::new().mtime(0).operating_system(NO_SYSTEM).write(output, Compression::new(6));
    let mut tar = Builder::new(gzip);
    let top = options.name.as_str();
    let mut summary = PackSummary { files: Vec::new(), bytes: 0 };
    append(&mut tar, top, None, options.mtime, &mut io::empty()).map_err(failed())?;
    for source in sources {
        let path = format!("{top}/{}", source.path);
        path.parse::<EntryPath>()?;
        match source.file {
            None => append(&mut tar, &path, None, options.mtime, &mut io::empty()).map_err(failed())?,
            Some((bytes, mode)) => {
                let content = File::open(&source.from).map_err(PackageError::io("open", &source.from))?;
                let mut content = Exactly { content, left: bytes };
                append(&mut tar, &path, Some((bytes, mode)), options.mtime, &mut content)
                    .map_err(PackageError::io("pack", &source.from))?;
                summary.bytes = summary.bytes.saturating_add(bytes);
                summary.files.push(source.path);
            }
        }
    }
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).and_then(Write::flush).map_err(failed())?;
    Ok(summary)
}

/// Tells what a folder's archive would hold. Secret keys are looked for before a byte is written, so that all of them
/// are told at once.
pub fn list(folder: &Path) -> Result<Sources, PackageError> {
    let sources = sources(folder)?;
    refuse_secrets(&sources.packed)?;
    Ok(sources)
}

fn refuse_secrets(sources: &[Source]) -> Result<(), PackageError> {
    let mut secrets = Secrets::default();
    for source in sources.iter().filter(|source| source.file.is_some()) {
        let mut content = File::open(&source.from).map_err(PackageError::io("open", &source.from))?;
        secrets.look_into(source.path.as_str(), &mut content).map_err(PackageError::io("read", &source.from))?;
    }
    secrets.refuse()
}

/// Appends a folder, or a file of that size and mode. Names that older readers would cut or misread get a PAX record.
fn append<W: Write>(
    tar: &mut Builder<W>,
    path: &str,
    file: Option<(u64, u32)>,
    mtime: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let (size, mode, kind, name) = match file {
        Some((size, mode)) => (size, mode, EntryType::Regular, path.to_owned()),
        None => (0, FOLDER_MODE, EntryType::Directory, format!("{path}/")),
    };
    let mut header = Header::new_ustar();
    if !name.is_ascii() || header.set_path(&name).is_err() {
        tar.append_pax_extensions([("path", name.as_bytes())])?;
        header.set_path(if file.is_some() { "pax" } else { "pax/" })?;
    }
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(kind);
    header.set_cksum();
    tar.append(&header, content)
}

/// A file that must still have the size its header announces.
struct Exactly {
    content: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        let changed = || io::Error::other("the file changed while it was packed");
        self.left = self.left.checked_sub(count as u64).ok_or_else(changed)?;
        if count == 0 && self.left != 0 && !buffer.is_empty() {
            return Err(changed());
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use plugbay_domain::{Code, Digest, Refusal};

    fn options() -> PackOptions {
        PackOptions { name: "my-plugin".parse().unwrap(), mtime: 0 }
    }

    fn packed(folder: &Path) -> (Vec<u8>, Vec<String>) {
        let mut bytes = Vec::new();
        let summary = pack(folder, &mut bytes, &options()).unwrap();
        (bytes, summary.files.iter().map(ToString::to_string).collect())
    }

    fn write(folder: &Path, path: &str, content: &str) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn the_same_folder_gives_the_same_bytes_everywhere() {
        use sha2::Digest as _;
        let base = tempfile::tempdir().unwrap();
        let (one, two) = (base.path().join("one"), base.path().join("two"));
        let long = format!("{}/{}/{}", "d".repeat(90), "e".repeat(90), "größe.txt");
        let files = ["plugin.yaml", "main.py", "a/b.txt", "a.txt", ".hidden", long.as_str()];
        for path in files {
            write(&one, path, &path.repeat(1000));
        }
        for path in files.into_iter().rev() {
            write(&two, path, &path.repeat(1000));
        }
        assert_eq!(packed(&one), packed(&two));
        let (bytes, names) = packed(&one);
        assert_eq!(names, [".hidden", "a.txt", "a/b.txt", &long, "main.py", "plugin.yaml"]);
        // The bytes themselves: another number here means that every author's digests change.
        let digest = Digest::from_bytes(sha2::Sha256::digest(&bytes).into());
        insta::assert_snapshot!(digest, @"sha256:213d14fd7a4624ef30b68cb4dba132b7b4db16686e8b1c594554fe9474e8cd7a");
    }

    #[test]
    fn pluginignore_decides_and_git_does_not() {
        let base = tempfile::tempdir().unwrap();
        write(base.path(), ".gitignore", "main.py\n");
        write(base.path(), ".git/HEAD", "x");
        write(base.path(), ".pluginignore", "*.log\n/build/\n!keep.log\n");
        for path in ["main.py", "a.log", "keep.log", "sub/b.log", "build/x", "sub/build/x", "sub/.git/x"] {
            write(base.path(), path, "x");
        }
        let (_, names) = packed(base.path());
        assert_eq!(names, [".gitignore", "keep.log", "main.py", "sub/build/x"]);
    }

    #[test]
    fn rules_of_its_own_leave_secrets_and_rubbish_out() {
        let base = tempfile::tempdir().unwrap();
        for path in [".env", ".env.local", "a/.envrc/x", "a.key", "id_rsa", "a/id_ed25519", "__pycache__/x", ".venv/x"]
        {
            write(base.path(), path, "x");
        }
        for path in ["web/node_modules/.cache/x", ".plugbay/x", "a/__pycache__/x.pyc", "id_dsa", "id_ecdsa"] {
            write(base.path(), path, "x");
        }
        for path in ["main.py", "id_map.json", "key.py", "a/id_rsa.pub", "web/node_modules/x", ".hidden"] {
            write(base.path(), path, "x");
        }
        let kept = [".hidden", "a/id_rsa.pub", "id_map.json", "key.py", "main.py", "web/node_modules/x"];
        assert_eq!(packed(base.path()).1, kept);
        write(base.path(), ".pluginignore", "!/.env.local\n!.git\n/id_map.json\n");
        write(base.path(), ".git/HEAD", "x");
        let kept = [".env.local", ".hidden", "a/id_rsa.pub", "key.py", "main.py", "web/node_modules/x"];
        assert_eq!(packed(base.path()).1, kept);
    }

    #[test]
    fn links_are_refused_by_path_unless_ignored() {
        let base = tempfile::tempdir().unwrap();
        write(base.path(), "main.py", "x");
        symlink("main.py", base.path().join("link")).unwrap();
        let error = pack(base.path(), &mut Vec::new(), &options()).unwrap_err();
        assert_eq!(error.code(), Code::EntryKind);
        assert_eq!(error.to_string(), "`link` cannot be packed: it is a symbolic link");
        write(base.path(), ".pluginignore", "link\n");
        assert_eq!(packed(base.path()).1, ["main.py"]);
    }
}
