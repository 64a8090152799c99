//! Raw deflate with fixed buffers. It stops where the stream says it ends and tells when the input ends before that.

use std::io::{self, BufRead};

use flate2::{Decompress, FlushDecompress, Status};

use super::BUFFER_BYTES;

/// Why no more bytes come.
#[derive(Debug)]
pub(super) enum Fault {
    Damaged,
    Truncated,
    Io(io::Error),
}

/// A deflate stream and the bytes that came out of it last.
pub(super) struct Inflate {
    state: Decompress,
    output: Box<[u8]>,
    start: usize,
    end: usize,
    done: bool,
}

impl Inflate {
    pub(super) fn new() -> Self {
        let output = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { state: Decompress::new(false), output, start: 0, end: 0, done: false }
    }

    /// Begins another stream with the same buffers.
    pub(super) fn reset(&mut self) {
        self.state.reset(false);
        (self.start, self.end, self.done) = (0, 0, false);
    }

    /// Bytes that were not consumed yet; none after the end of the stream.
    pub(super) fn fill(&mut self, input: &mut impl BufRead) -> Result<&[u8], Fault> {
        while self.start == self.end && !self.done {
            let packed = input.fill_buf().map_err(Fault::Io)?;
            let at_end = packed.is_empty();
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(packed, &mut self.output, FlushDecompress::None)
                .map_err(|_damaged| Fault::Damaged)?;
            input.consume(passed(before_in, self.state.total_in()));
            (self.start, self.end) = (0, passed(before_out, self.state.total_out()));
            self.done = status == Status::StreamEnd;
            if at_end && self.end == 0 && !self.done {
                return Err(Fault::Truncated);
            }
        }
        Ok(self.available())
    }

    /// The bytes of the last [`Self::fill`] that were not consumed yet.
    pub(super) fn available(&self) -> &[u8] {
        self.output.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }
}

/// The difference of two counters; both buffers are far below `usize::MAX`.
fn passed(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}
