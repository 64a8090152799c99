//! Where the body of a request ends, so that no second request hides behind the first. Pure.

/// What is left of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks, at this place between them.
    Chunked(Place),
}

/// A place in the framing of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the digits of a size.
    Size { value: u64, digits: u8 },
    /// Before the line feed after a size.
    SizeEnd(u64),
    /// In data.
    Data(u64),
    /// Before the carriage return after data.
    DataReturn,
    /// Before the line feed after data.
    DataEnd,
    /// Before the empty line after the last chunk.
    LastReturn,
    /// Before its line feed.
    LastEnd,
    /// Everything was seen.
    Done,
}

impl Body {
    pub(super) const CHUNKED: Self = Self::Chunked(Place::Size { value: 0, digits: 0 });

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Place::Done))
    }

    /// How many of these bytes belong to the body.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match self {
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                Ok(count)
            }
            Self::Chunked(place) => {
                let mut at = 0;
                while at < bytes.len() && *place != Place::Done {
                    if let Place::Data(left) = place {
                        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                        at += count;
                        *left -= count as u64;
                        if *left == 0 {
                            *place = Place::DataReturn;
                        }
                        continue;
                    }
                    *place = step(*place, bytes[at])?;
                    at += 1;
                }
                Ok(at)
            }
        }
    }
}

fn step(place: Place, byte: u8) -> Result<Place, &'static str> {
    Ok(match (place, byte) {
        (Place::Size { digits, value }, b'\r') if digits > 0 => Place::SizeEnd(value),
        (Place::Size { value, digits }, byte) => {
            let digit = char::from(byte).to_digit(16).filter(|_| digits < 15);
            let digit = digit.ok_or("has a chunk whose size can be read in two ways")?;
            Place::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
        }
        (Place::SizeEnd(0), b'\n') => Place::LastReturn,
        (Place::SizeEnd(size), b'\n') => Place::Data(size),
        (Place::DataReturn, b'\r') => Place::DataEnd,
        (Place::DataEnd, b'\n') => Place::Size { value: 0, digits: 0 },
        (Place::LastReturn, b'\r') => Place::LastEnd,
        (Place::LastEnd, b'\n') => Place::Done,
        (Place::LastReturn, _) => return Err("has lines after its last chunk, which are not passed on"),
        _ => return Err("has chunks that can be read in two ways"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_ends_where_it_ends() {
        let mut body = Body::Length(3);
        assert_eq!(body.pass(b"ab"), Ok(2));
        assert_eq!(body.pass(b"cGET / HTTP/1.1"), Ok(1));
        assert!(body.is_done());
        let text = b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nGET /";
        for cut in 0..text.len() {
            let mut body = Body::CHUNKED;
            let first = body.pass(&text[..cut]).unwrap();
            let count = first + body.pass(&text[first..]).unwrap();
            assert_eq!((count, body.is_done()), (text.len() - 5, true), "{cut}");
        }
    }

    #[test]
    fn chunks_that_can_be_read_in_two_ways_are_refused() {
        for text in [
            "\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5;a=b\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "1000000000000000000\r\n",
            "0\r\nTrailer: x\r\n\r\n",
        ] {
            let mut body = Body::CHUNKED;
            assert!(body.pass(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn passing_never_takes_more_than_there_is(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut body = Body::CHUNKED;
            if let Ok(count) = body.pass(&bytes) {
                prop_assert!(count <= bytes.len());
            }
        }
    }
}
