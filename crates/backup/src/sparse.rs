//! Files with holes, in the form that GNU tar and bsdtar read: a PAX header, then a map of what is there, then that.

use std::fmt::Write as _;
use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::BLOCK_BYTES;

/// Most pieces that a map may have; a file of more is stored without holes.
pub(super) const MAX_PIECES: usize = 100_000;

/// The largest file that is believed to be an image.
pub(super) const MAX_BYTES: u64 = 1 << 46;

/// A piece of a file: offset and length.
pub(super) type Piece = (u64, u64);

/// The pieces of a file that are there, and its length.
pub(super) fn pieces(file: &File) -> io::Result<(Vec<Piece>, u64)> {
    let bytes = file.metadata()?.len();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(bytes);
        if end <= start {
            break;
        }
        found.push((start, end.saturating_sub(start)));
        at = end;
    }
    if found.len() >= MAX_PIECES {
        found = vec![(0, bytes)];
    }
    Ok((found, bytes))
}

/// The map, which fills whole blocks. GNU tar ends it with an empty piece at the end.
pub(super) fn map(pieces: &[Piece], bytes: u64) -> Vec<u8> {
    let mut text = format!("{}\n", pieces.len().saturating_add(1));
    for (offset, length) in pieces.iter().copied().chain([(bytes, 0)]) {
        writeln!(text, "{offset}\n{length}").expect("a String takes everything");
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK_BYTES), 0);
    map
}

/// The content of the PAX header.
pub(super) fn records(name: &str, bytes: u64) -> String {
    let fields = [
        ("GNU.sparse.major", "1".to_owned()),
        ("GNU.sparse.minor", "0".to_owned()),
        ("GNU.sparse.name", name.to_owned()),
        ("GNU.sparse.realsize", bytes.to_string()),
    ];
    fields.iter().map(|(key, value)| record(key, value)).collect()
}

/// A record begins with its own length.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    loop {
        let text = format!("{length}{rest}");
        if text.len() == length {
            return text;
        }
        length = text.len();
    }
}

/// The length that a PAX header of ours tells.
pub(super) fn length_in(records: &str) -> Option<u64> {
    let (_, value) = records.trim_end_matches('\n').rsplit_once('=')?;
    value.parse().ok().filter(|bytes| *bytes <= MAX_BYTES)
}
