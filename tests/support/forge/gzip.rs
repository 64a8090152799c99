//! gzip members with any header, trailer and rest.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// One gzip member. Fields that stay `None` are right.
#[derive(Clone, Debug, Default)]
pub struct GzipForge {
    /// FLG; set by the optional fields as well.
    pub flags: u8,
    /// CM, if it is not 8.
    pub method: Option<u8>,
    /// FEXTRA's content.
    pub extra: Option<Vec<u8>>,
    /// FNAME without its NUL.
    pub name: Option<Vec<u8>>,
    /// FCOMMENT without its NUL.
    pub comment: Option<Vec<u8>>,
    /// FHCRC: `Some(true)` writes the right one, `Some(false)` a wrong one.
    pub header_crc: Option<bool>,
    /// CRC32 in the trailer.
    pub crc: Option<u32>,
    /// ISIZE in the trailer.
    pub size: Option<u32>,
}

impl GzipForge {
    /// Packs the content into one member.
    pub fn member(&self, content: &[u8]) -> Vec<u8> {
        let optional = [(4, self.extra.is_some()), (8, self.name.is_some()), (16, self.comment.is_some())];
        let mut flags = self.flags | if self.header_crc.is_some() { 2 } else { 0 };
        for (flag, present) in optional {
            flags |= if present { flag } else { 0 };
        }
        let mut bytes = vec![0x1f, 0x8b, self.method.unwrap_or(8), flags, 0, 0, 0, 0, 0, 255];
        if let Some(extra) = &self.extra {
            bytes.extend_from_slice(&u16::try_from(extra.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(extra);
        }
        for text in [&self.name, &self.comment].into_iter().flatten() {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        if let Some(right) = self.header_crc {
            let mut crc = Crc::new();
            crc.update(&bytes);
            let [a, b, ..] = crc.sum().to_le_bytes();
            bytes.extend_from_slice(&[a, if right { b } else { !b }]);
        }
        let mut encoder = DeflateEncoder::new(bytes, Compression::fast());
        encoder.write_all(content).unwrap();
        let mut bytes = encoder.finish().unwrap();
        let mut crc = Crc::new();
        crc.update(content);
        bytes.extend_from_slice(&self.crc.unwrap_or_else(|| crc.sum()).to_le_bytes());
        bytes.extend_from_slice(&self.size.unwrap_or_else(|| crc.amount()).to_le_bytes());
        bytes
    }
}

/// An honest gzip file.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    GzipForge::default().member(content)
}
