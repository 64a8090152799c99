//! The head of the log once more, in a file beside the database. A database in which the head, and the rows after it, were
//! put back to an earlier state does not know of the rows that the file names.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The name of the file.
const NAME: &str = "audit.head";

/// Bytes of the file: one write, one block.
const BYTES: usize = 256;

/// The file. It is made when the first head is written.
#[derive(Clone, Debug)]
pub(crate) struct HeadFile {
    path: PathBuf,
    file: Arc<OnceLock<File>>,
}

impl HeadFile {
    /// The file that belongs to a database.
    pub(crate) fn of(database: &Path) -> Self {
        Self { path: database.with_file_name(NAME), file: Arc::default() }
    }

    /// Writes a head over the one before.
    pub(crate) fn write(&self, line: &str) -> io::Result<()> {
        let mut block = [b' '; BYTES];
        let line = line.as_bytes();
        let space = block.get_mut(..line.len()).ok_or(io::ErrorKind::InvalidInput)?;
        space.copy_from_slice(line);
        block[BYTES - 1] = b'\n';
        let file = if let Some(file) = self.file.get() {
            file
        } else {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
            file.write_all_at(&block, 0)?;
            // From here on the block is there after a power cut, too.
            file.sync_all()?;
            self.file.get_or_init(|| file)
        };
        file.write_all_at(&block, 0)
    }

    /// What the file holds; nothing when there is none.
    pub(crate) fn read(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
