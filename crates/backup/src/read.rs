//! Reading a backup, strictly: every header is compared with the one that would be written for its name and length, so
//! that there is no second way to read anything.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use super::sparse::{self, Piece};
use super::write::{header, padding};
use super::{About, BLOCK_BYTES, BUFFER_BYTES, BackupError, EntryName, FORMAT, Listed, Manifest};
use plugbay_domain::{Digest, escape};

/// Most bytes of what is read into memory.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// A backup that is being read. Every entry is read with [`Reader::content`] before the next.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    about: About,
    seen: BTreeSet<EntryName>,
    listed: Vec<Listed>,
    manifest: Option<Manifest>,
}

/// An entry whose header was read.
#[derive(Debug)]
#[must_use]
pub struct Entry {
    /// What it is.
    pub name: EntryName,
    /// Bytes of the file it makes.
    pub length: u64,
    /// Bytes in the tar.
    bytes: u64,
}

/// Only as much of what a backup says of itself as every version says.
#[derive(serde::Deserialize)]
struct Versions {
    format: u32,
    #[serde(default)]
    plugbay: String,
}

impl<R: Read> Reader<R> {
    /// Reads what the backup says of itself, and refuses one that a later plugbay made.
    pub fn open(input: R, newest_schema: i64) -> Result<Self, BackupError> {
        let about = About {
            format: FORMAT,
            plugbay: String::new(),
            schema: 0,
            created_at: String::new(),
            instance: String::new(),
        };
        let mut reader = Self { input, about, seen: BTreeSet::new(), listed: Vec::new(), manifest: None };
        let text = reader.small(EntryName::About)?;
        let invalid =
            |error: serde_json::Error| BackupError::malformed(EntryName::About, format!("cannot be read: {error}"));
        let versions: Versions = serde_json::from_slice(&text).map_err(invalid)?;
        let newer = |what, found, known| BackupError::Newer { made_by: escape(&versions.plugbay), what, found, known };
        if versions.format > FORMAT {
            return Err(newer("format", versions.format.into(), FORMAT.into()));
        }
        reader.about = serde_json::from_slice(&text).map_err(invalid)?;
        if reader.about.schema > newest_schema {
            return Err(newer("schema", reader.about.schema, newest_schema));
        }
        Ok(reader)
    }

