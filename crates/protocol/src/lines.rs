//! Bytes of a stream, cut into lines.

use std::ops::RangeInclusive;

use bytes::{Buf, Bytes, BytesMut};

/// A line grew beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {max_bytes} bytes")]
pub struct LineTooLong {
    /// The limit.
    pub max_bytes: usize,
}

/// Bytes that have arrived and were not yet taken as lines. Never holds more than one line and one read.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: BytesMut,
    /// How far the search for the end of a line has come: a long line is not searched again with every read.
    searched: usize,
    max_bytes: usize,
}

/// Room for one read: little, because a session keeps it while nothing comes, and more while a long line arrives.
const READ_BYTES: RangeInclusive<usize> = 8 * 1024..=64 * 1024;

impl LineBuffer {
    /// For lines of at most this many bytes, without their end.
    pub fn new(max_bytes: usize) -> Self {
        Self { bytes: BytesMut::new(), searched: 0, max_bytes }
    }

    /// The same bytes with another limit, as once a peer has shown who it is.
    #[must_use]
    pub fn with_limit(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Where the next read goes.
    pub fn room(&mut self) -> &mut BytesMut {
        self.bytes.reserve(self.bytes.len().clamp(*READ_BYTES.start(), *READ_BYTES.end()));
        &mut self.bytes
    }

    /// The next whole line without its end, if it has arrived.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return if self.searched > self.max_bytes { Err(self.too_long()) } else { Ok(None) };
        };
        let end = self.searched.saturating_add(found);
        if end > self.max_bytes {
            return Err(self.too_long());
        }
        let line = self.bytes.split_to(end).freeze();
        self.bytes.advance(1);
        self.searched = 0;
        Ok(Some(line))
    }

    /// Whether a line has begun whose end has not arrived, once every whole line was taken.
    pub fn is_unfinished(&self) -> bool {
        !self.bytes.is_empty()
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong { max_bytes: self.max_bytes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(buffer: &mut LineBuffer, bytes: &[u8]) -> Result<Vec<Bytes>, LineTooLong> {
        buffer.room().extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(line) = buffer.next_line()? {
            lines.push(line);
        }
        Ok(lines)
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        assert_eq!(feed(&mut LineBuffer::new(4), b"abcd\n").unwrap(), ["abcd"]);
        assert!(feed(&mut LineBuffer::new(4), b"abcde\n").is_err());
        assert!(feed(&mut LineBuffer::new(4), b"abcde").is_err());
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_lines(lines in proptest::collection::vec("[a-z]{0,20}", 0..10), cuts in proptest::collection::vec(1..7usize, 1..80)) {
            let whole = lines.iter().fold(String::new(), |whole, line| whole + line + "\n");
            let (mut buffer, mut found, mut rest) = (LineBuffer::new(20), Vec::new(), whole.as_bytes());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (part, further) = rest.split_at((*cut).min(rest.len()));
                found.extend(feed(&mut buffer, part).unwrap());
                rest = further;
            }
            prop_assert_eq!(found, lines);
            prop_assert!(buffer.bytes.is_empty());
        }
    }
}
