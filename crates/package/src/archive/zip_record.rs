//! Little-endian fields of zip records, and the flags that are understood.

use super::super::PackageError;
use plugbay_domain::escape;

/// Bytes of a record, taken from the front.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
}

/// A size or offset that is found in the ZIP64 part instead.
pub(super) const IN_ZIP64: u32 = u32::MAX;

/// Sizes and checksum stand behind the content.
pub(super) const HAS_DESCRIPTOR: u16 = 1 << 3;
/// The name is UTF-8.
const IS_UTF8: u16 = 1 << 11;
/// How hard the packer tried; it means nothing for reading.
const DEFLATE_LEVEL: u16 = 0b110;

/// How content is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

impl Method {
    /// Refuses methods and features that are not read. `place` names the entry.
    pub(super) fn of(place: &str, method: u16, flags: u16) -> Result<Self, PackageError> {
        let unsupported = |found: String| Err(PackageError::unsupported(place, found));
        if flags & 1 != 0 {
            return unsupported("encryption".to_owned());
        }
        let unknown = flags & !(DEFLATE_LEVEL | HAS_DESCRIPTOR | IS_UTF8);
        if unknown != 0 {
            return unsupported(format!("general purpose flags {unknown:#06x}"));
        }
        match method {
            0 => Ok(Self::Stored),
            8 => Ok(Self::Deflated),
            99 => unsupported("encryption".to_owned()),
            other => unsupported(format!("compression method {other}")),
        }
    }
}

/// Refuses names whose letters depend on a code page.
pub(super) fn check_name(name: &[u8], flags: u16) -> Result<(), PackageError> {
    if name.is_ascii() || flags & IS_UTF8 != 0 {
        return Ok(());
    }
    let entry = escape(&String::from_utf8_lossy(name));
    let rule = "is not ASCII and not marked as UTF-8 (pack as .tar.gz, or with 7-Zip, jar or Python; Info-ZIP does not mark names)";
    Err(PackageError::PathInvalid { entry, rule: rule.to_owned() })
}