    /// What the backup says of itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The next entry; nothing after the last, when every hash was compared.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, BackupError> {
        let entry = self.entry()?;
        let wanted = match self.seen.len() {
            0 => Some(EntryName::About),
            1 => Some(EntryName::Database),
            _ => None,
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != entry.name) {
            return Err(BackupError::malformed(entry.name, format!("stands where {wanted} is expected")));
        }
        if !self.seen.insert(entry.name) {
            return Err(BackupError::malformed(entry.name, "is there twice"));
        }
        if entry.name != EntryName::Manifest {
            return Ok(Some(entry));
        }
        let listed = std::mem::take(&mut self.listed);
        let text = self.text(&entry)?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| BackupError::malformed(EntryName::Manifest, format!("cannot be read: {error}")))?;
        if let Some(differs) = differing(&manifest.entries, &listed) {
            return Err(BackupError::malformed(differs, "is not what manifest.json lists"));
        }
        self.end()?;
        self.manifest = Some(manifest);
        Ok(None)
    }

    /// The list of everything that was read, with its seal; there once nothing is left to read.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Reads the content of an entry and hands it on: where in the file, and what.
    pub fn content(
        &mut self,
        entry: &Entry,
        take: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        let mut hash = Sha256::new();
        let pieces = match entry.name {
            EntryName::Image(_) => self.map(entry, &mut hash)?,
            _ => vec![(0, entry.bytes)],
        };
        let mut buffer = vec![0; BUFFER_BYTES];
        for (mut offset, mut left) in pieces {
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
                let space = buffer.get_mut(..most).unwrap_or_default();
                self.fill(space, entry.name)?;
                hash.update(&*space);
                take(offset, space).map_err(BackupError::io("write", entry.name))?;
                offset = offset.saturating_add(most as u64);
                left = left.saturating_sub(most as u64);
            }
        }
        self.skip_padding(entry.bytes, entry.name)?;
        let sha256 = Digest::from_bytes(hash.finalize().into());
        if let EntryName::Archive(digest) = entry.name
            && digest != sha256
        {
            return Err(BackupError::malformed(entry.name, "has another hash than its name"));
        }
        self.listed.push(Listed { path: entry.name.to_string(), bytes: entry.bytes, sha256 });
        Ok(())
    }

    /// A header, and for an image the one before it.
    fn entry(&mut self) -> Result<Entry, BackupError> {
        let (name, bytes, kind) = self.header()?;
        if kind == EntryType::Regular && !matches!(name, EntryName::Image(_)) {
            return Ok(Entry { name, length: bytes, bytes });
        }
        let odd = || BackupError::malformed(name, "has a header that no backup has");
        if kind != EntryType::XHeader || !matches!(name, EntryName::Image(_)) || bytes > BLOCK_BYTES as u64 {
            return Err(odd());
        }
        let mut records = vec![0; usize::try_from(bytes).unwrap_or_default()];
        self.fill(&mut records, name)?;
        self.skip_padding(bytes, name)?;
        let records = String::from_utf8(records).map_err(|_not_text| odd())?;
        let length = sparse::length_in(&records).ok_or_else(odd)?;
        if sparse::records(&name.to_string(), length) != records {
            return Err(odd());
        }
        let (second, bytes, kind) = self.header()?;
        if second != name || kind != EntryType::Regular {
            return Err(odd());
        }
        Ok(Entry { name, length, bytes })
    }

    fn header(&mut self) -> Result<(EntryName, u64, EntryType), BackupError> {
        let mut block = [0; BLOCK_BYTES];
        self.fill(&mut block, "a header")?;
        let found = Header::from_byte_slice(&block);
        let path = found.path_bytes();
        let shown = format!("`{}`", escape(&String::from_utf8_lossy(&path)));
        if block.iter().all(|byte| *byte == 0) {
            return Err(BackupError::Truncated { place: "the entries: manifest.json is missing".to_owned() });
        }
        let name = std::str::from_utf8(&path).ok().and_then(|path| path.parse::<EntryName>().ok());
        let name = name.ok_or_else(|| BackupError::malformed(&shown, "is not a name that a backup has"))?;
        let odd = || BackupError::malformed(&shown, "has a header that no backup has");
        let bytes = found.entry_size().map_err(|_not_a_number| odd())?;
        let kind = found.entry_type();
        let ours = header(&name.to_string(), bytes, kind).ok_or_else(odd)?;
        if ours.as_bytes() != &block {
            return Err(odd());
        }
        Ok((name, bytes, kind))
    }

    /// The map of an image: pieces in order, within the file, and as long together as the entry says.
    fn map(&mut self, entry: &Entry, hash: &mut Sha256) -> Result<Vec<Piece>, BackupError> {
        let odd = || BackupError::malformed(entry.name, "has a map that no backup has");
        let mut lines = Lines { reader: self, hash, block: [0; BLOCK_BYTES], at: BLOCK_BYTES, blocks: 0, entry };
        let count = lines.number()?;
        let count = usize::try_from(count).ok().filter(|count| (1..=sparse::MAX_PIECES).contains(count));
        let mut pieces: Vec<Piece> = Vec::new();
        let mut end = 0;
        for _ in 0..count.ok_or_else(odd)? {
            let (offset, length) = (lines.number()?, lines.number()?);
            if offset < end || offset > entry.length || length > entry.length.saturating_sub(offset) {
                return Err(odd());
            }
            end = offset.saturating_add(length);
            pieces.push((offset, length));
        }
        let map_bytes = lines.blocks.saturating_mul(BLOCK_BYTES as u64);
        let last = pieces.pop();
        let kept: u64 = pieces.iter().map(|(_, length)| length).sum();
        let fits = last == Some((entry.length, 0)) && map_bytes.saturating_add(kept) == entry.bytes;
        let map = sparse::map(&pieces, entry.length);
        if !fits || map.len() as u64 != map_bytes {
            return Err(odd());
        }
        Ok(pieces)
    }

    /// An entry that is read into memory.
    fn small(&mut self, wanted: EntryName) -> Result<Vec<u8>, BackupError> {
        match self.next_entry()? {
            Some(entry) if entry.name == wanted => self.text(&entry),
            _ => Err(BackupError::malformed("the backup", format!("does not begin with {wanted}"))),
        }
    }

    fn text(&mut self, entry: &Entry) -> Result<Vec<u8>, BackupError> {
        if entry.bytes > MAX_JSON_BYTES {
            return Err(BackupError::malformed(entry.name, format!("has {} bytes", entry.bytes)));
        }
        let mut text = Vec::new();
        self.content(entry, &mut |_, piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(text)
    }

    /// Two blocks of zeros, and then nothing.
    fn end(&mut self) -> Result<(), BackupError> {
        let mut blocks = [1; 2 * BLOCK_BYTES];
        self.fill(&mut blocks, "its end")?;
        let more = self.input.read(&mut [0]).map_err(BackupError::io("read", "the backup"))?;
        if more > 0 || blocks.iter().any(|byte| *byte != 0) {
            return Err(BackupError::malformed("the backup", "goes on after its end"));
        }
        Ok(())
    }

    fn skip_padding(&mut self, bytes: u64, name: EntryName) -> Result<(), BackupError> {
        let mut block = [0; BLOCK_BYTES];
        let fill = block.get_mut(..padding(bytes)).unwrap_or_default();
        self.fill(fill, name)?;
        if fill.iter().any(|byte| *byte != 0) {
            return Err(BackupError::malformed(name, "is followed by bytes that belong to nothing"));
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8], place: impl Display) -> Result<(), BackupError> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Truncated { place: place.to_string() },
            _ => BackupError::io("read", "the backup")(error),
        })
    }
}

/// The first entry that is not the same in both.
fn differing(manifest: &[Listed], found: &[Listed]) -> Option<String> {
    let pair = manifest.iter().zip(found).find(|(listed, found)| listed != found);
    let longer = || manifest.get(found.len()).or_else(|| found.get(manifest.len()));
    pair.map(|(_, found)| found).or_else(longer).map(|listed| escape(&listed.path))
}

/// The numbers of a map, one on each line.
struct Lines<'a, R> {
    reader: &'a mut Reader<R>,
    hash: &'a mut Sha256,
    block: [u8; BLOCK_BYTES],
    at: usize,
    blocks: u64,
    entry: &'a Entry,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64, BackupError> {
        let odd = || BackupError::malformed(self.entry.name, "has a map that no backup has");
        let mut digits = String::new();
        loop {
            if self.at == BLOCK_BYTES {
                self.reader.fill(&mut self.block, self.entry.name)?;
                self.hash.update(self.block);
                self.at = 0;
                self.blocks = self.blocks.saturating_add(1);
            }
            let byte = self.block.get(self.at).copied().unwrap_or_default();
            self.at = self.at.saturating_add(1);
            match byte {
                b'\n' => {
                    return digits.parse().ok().filter(|number: &u64| number.to_string() == digits).ok_or_else(odd);
                }
                b'0'..=b'9' if digits.len() < 20 => digits.push(byte.into()),
                _ => return Err(odd()),
            }
        }
    }
}
