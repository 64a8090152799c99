//! The end of a zip: the end record, and ZIP64's two records before it where there are some.

use std::io::{BufRead, Read, Seek, SeekFrom};

use super::super::PackageError;
use super::zip_record::{Fields, IN_ZIP64};
use super::{read_whole, reading};

const PLACE: &str = "the zip's end";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
const END_BYTES: u64 = 22;
const END64_BYTES: u64 = 56;
const LOCATOR64_BYTES: u64 = 20;

/// Where the central directory lies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) entries: u64,
    pub(super) start: u64,
    /// The first byte behind the directory.
    pub(super) stop: u64,
}

/// Finds the one end record and checks that the directory reaches exactly up to it.
pub(super) fn find<R: BufRead + Seek>(input: &mut R, size: u64) -> Result<End, PackageError> {
    let from = size.saturating_sub(END_BYTES.saturating_add(u16::MAX.into()));
    input.seek(SeekFrom::Start(from)).map_err(reading)?;
    let mut tail = Vec::new();
    input.take(size.saturating_sub(from)).read_to_end(&mut tail).map_err(reading)?;
    let ambiguous = |rule: &str| PackageError::ambiguous(PLACE, rule);

    let signature = tail.array_windows().rposition(|window| *window == END);
    let at =
        signature.ok_or_else(|| PackageError::malformed(PLACE, "there is no end record; the archive is cut off"))?;
    let record = tail.get(at..).unwrap_or_default();
    let fields = EndFields::parse(record).ok_or_else(|| ambiguous("the end record is cut off"))?;
    // The last signature must be the record itself: a signature inside a comment makes programs that search forwards
    // and those that search backwards see two archives.
    if fields.comment.len() != usize::from(fields.comment_length) {
        return Err(ambiguous("the end record's comment does not reach to the end of the file"));
    }
    if fields.comment.array_windows().any(|window| [END, END64, LOCATOR64].contains(window)) {
        return Err(ambiguous("the comment holds the signature of an end record"));
    }
    if [fields.disk, fields.directory_disk] != [0, 0] {
        return Err(PackageError::unsupported("the archive", "several disks"));
    }
    if fields.entries_here != fields.entries {
        return Err(ambiguous("two numbers of entries differ"));
    }
    let record_start = from.saturating_add(at as u64);
    let (end, before) = match find_zip64(input, record_start, &fields)? {
        Some(found) => found,
        None if fields.leaves_to_zip64() => return Err(ambiguous("the ZIP64 end record is missing")),
        None => {
            let start = u64::from(fields.start);
            let stop = start.saturating_add(fields.length.into());
            (End { entries: fields.entries.into(), start, stop }, record_start)
        }
    };
    if end.stop != before {
        return Err(ambiguous("the central directory does not reach exactly up to the end record"));
    }
    Ok(end)
}

struct EndFields<'a> {
    disk: u16,
    directory_disk: u16,
    entries_here: u16,
    entries: u16,
    length: u32,
    start: u32,
    comment_length: u16,
    comment: &'a [u8],
}

impl<'a> EndFields<'a> {
    fn parse(record: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(record);
        fields.bytes::<4>()?;
        Some(Self {
            disk: fields.u16()?,
            directory_disk: fields.u16()?,
            entries_here: fields.u16()?,
            entries: fields.u16()?,
            length: fields.u32()?,
            start: fields.u32()?,
            comment_length: fields.u16()?,
            comment: fields.0,
        })
    }

    fn leaves_to_zip64(&self) -> bool {
        self.entries == u16::MAX || self.length == IN_ZIP64 || self.start == IN_ZIP64
    }
}

/// Reads ZIP64's records if the locator stands right before the end record. They must say what the end record says.
fn find_zip64<R: BufRead + Seek>(
    input: &mut R,
    end_start: u64,
    plain: &EndFields<'_>,
) -> Result<Option<(End, u64)>, PackageError> {
    let Some(locator_start) = end_start.checked_sub(LOCATOR64_BYTES) else { return Ok(None) };
    let locator: [u8; 20] = read_at(input, locator_start)?;
    let mut fields = Fields(&locator);
    if fields.bytes() != Some(LOCATOR64) {
        return Ok(None);
    }
    let ambiguous = |rule: &str| PackageError::ambiguous(PLACE, rule);
    let location = (fields.u32(), fields.u64(), fields.u32());
    let record_start = locator_start.checked_sub(END64_BYTES);
    let (Some(0), Some(offset), Some(1)) = location else {
        return Err(PackageError::unsupported("the archive", "several disks"));
    };
    let record_start = record_start
        .filter(|start| *start == offset)
        .ok_or_else(|| ambiguous("the ZIP64 locator does not point to the record before it"))?;
    let record: [u8; 56] = read_at(input, record_start)?;
    let mut fields = Fields(&record);
    // A longer record would hold an extensible part that readers skip or read as they like.
    if (fields.bytes(), fields.u64()) != (Some(END64), Some(END64_BYTES.saturating_sub(12))) {
        return Err(ambiguous("the ZIP64 end record has a wrong signature or length"));
    }
    fields.u32(); // versions
    if (fields.u32(), fields.u32()) != (Some(0), Some(0)) {
        return Err(PackageError::unsupported("the archive", "several disks"));
    }
    let (Some(here), Some(entries), Some(length), Some(start)) =
        (fields.u64(), fields.u64(), fields.u64(), fields.u64())
    else {
        return Err(ambiguous("the ZIP64 end record is cut off"));
    };
    let agrees = |wide: u64, narrow: u64, left: u64| narrow == left || wide == narrow;
    let same = here == entries
        && agrees(entries, plain.entries.into(), u16::MAX.into())
        && agrees(length, plain.length.into(), IN_ZIP64.into())
        && agrees(start, plain.start.into(), IN_ZIP64.into());
    if !same {
        return Err(ambiguous("the ZIP64 end record and the end record disagree"));
    }
    Ok(Some((End { entries, start, stop: start.saturating_add(length) }, record_start)))
}

fn read_at<const N: usize, R: BufRead + Seek>(input: &mut R, at: u64) -> Result<[u8; N], PackageError> {
    let mut bytes = [0; N];
    input.seek(SeekFrom::Start(at)).map_err(reading)?;
    if read_whole(input, &mut bytes)? {
        Ok(bytes)
    } else {
        Err(PackageError::ambiguous(PLACE, "the archive ends within a record"))
    }
}
