//! Cuts output into lines of bounded length.

/// Longest line of output that is kept.
const MAX_LINE_BYTES: usize = 8 << 10;

/// One stream of output.
#[derive(Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    /// Takes bytes and hands out each line they complete, with whether it was cut.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str, bool)) {
        for (index, part) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                self.hand_out(&mut each);
            }
            let kept = part.len().min(MAX_LINE_BYTES - self.line.len());
            self.line.extend_from_slice(&part[..kept]);
            self.is_cut |= kept < part.len();
        }
    }

    /// Hands out what is left when the stream ends without a line break.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&str, bool)) {
        if !self.line.is_empty() {
            self.hand_out(&mut each);
        }
    }

    fn hand_out(&mut self, each: &mut impl FnMut(&str, bool)) {
        each(&String::from_utf8_lossy(&self.line), self.is_cut);
        self.line.clear();
        self.is_cut = false;
    }
}
