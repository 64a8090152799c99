//! gzip as RFC 1952 writes it, with exactly one member and nothing behind it. Programs differ in what they do with a
//! second member or with trailing bytes, so both are refused.

use std::io::{BufRead, BufReader, Read};

use flate2::Crc;

use super::super::PackageError;
use super::inflate::{Fault, Inflate};
use super::{read_whole, reading};

const PLACE: &str = "the gzip stream";

/// Longest name or comment in the header; the longest path Linux takes.
const MAX_TEXT_BYTES: u64 = 4096;

const HEADER_CRC: u8 = 0x02;
const EXTRA: u8 = 0x04;
const NAME: u8 = 0x08;
const COMMENT: u8 = 0x10;
const RESERVED: u8 = 0xe0;

/// A gzip stream that is being decompressed.
pub(super) struct Gzip<R> {
    input: BufReader<R>,
    inflate: Inflate,
    crc: Crc,
}

impl<R: Read> Gzip<R> {
    /// Reads the header.
    pub(super) fn open(mut input: BufReader<R>) -> Result<Self, PackageError> {
        let mut header = Vec::with_capacity(64);
        read_header(&mut input, &mut header)?;
        Ok(Self { input, inflate: Inflate::new(), crc: Crc::new() })
    }

    /// Decompressed bytes that were not consumed yet; none at the end of the stream.
    pub(super) fn fill(&mut self) -> Result<&[u8], PackageError> {
        self.inflate.fill(&mut self.input).map_err(|fault| match fault {
            Fault::Damaged => PackageError::malformed(PLACE, "its compressed data is damaged"),
            Fault::Truncated => truncated(),
            Fault::Io(error) => reading(error),
        })
    }

    pub(super) fn consume(&mut self, count: usize) {
        if let Some(bytes) = self.inflate.available().get(..count) {
            self.crc.update(bytes);
        }
        self.inflate.consume(count);
    }

    /// Checks what follows the compressed data: the checksum, the length, and then nothing.
    pub(super) fn finish(&mut self) -> Result<(), PackageError> {
        let mut trailer = [0; 8];
        if !read_whole(&mut self.input, &mut trailer)? {
            return Err(truncated());
        }
        let [a, b, c, d, length @ ..] = trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() {
            return Err(PackageError::malformed(PLACE, "its CRC does not fit its content"));
        }
        if u32::from_le_bytes(length) != self.crc.amount() {
            return Err(PackageError::malformed(PLACE, "its length does not fit its content"));
        }
        if !self.input.fill_buf().map_err(reading)?.is_empty() {
            return Err(PackageError::malformed(PLACE, "another member or other bytes follow it"));
        }
        Ok(())
    }
}

/// Reads the header up to the compressed data; `header` collects its bytes for its own checksum.
fn read_header(input: &mut impl BufRead, header: &mut Vec<u8>) -> Result<(), PackageError> {
    let [_, _, method, flags, ..] = read_into::<10>(input, header)?;
    if method != 8 {
        return Err(PackageError::malformed(PLACE, format!("compression method {method}; expected 8, deflate")));
    }
    if flags & RESERVED != 0 {
        return Err(PackageError::malformed(PLACE, format!("reserved header flags are set: {flags:#04x}")));
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes(read_into(input, header)?);
        let read = input.take(length.into()).read_to_end(header).map_err(reading)?;
        if read != usize::from(length) {
            return Err(truncated());
        }
    }
    for (flag, what) in [(NAME, "file name"), (COMMENT, "comment")] {
        if flags & flag != 0 {
            // The cap comes before the search for the end: a header must not be a way to send megabytes.
            input.take(MAX_TEXT_BYTES).read_until(0, header).map_err(reading)?;
            if header.last() != Some(&0) {
                let rule = format!("the {what} in its header does not end within {MAX_TEXT_BYTES} bytes");
                return Err(PackageError::malformed(PLACE, rule));
            }
        }
    }
    if flags & HEADER_CRC != 0 {
        let mut crc = Crc::new();
        crc.update(header);
        let [low, high, ..] = crc.sum().to_le_bytes();
        if read_into(input, header)? != [low, high] {
            return Err(PackageError::malformed(PLACE, "its header has a wrong CRC"));
        }
    }
    Ok(())
}

fn read_into<const N: usize>(input: &mut impl BufRead, header: &mut Vec<u8>) -> Result<[u8; N], PackageError> {
    let mut bytes = [0; N];
    if !read_whole(input, &mut bytes)? {
        return Err(truncated());
    }
    header.extend_from_slice(&bytes);
    Ok(bytes)
}

fn truncated() -> PackageError {
    PackageError::malformed(PLACE, "it ends too early")
}
