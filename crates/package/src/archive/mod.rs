//! Strict readers of the two archive formats: one entry after the other, each checked against every rule before it is
//! handed out. They write nothing, follow nothing, and hold one buffer of content at a time.

mod budget;
mod gzip;
mod inflate;
mod octal;
mod pax;
mod tar;
mod tar_header;
mod zip;
mod zip_directory;
mod zip_end;
mod zip_extra;
mod zip_record;

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::{EntryPath, PackageError};
use budget::Budget;
use plugbay_domain::ArchiveLimits;

pub(super) use tar_header::BLOCK_BYTES;

/// Size of the read and inflate buffers.
pub(super) const BUFFER_BYTES: usize = 128 * 1024;

/// What an entry is. There is no third kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
}

/// One entry, as every reader of the archive sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: EntryPath,
    pub(super) kind: EntryKind,
    pub(super) size: u64,
    pub(super) executable: bool,
}

/// What receives an entry's content, piece by piece.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), PackageError>;

/// An archive that is being read.
pub(super) enum Archive<R> {
    TarGz(Box<tar::TarGz<R>>),
    Zip(Box<zip::Zip<R>>),
}

impl<R: Read + Seek> Archive<R> {
    /// Tells the format by the first bytes. There is no second guess: a polyglot is read as what it begins with.
    pub(super) fn open(mut reader: R, size: u64, limits: &ArchiveLimits) -> Result<Self, PackageError> {
        let mut magic = Vec::with_capacity(8);
        reader.by_ref().take(8).read_to_end(&mut magic).map_err(reading)?;
        reader.seek(SeekFrom::Start(0)).map_err(reading)?;
        let budget = Budget::new(*limits, size);
        let input = BufReader::with_capacity(BUFFER_BYTES, reader);
        match magic.as_slice() {
            [0x1f, 0x8b, ..] => Ok(Self::TarGz(Box::new(tar::TarGz::open(input, budget)?))),
            [b'P', b'K', 3, 4, ..] => Ok(Self::Zip(Box::new(zip::Zip::open(input, size, budget)?))),
            other => Err(PackageError::unsupported("the archive", describe(other))),
        }
    }

    /// The next entry. After the last one, what follows the entries is checked too.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, PackageError> {
        match self {
            Self::TarGz(tar) => tar.next(),
            Self::Zip(zip) => zip.next(),
        }
    }

    /// Reads the content of the entry that [`Self::next`] returned last.
    pub(super) fn content(&mut self, sink: Sink<'_>) -> Result<(), PackageError> {
        match self {
            Self::TarGz(tar) => tar.content(sink),
            Self::Zip(zip) => zip.content(sink),
        }
    }
}

/// Names what an archive is instead, for the message.
fn describe(magic: &[u8]) -> &'static str {
    match magic {
        [] => "no bytes at all",
        [b'P', b'K', ..] => "an empty, split or spanned zip",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz compression",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd compression",
        [b'B', b'Z', b'h', ..] => "bzip2 compression",
        [b'7', b'z', 0xbc, 0xaf, ..] => "the 7z format",
        [b'R', b'a', b'r', b'!', ..] => "the rar format",
        _ => "a format that begins with neither gzip's nor zip's signature (a plain tar must be gzipped)",
    }
}

/// For `map_err` on the archive itself. It was hashed from the same handle, so a failure here is the machine's.
fn reading<E: Into<io::Error>>(error: E) -> PackageError {
    PackageError::io("read", "the archive")(error)
}

/// Fills the buffer, or tells that the input ends before.
fn read_whole(input: &mut impl BufRead, buffer: &mut [u8]) -> Result<bool, PackageError> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(reading(error)),
    }
}
