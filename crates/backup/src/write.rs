//! Writing a backup, entry by entry.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt as _;

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::sparse;
use super::{About, BLOCK_BYTES, BUFFER_BYTES, BackupError, EntryName, Listed, Manifest};
use plugbay_domain::Digest;

/// Makes a seal over the bytes of a manifest.
pub(super) type Seal<'a> = dyn Fn(&[u8]) -> String + 'a;

/// A backup that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    listed: Vec<Listed>,
}

/// The header of an entry. There is one for a name and a length, byte for byte, so that a reader can compare.
pub(super) fn header(name: &str, bytes: u64, kind: EntryType) -> Option<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name).ok()?;
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Some(header)
}

/// The zeros that fill the last block of so many bytes.
pub(super) fn padding(bytes: u64) -> usize {
    let block = BLOCK_BYTES as u64;
    let over = bytes.checked_rem(block).unwrap_or_default();
    if over == 0 { 0 } else { usize::try_from(block.saturating_sub(over)).unwrap_or_default() }
}

fn zeros(bytes: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    ZEROS.get(..padding(bytes)).unwrap_or_default()
}

impl<W: Write> Writer<W> {
    /// Begins with what the backup says of itself.
    pub fn begin(output: W, about: &About) -> Result<Self, BackupError> {
        let mut writer = Self { output, listed: Vec::new() };
        writer.json(EntryName::About, about)?;
        Ok(writer)
    }

    /// A file of so many bytes.
    pub fn file(&mut self, name: EntryName, bytes: u64, content: &mut dyn Read) -> Result<(), BackupError> {
        self.header(name, bytes, EntryType::Regular)?;
        let mut hash = Sha256::new();
        self.copy(name, bytes, content, &mut hash)?;
        self.end_of_content(name, bytes, hash)
    }

    /// A file with holes.
    pub fn image(&mut self, name: EntryName, file: &File) -> Result<(), BackupError> {
        let (pieces, length) = sparse::pieces(file).map_err(BackupError::io("look at", name))?;
        let records = sparse::records(&name.to_string(), length);
        self.header(name, records.len() as u64, EntryType::XHeader)?;
        self.write(records.as_bytes())?;
        self.write(zeros(records.len() as u64))?;
        let map = sparse::map(&pieces, length);
        let kept: u64 = pieces.iter().map(|(_, length)| length).sum();
        let bytes = kept.saturating_add(map.len() as u64);
        self.header(name, bytes, EntryType::Regular)?;
        let mut hash = Sha256::new();
        hash.update(&map);
        self.write(&map)?;
        for (offset, length) in pieces {
            self.copy(name, length, &mut At { file, offset }, &mut hash)?;
        }
        self.end_of_content(name, bytes, hash)
    }

    /// Ends with the hashes of everything and a seal over them; returns what it was written to, and how many entries there
    /// are.
    pub fn finish(mut self, seal: Option<&Seal<'_>>) -> Result<(W, usize), BackupError> {
        let count = self.listed.len();
        let mut manifest = Manifest { entries: std::mem::take(&mut self.listed), seal: None };
        manifest.seal = seal.map(|seal| seal(&manifest.sealed_bytes()));
        self.json(EntryName::Manifest, &manifest)?;
        self.write(&[0; BLOCK_BYTES])?;
        self.write(&[0; BLOCK_BYTES])?;
        self.output.flush().map_err(BackupError::io("write", "the backup"))?;
        Ok((self.output, count))
    }

    fn json(&mut self, name: EntryName, value: &impl serde::Serialize) -> Result<(), BackupError> {
        let mut text =
            serde_json::to_vec_pretty(value).map_err(|error| BackupError::io("write", name)(error.into()))?;
        text.push(b'\n');
        self.file(name, text.len() as u64, &mut text.as_slice())
    }

    fn header(&mut self, name: EntryName, bytes: u64, kind: EntryType) -> Result<(), BackupError> {
        let header = header(&name.to_string(), bytes, kind);
        let header = header.ok_or_else(|| BackupError::malformed(name, "has too long a name"))?;
        self.write(header.as_bytes())
    }

    fn copy(
        &mut self,
        name: EntryName,
        bytes: u64,
        content: &mut dyn Read,
        hash: &mut Sha256,
    ) -> Result<(), BackupError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut left = bytes;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let space = buffer.get_mut(..most).unwrap_or_default();
            let count = content.read(space).map_err(BackupError::io("read", name))?;
            let Some(piece @ [_, ..]) = space.get(..count) else {
                return Err(BackupError::Changed { entry: name.to_string() });
            };
            hash.update(piece);
            self.write(piece)?;
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }

    fn end_of_content(&mut self, name: EntryName, bytes: u64, hash: Sha256) -> Result<(), BackupError> {
        self.write(zeros(bytes))?;
        let sha256 = Digest::from_bytes(hash.finalize().into());
        self.listed.push(Listed { path: name.to_string(), bytes, sha256 });
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.output.write_all(bytes).map_err(BackupError::io("write", "the backup"))
    }
}

/// A file from some place on.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}
