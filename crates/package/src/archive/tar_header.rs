//! One tar header of 512 bytes: its fields, its checksum, and what kind of header it is.
//!
//! Four formats are read: v7, ustar, GNU and PAX (ustar with extended headers). Where programs read a field differently,
//! a header that uses it is refused: the ustar prefix in other formats, bytes behind a NUL, star's own fields.

use super::super::PackageError;
use super::octal;
use plugbay_domain::escape;

/// Headers and content come in blocks of this size.
pub(in super::super) const BLOCK_BYTES: usize = 512;

/// What a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderKind {
    File,
    /// The type NUL of v7, in which a trailing slash makes a folder.
    OldFile,
    Folder,
    /// PAX records for the next entry.
    Extended,
    /// PAX records for all entries that follow.
    Global,
    /// GNU's long name for the next entry.
    LongName,
    /// Something that is never unpacked, by its name.
    Other(&'static str),
}

/// A header whose checksum and fields are right.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) kind: HeaderKind,
    /// The name with ustar's prefix before it.
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    pub(super) mode: u32,
}

/// The fields in their order.
struct Fields<'a> {
    name: &'a [u8],
    mode: &'a [u8],
    uid: &'a [u8],
    gid: &'a [u8],
    size: &'a [u8],
    mtime: &'a [u8],
    checksum: &'a [u8],
    kind: u8,
    magic: &'a [u8],
    device: &'a [u8],
    prefix: &'a [u8],
    padding: &'a [u8],
}

impl<'a> Fields<'a> {
    fn split(block: &'a [u8; BLOCK_BYTES]) -> Option<Self> {
        let mut rest = block.as_slice();
        let mut take = |count: usize| {
            let (field, after) = rest.split_at_checked(count)?;
            rest = after;
            Some(field)
        };
        let (name, mode, uid, gid) = (take(100)?, take(8)?, take(8)?, take(8)?);
        let (size, mtime, checksum, kind) = (take(12)?, take(12)?, take(8)?, *take(1)?.first()?);
        let (_link_name, magic, _user, _group) = (take(100)?, take(8)?, take(32)?, take(32)?);
        let (device, prefix, padding) = (take(16)?, take(155)?, take(12)?);
        Some(Self { name, mode, uid, gid, size, mtime, checksum, kind, magic, device, prefix, padding })
    }
}

impl Header {
    /// Reads a header; `place` names it in messages.
    pub(super) fn parse(block: &[u8; BLOCK_BYTES], place: &str) -> Result<Self, PackageError> {
        let malformed = |rule: String| PackageError::malformed(place, rule);
        let fields = Fields::split(block).ok_or_else(|| malformed("is too short".to_owned()))?;
        if octal::parse_octal(fields.checksum) != Some(checksum(block)) {
            return Err(malformed("its checksum is wrong".to_owned()));
        }
        let number = |what: &str, field: &[u8]| {
            octal::parse(field)
                .ok_or_else(|| malformed(format!("its {what} is not a number: `{}`", field.escape_ascii())))
        };
        let size = number("size", fields.size)?;
        let mode = number("mode", fields.mode)?;
        number("uid", fields.uid)?;
        number("gid", fields.gid)?;
        if !octal::is_time(fields.mtime) {
            return Err(malformed("its time is not a number".to_owned()));
        }
        let kind = kind_of(fields.kind);
        let with_prefix = match fields.magic {
            b"ustar\x0000" => true,
            b"ustar  \0" | [0, 0, 0, 0, 0, 0, 0, 0] => false,
            other => {
                return Err(malformed(format!(
                    "its magic is `{}`; expected ustar's, GNU's or none",
                    other.escape_ascii()
                )));
            }
        };
        // GNU keeps times and sparse maps where ustar keeps the prefix, and some programs read the prefix regardless.
        // star keeps times behind a shorter prefix and marks that in the padding.
        let hidden = if with_prefix { fields.padding } else { fields.prefix };
        if !is_zero(hidden) && !matches!(kind, HeaderKind::Other(_)) {
            return Err(malformed("it uses fields that programs read differently (prefix, times)".to_owned()));
        }
        // Device numbers mean nothing for files; zeros, octal zeros and blanks all occur.
        if !matches!(kind, HeaderKind::Other(_))
            && fields.device.iter().any(|byte| !matches!(byte, 0 | b' ' | b'0'..=b'7' | 0x80))
        {
            return Err(malformed("its device number is not a number".to_owned()));
        }
        let mut name = Vec::new();
        let prefix = if with_prefix { text_of(prefix_of(fields.prefix))? } else { &[] };
        if !prefix.is_empty() {
            name.extend_from_slice(prefix);
            name.push(b'/');
        }
        name.extend_from_slice(text_of(fields.name)?);
        // The bits above say what kind of file it was; the type flag decides.
        Ok(Self { kind, name, size, mode: u32::try_from(mode & 0o7777).unwrap_or_default() })
    }
}

/// The prefix without the two times that Node's tar keeps in its last 24 bytes, as star did. A NUL before them ends the
/// prefix for every reader.
fn prefix_of(field: &[u8]) -> &[u8] {
    match field.split_at_checked(131) {
        Some((prefix @ [.., 0], times)) if times.chunks(12).all(octal::is_time) => prefix,
        _ => field,
    }
}

/// The text before the first NUL, behind which nothing may hide.
fn text_of(field: &[u8]) -> Result<&[u8], PackageError> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at_checked(end).unwrap_or((field, &[]));
    if is_zero(rest) {
        Ok(text)
    } else {
        let entry = escape(&String::from_utf8_lossy(field));
        Err(PackageError::PathInvalid { entry, rule: "holds a NUL with other bytes behind it".to_owned() })
    }
}

fn kind_of(flag: u8) -> HeaderKind {
    match flag {
        b'0' => HeaderKind::File,
        0 => HeaderKind::OldFile,
        b'5' => HeaderKind::Folder,
        b'x' => HeaderKind::Extended,
        b'g' => HeaderKind::Global,
        b'L' => HeaderKind::LongName,
        b'1' => HeaderKind::Other("hard link"),
        b'2' | b'K' => HeaderKind::Other("symbolic link"),
        b'3' => HeaderKind::Other("character device"),
        b'4' => HeaderKind::Other("block device"),
        b'6' => HeaderKind::Other("FIFO"),
        b'7' => HeaderKind::Other("contiguous file"),
        b'S' => HeaderKind::Other("sparse file"),
        b'D' => HeaderKind::Other("folder listing of an incremental backup"),
        b'M' | b'V' => HeaderKind::Other("part of a multi-volume archive"),
        _ => HeaderKind::Other("thing of an unknown type"),
    }
}

/// The sum of all bytes with the checksum field as blanks. Old programs summed signed bytes; those sums are refused.
fn checksum(block: &[u8; BLOCK_BYTES]) -> u64 {
    block.iter().enumerate().fold(0, |sum: u64, (at, byte)| {
        sum.saturating_add(u64::from(if (148..156).contains(&at) { b' ' } else { *byte }))
    })
}

/// Tells whether every byte is zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
