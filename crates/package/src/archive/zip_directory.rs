//! The central directory of a zip: what it says about every entry, checked before any content is read.

use std::io::{BufRead, Read, Seek, SeekFrom};

use super::super::entry_path::MAX_BYTES;
use super::super::{EntryPath, PackageError};
use super::budget::Budget;
use super::zip_end::End;
use super::zip_extra::Extra;
use super::zip_record::{Fields, IN_ZIP64, Method, check_name};
use super::{EntryKind, read_whole, reading};
use plugbay_domain::escape;

const RECORD: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const RECORD_BYTES: usize = 46;

/// File type and permission bits of Unix, as they stand in the upper half of the external attributes.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_FOLDER: u32 = 0o040_000;
const DOS_VOLUME: u32 = 0x08;
const DOS_FOLDER: u32 = 0x10;

/// One entry as the central directory describes it.
#[derive(Debug)]
pub(super) struct Central {
    /// Nothing for the archive's root itself.
    pub(super) path: Option<EntryPath>,
    pub(super) kind: EntryKind,
    pub(super) executable: bool,
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: Method,
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) size: u64,
    pub(super) offset: u64,
}

/// Reads all records; there must be as many as announced, in exactly as many bytes.
pub(super) fn read<R: BufRead + Seek>(input: &mut R, end: &End, budget: &Budget) -> Result<Vec<Central>, PackageError> {
    // The number is checked before anything is allocated for it.
    budget.announce_entries(end.entries)?;
    input.seek(SeekFrom::Start(end.start)).map_err(reading)?;
    let mut records = input.take(end.stop.saturating_sub(end.start));
    let mut entries = Vec::new();
    for _ in 0..end.entries {
        entries.push(read_record(&mut records)?);
    }
    if records.limit() != 0 {
        return Err(PackageError::ambiguous("the central directory", "it holds more than the announced entries"));
    }
    Ok(entries)
}

fn read_record(input: &mut impl BufRead) -> Result<Central, PackageError> {
    let ends = || PackageError::ambiguous("the central directory", "it ends within a record");
    let mut head = [0; RECORD_BYTES];
    if !read_whole(input, &mut head)? {
        return Err(ends());
    }
    let fields = Head::parse(&head).ok_or_else(ends)?;
    if fields.signature != RECORD {
        return Err(PackageError::ambiguous("the central directory", "a record has a wrong signature"));
    }
    let mut read = |length: u16| {
        let mut bytes = vec![0; length.into()];
        if read_whole(input, &mut bytes)? { Ok(bytes) } else { Err(ends()) }
    };
    let (name, extra, comment) = (read(fields.name_length)?, read(fields.extra_length)?, read(fields.comment_length)?);
    // Programs that search for an end record from the front would find one that hides in the directory.
    if [&name, &extra, &comment].into_iter().any(|bytes| bytes.array_windows().any(|window| *window == END)) {
        return Err(PackageError::ambiguous("the central directory", "a record holds the signature of an end record"));
    }
    fields.check(name, &extra)
}

/// The fixed part of a record.
struct Head {
    signature: [u8; 4],
    needed: u8,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name_length: u16,
    extra_length: u16,
    comment_length: u16,
    disk: u16,
    attributes: u32,
    offset: u32,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let signature = fields.bytes()?;
        let [_made_by, _system, needed, _] = fields.bytes()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _modified = fields.u32()?;
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name_length, extra_length, comment_length) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (disk, _internal, attributes, offset) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
        Some(Self {
            signature,
            needed,
            flags,
            method,
            crc,
            packed,
            size,
            name_length,
            extra_length,
            comment_length,
            disk,
            attributes,
            offset,
        })
    }

    fn check(self, name: Vec<u8>, extra: &[u8]) -> Result<Central, PackageError> {
        let shown = escape(&String::from_utf8_lossy(&name));
        let place = format!("entry `{shown}`");
        let method = Method::of(&place, self.method, self.flags)?;
        if self.needed > 63 {
            return Err(PackageError::unsupported(place, format!("version {} of the zip format", self.needed)));
        }
        if self.disk != 0 {
            return Err(PackageError::unsupported(place, "several disks"));
        }
        if name.len() > MAX_BYTES.saturating_add(3) {
            let rule = format!("has {} bytes; a path has at most {MAX_BYTES}", name.len());
            return Err(PackageError::PathInvalid { entry: shown, rule });
        }
        check_name(&name, self.flags)?;
        let wide = |value: u32| (u64::from(value), value == IN_ZIP64);
        let [size, packed, offset] = Extra::parse(&place, extra, &name)?
            .resolve(&place, [wide(self.size), wide(self.packed), wide(self.offset)])?;
        let plain = name.strip_suffix(b"/");
        let kind = if plain.is_some() { EntryKind::Folder } else { EntryKind::File };
        let mode = self.check_attributes(&place, &shown, kind)?;
        if kind == EntryKind::Folder && size != 0 {
            return Err(PackageError::ambiguous(place, format!("it is a folder of {size} bytes")));
        }
        // `bsdtar -a -cf FILE.zip .` begins with the folder itself, which is there already.
        let path = match plain {
            Some(b".") => None,
            _ => Some(EntryPath::parse(plain.unwrap_or(&name))?),
        };
        let Self { flags, crc, .. } = self;
        Ok(Central { path, kind, executable: mode & 0o100 != 0, name, flags, method, crc, packed, size, offset })
    }

    /// Checks what the attributes say about the kind, whatever system they name: programs differ in when they believe
    /// them. The result is the Unix mode.
    fn check_attributes(&self, place: &str, shown: &str, kind: EntryKind) -> Result<u32, PackageError> {
        let mode = self.attributes >> 16;
        let found = match mode & TYPE_BITS {
            0 | TYPE_FILE | TYPE_FOLDER => None,
            0o120_000 => Some("symbolic link"),
            0o020_000 => Some("character device"),
            0o060_000 => Some("block device"),
            0o010_000 => Some("FIFO"),
            0o140_000 => Some("socket"),
            _ => Some("thing of an unknown type"),
        };
        let found = found.or((self.attributes & DOS_VOLUME != 0).then_some("volume label"));
        if let Some(found) = found {
            return Err(PackageError::EntryKind { entry: shown.to_owned(), found: found.to_owned() });
        }
        if mode & 0o7000 != 0 {
            return Err(PackageError::EntryMode { entry: shown.to_owned(), mode: mode & 0o7777 });
        }
        let is_folder = mode & TYPE_BITS == TYPE_FOLDER || self.attributes & DOS_FOLDER != 0;
        let is_file = mode & TYPE_BITS == TYPE_FILE;
        match kind {
            EntryKind::File if is_folder => {
                Err(PackageError::ambiguous(place, "a folder by its attributes, a file by its name"))
            }
            EntryKind::Folder if is_file => {
                Err(PackageError::ambiguous(place, "a file by its attributes, a folder by its name"))
            }
            _ => Ok(mode),
        }
    }
}
