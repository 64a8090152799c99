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

#[cfg(test)]
mod tests {
    use super::{Lines, MAX_LINE_BYTES};

    /// What pieces become, with whether each line was cut.
    fn lines(pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |text, is_cut| found.push((text.to_owned(), is_cut)));
        }
        lines.finish(|text, is_cut| found.push((text.to_owned(), is_cut)));
        found
    }

    #[test]
    fn a_line_may_come_in_pieces_and_end_without_a_break() {
        let wanted = [("ab", false), ("", false), ("c\u{fffd}", false)].map(|(text, cut)| (text.to_owned(), cut));
        assert_eq!(lines(&[b"a", b"b\n\nc\xff"]), wanted);
        assert_eq!(lines(&[b""]), []);
    }

    #[test]
    fn long_lines_are_cut_and_the_next_one_is_whole() {
        let long = "x".repeat(MAX_LINE_BYTES);
        let found = lines(&[long.as_bytes(), b"\n", long.as_bytes(), b"yz\nend\n"]);
        assert_eq!(found, [(long.clone(), false), (long, true), ("end".to_owned(), false)]);
    }
}
