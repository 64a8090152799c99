//! A zip, read in the order of its bytes. The local records must fill the archive exactly from its first byte to the
//! central directory and say what that says; so a program that reads forwards and one that reads the directory see the
//! same files, and nothing lies between them.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::iter::Peekable;
use std::vec::IntoIter;

use flate2::Crc;

use super::super::PackageError;
use super::budget::Budget;
use super::inflate::{Fault, Inflate};
use super::zip_directory::{self, Central};
use super::zip_end::{self, End};
use super::zip_extra::Extra;
use super::zip_record::{Fields, HAS_DESCRIPTOR, IN_ZIP64, Method};
use super::{Entry, EntryKind, Sink, read_whole, reading};
use plugbay_domain::escape;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const LOCAL_BYTES: usize = 30;

/// A `.zip` that is being read.
pub(in super::super) struct Zip<R> {
    input: BufReader<R>,
    budget: Budget,
    end: End,
    entries: Peekable<IntoIter<Central>>,
    position: u64,
    /// The entry whose content comes next, and where its record ends.
    present: Option<(Central, u64)>,
    inflate: Inflate,
    root_seen: bool,
}

impl<R: Read + Seek> Zip<R> {
    pub(super) fn open(mut input: BufReader<R>, size: u64, budget: Budget) -> Result<Self, PackageError> {
        let end = zip_end::find(&mut input, size)?;
        let mut entries = zip_directory::read(&mut input, &end, &budget)?;
        entries.sort_by_key(|entry| entry.offset);
        input.seek(SeekFrom::Start(0)).map_err(reading)?;
        let entries = entries.into_iter().peekable();
        Ok(Self { input, budget, end, entries, position: 0, present: None, inflate: Inflate::new(), root_seen: false })
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, PackageError> {
        loop {
            self.content(&mut |_piece| Ok(()))?;
            let Some(central) = self.entries.next() else {
                if self.position != self.end.start {
                    let rule = "bytes lie between its entries and its directory";
                    return Err(PackageError::ambiguous("the archive", rule));
                }
                return Ok(None);
            };
            if let Some(entry) = self.entry(central)? {
                return Ok(Some(entry));
            }
            if std::mem::replace(&mut self.root_seen, true) {
                let (entry, rule) = ("./".to_owned(), "the archive's root appears twice");
                return Err(PackageError::PathCollision { other: entry.clone(), entry, rule });
            }
        }
    }

    /// Checks where an entry lies and what its record says; nothing for the archive's root.
    fn entry(&mut self, central: Central) -> Result<Option<Entry>, PackageError> {
        self.budget.entry()?;
        let place = place_of(&central);
        if central.offset != self.position {
            let rule = format!("its record begins at byte {}; expected byte {}", central.offset, self.position);
            return Err(PackageError::ambiguous(place, rule));
        }
        self.budget.announce_file(&place, central.size)?;
        self.local(&central, &place)?;
        let record_end = self.entries.peek().map_or(self.end.start, |next| next.offset);
        let Central { ref path, kind, size, executable, .. } = central;
        let entry = path.clone().map(|path| Entry { path, kind, size, executable });
        self.present = Some((central, record_end));
        Ok(entry)
    }

    /// Reads the local record and compares it with the central one.
    fn local(&mut self, central: &Central, place: &str) -> Result<(), PackageError> {
        let ambiguous = |rule: String| PackageError::ambiguous(place, rule);
        let mut head = [0; LOCAL_BYTES];
        self.read(&mut head, place)?;
        let local = Local::parse(&head)
            .filter(|local| local.signature == LOCAL)
            .ok_or_else(|| ambiguous("there is no record where the directory says".to_owned()))?;
        let mut name = vec![0; local.name_length.into()];
        self.read(&mut name, place)?;
        let mut extra = vec![0; local.extra_length.into()];
        self.read(&mut extra, place)?;
        let differs = |what: &str| Err(ambiguous(format!("its {what} differs between its record and the directory")));
        if name != central.name {
            return differs("name");
        }
        if local.flags != central.flags {
            return differs("flags");
        }
        if Method::of(place, local.method, local.flags)? != central.method {
            return differs("method");
        }
        let wide = |value: u32| (u64::from(value), value == IN_ZIP64);
        let [size, packed] =
            Extra::parse(place, &extra, &name)?.resolve(place, [wide(local.size), wide(local.packed)])?;
        // With a descriptor behind the content, zeros mean that the packer did not know yet.
        let later = central.flags & HAS_DESCRIPTOR != 0;
        let agrees = |local: u64, central: u64| local == central || (later && local == 0);
        if !agrees(local.crc.into(), central.crc.into()) {
            return differs("CRC");
        }
        if !agrees(size, central.size) || !agrees(packed, central.packed) {
            return differs("size");
        }
        Ok(())
    }

    pub(super) fn content(&mut self, sink: Sink<'_>) -> Result<(), PackageError> {
        let Some((central, record_end)) = self.present.take() else { return Ok(()) };
        let place = place_of(&central);
        // A record must not reach into the next one: the same packed bytes could be unpacked many times over.
        let content_end = self.position.saturating_add(central.packed);
        if content_end > record_end {
            return Err(PackageError::ambiguous(place, "its content reaches into the next record"));
        }
        let mut crc = Crc::new();
        let mut size: u64 = 0;
        let budget = &mut self.budget;
        let mut piece = |bytes: &[u8]| {
            size = size.saturating_add(bytes.len() as u64);
            if size > central.size {
                return Err(PackageError::ambiguous(
                    &place,
                    format!("its content is longer than {} bytes", central.size),
                ));
            }
            budget.unpacked(bytes.len())?;
            crc.update(bytes);
            if central.kind == EntryKind::File { sink(bytes) } else { Ok(()) }
        };
        let mut packed = (&mut self.input).take(central.packed);
        match central.method {
            Method::Stored => stored(&mut packed, &mut piece)?,
            Method::Deflated => deflated(&mut packed, &mut self.inflate, &mut piece, &place)?,
        }
        if packed.limit() != 0 {
            return Err(PackageError::ambiguous(place, "its content ends before its packed size"));
        }
        self.position = content_end;
        if size != central.size {
            return Err(PackageError::ambiguous(place, format!("it has {size} bytes; expected {}", central.size)));
        }
        if crc.sum() != central.crc {
            return Err(PackageError::malformed(place, "its CRC does not fit its content"));
        }
        if central.flags & HAS_DESCRIPTOR != 0 {
            self.descriptor(&central, record_end, &place)?;
        }
        Ok(())
    }

    /// Reads the descriptor behind the content; how wide its sizes are follows from where the next record begins.
    fn descriptor(&mut self, central: &Central, record_end: u64, place: &str) -> Result<(), PackageError> {
        let mut bytes = [0; 24];
        let length = record_end.saturating_sub(self.position);
        let wrong = |rule: &str| PackageError::ambiguous(place, rule);
        let whole = usize::try_from(length).ok().filter(|length| matches!(length, 16 | 24));
        let bytes = whole
            .and_then(|length| bytes.get_mut(..length))
            .ok_or_else(|| wrong("it is not followed by exactly one data descriptor with its signature"))?;
        self.read(bytes, place)?;
        let mut fields = Fields(bytes);
        let (signature, crc) = (fields.bytes(), fields.u32());
        let sizes = if length == 16 {
            (fields.u32().map(u64::from), fields.u32().map(u64::from))
        } else {
            (fields.u64(), fields.u64())
        };
        if signature != Some(DESCRIPTOR) {
            return Err(wrong("its data descriptor has no signature"));
        }
        if crc != Some(central.crc) || sizes != (Some(central.packed), Some(central.size)) {
            return Err(wrong("its data descriptor differs from the directory"));
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], place: &str) -> Result<(), PackageError> {
        if !read_whole(&mut self.input, buffer)? {
            return Err(PackageError::ambiguous(place, "the archive ends within its record"));
        }
        self.position = self.position.saturating_add(buffer.len() as u64);
        Ok(())
    }
}

fn place_of(central: &Central) -> String {
    format!("entry `{}`", escape(&String::from_utf8_lossy(&central.name)))
}

fn stored(packed: &mut impl BufRead, piece: Sink<'_>) -> Result<(), PackageError> {
    loop {
        let bytes = packed.fill_buf().map_err(reading)?;
        if bytes.is_empty() {
            return Ok(());
        }
        piece(bytes)?;
        let count = bytes.len();
        packed.consume(count);
    }
}

fn deflated(
    packed: &mut impl BufRead,
    inflate: &mut Inflate,
    piece: Sink<'_>,
    place: &str,
) -> Result<(), PackageError> {
    inflate.reset();
    loop {
        let bytes = inflate.fill(packed).map_err(|fault| match fault {
            Fault::Damaged => PackageError::malformed(place, "its compressed data is damaged"),
            Fault::Truncated => PackageError::malformed(place, "its compressed data ends too early"),
            Fault::Io(error) => reading(error),
        })?;
        if bytes.is_empty() {
            return Ok(());
        }
        piece(bytes)?;
        let count = bytes.len();
        inflate.consume(count);
    }
}

/// The fixed part of a local record.
struct Local {
    signature: [u8; 4],
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name_length: u16,
    extra_length: u16,
}

impl Local {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let signature = fields.bytes()?;
        let _needed = fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _modified = fields.u32()?;
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name_length, extra_length) = (fields.u16()?, fields.u16()?);
        Some(Self { signature, flags, method, crc, packed, size, name_length, extra_length })
    }
}
