//! Texts that are looked for in others, in one pass however many there are.

use std::collections::HashMap;
use std::ops::Range;

use zeroize::Zeroizing;

/// What stands in the place of a found text.
pub(super) const MASK: &[u8] = b"[redacted]";

/// Bits that tell whether a form may begin with some bytes.
const FIRST_BITS: u32 = 12;

/// Texts to be found, each of 8 bytes and more.
#[derive(Clone, Default)]
pub(super) struct Forms {
    /// The longest first.
    all: Vec<Zeroizing<Vec<u8>>>,
    /// By the first bytes, the longest first.
    by_beginning: HashMap<u64, Vec<usize>>,
    /// For the first bytes of every form: one may begin so. Most places of a text are passed by this alone.
    begins: Vec<bool>,
    /// By its first byte: a form may begin so.
    first: Vec<bool>,
}

impl Forms {
    /// Shorter texts stand in any other by chance.
    pub(super) const SHORTEST: usize = 8;

    /// Finds these texts; such as are too short are left out.
    pub(super) fn of(forms: impl IntoIterator<Item = Zeroizing<Vec<u8>>>) -> Self {
        let mut forms: Vec<_> = forms.into_iter().filter(|form| form.len() >= Self::SHORTEST).collect();
        // One may be the beginning of another.
        forms.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        forms.dedup();
        let (mut by_beginning, mut begins) = (HashMap::<u64, Vec<usize>>::new(), vec![false; 1 << FIRST_BITS]);
        let mut first = vec![false; 256];
        for (at, form) in forms.iter().enumerate() {
            first[usize::from(form[0])] = true;
            by_beginning.entry(first_bytes(form)).or_default().push(at);
            begins[place(first_bytes(form))] = true;
        }
        Self { all: forms, by_beginning, begins, first }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Bytes of the longest.
    pub(super) fn longest(&self) -> usize {
        self.all.first().map_or(0, |form| form.len())
    }

    /// The bytes with a mask for everything that was found; `None` when nothing was.
    pub(super) fn mask(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let found = self.find(bytes);
        (!found.is_empty()).then(|| hide(bytes, &found))
    }

    /// The same for what these find in one piece, and for what others find that was cut into lines anywhere, as base64 is.
    /// That is one more pass over bytes that have line breaks, none over others.
    pub(super) fn mask_with(&self, in_lines: &Self, bytes: &[u8]) -> Option<Vec<u8>> {
        let found = self.find_with(in_lines, bytes);
        (!found.is_empty()).then(|| hide(bytes, &found))
    }

    /// Where those are, in the order of their beginnings.
    pub(super) fn find_with(&self, in_lines: &Self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = self.find(bytes);
        let more = in_lines.find_in_lines(bytes);
        if !more.is_empty() {
            found.extend(more);
            found.sort_unstable_by_key(|range| range.start);
        }
        found
    }

    fn find_in_lines(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        if self.all.is_empty() || !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\\')) {
            return Vec::new();
        }
        let joined: Vec<u8> = within_lines(bytes).map(|at| bytes[at]).collect();
        // Where the same stands among the line breaks. A second walk costs less than to keep every place.
        let (mut places, mut next) = (within_lines(bytes), 0);
        let mut place_of = |wanted: usize| {
            let place = places.nth(wanted - next);
            next = wanted + 1;
            place.unwrap_or(bytes.len())
        };
        self.find(&joined).into_iter().map(|range| place_of(range.start)..place_of(range.end - 1) + 1).collect()
    }

    /// Where something was found: in their order, none inside of another.
    fn find(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut all: Vec<Range<usize>> = Vec::new();
        if self.all.is_empty() {
            return all;
        }
        for at in 0..(bytes.len() + 1).saturating_sub(Self::SHORTEST) {
            let Some(length) = self.form_at(&bytes[at..]) else { continue };
            match all.last_mut() {
                // One may begin inside of another, and all of both is hidden.
                Some(found) if at < found.end => found.end = found.end.max(at + length),
                _ => all.push(at..at + length),
            }
        }
        all
    }

    /// Where the end of these bytes begins that may be the beginning of a form that goes on.
    pub(super) fn begin_at(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest().saturating_sub(1));
        let may_go_on = |at: &usize| {
            let rest = &bytes[*at..];
            self.first[usize::from(rest[0])]
                && self.all.iter().any(|form| form.len() > rest.len() && form.starts_with(rest))
        };
        if self.all.is_empty() { bytes.len() } else { (from..bytes.len()).find(may_go_on).unwrap_or(bytes.len()) }
    }

    /// The same for forms that may be cut into lines, one break after each byte at most: more is no text of a program's.
    pub(super) fn begin_in_lines_at(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest().saturating_mul(3));
        // A `\\` at the end may be the half of a line break.
        let end = bytes.len() - usize::from(bytes.ends_with(b"\\"));
        let (tail, places) = (&bytes[from.min(end)..end], within_lines(&bytes[from.min(end)..end]).collect::<Vec<_>>());
        let joined: Vec<u8> = places.iter().map(|at| tail[*at]).collect();
        places.get(self.begin_at(&joined)).map_or(bytes.len(), |at| from + at)
    }

    /// The length of the longest form that these bytes begin with.
    fn form_at(&self, bytes: &[u8]) -> Option<usize> {
        let first = first_bytes(bytes);
        if !self.begins[place(first)] {
            return None;
        }
        let found = self.by_beginning.get(&first)?.iter().map(|at| &self.all[*at]);
        found.into_iter().find(|form| bytes.starts_with(form)).map(|form| form.len())
    }
}

/// The bytes with a mask in these places, which come in the order of their beginnings.
fn hide(bytes: &[u8], found: &[Range<usize>]) -> Vec<u8> {
    let (mut masked, mut kept) = (Vec::with_capacity(bytes.len()), 0);
    for range in found {
        // What overlaps with the one before is hidden by its mask.
        if range.start >= kept {
            masked.extend_from_slice(&bytes[kept..range.start]);
            masked.extend_from_slice(MASK);
        }
        kept = kept.max(range.end);
    }
    masked.extend_from_slice(&bytes[kept..]);
    masked
}

/// The places of all bytes that are not of a line break, as it is or as JSON writes it.
fn within_lines(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut next = 0;
    std::iter::from_fn(move || {
        loop {
            next += match bytes[next..] {
                [b'\\', b'n' | b'r', ..] => 2,
                [b'\n' | b'\r', ..] => 1,
                [] => return None,
                [_, ..] => {
                    next += 1;
                    return Some(next - 1);
                }
            };
        }
    })
}

fn first_bytes(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Where the first bytes of a form are noted.
fn place(first: u64) -> usize {
    // Fibonacci hashing: the high bits of the product depend on all of them.
    usize::try_from(first.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FIRST_BITS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(forms: &[&str], text: &str) -> String {
        let forms = Forms::of(forms.iter().map(|form| Zeroizing::new(form.as_bytes().to_vec())));
        String::from_utf8(forms.mask(text.as_bytes()).unwrap_or_else(|| text.into())).unwrap()
    }

    #[test]
    fn line_breaks_inside_are_hidden_with_what_they_stand_in() {
        let forms = Forms::of([b"abcdefghij".to_vec(), b"0123456789".to_vec()].map(Zeroizing::new));
        let masked = |text: &str| {
            Forms::default().mask_with(&forms, text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        for (text, expected) in [
            ("x\nabcde\nfghij\ny", "x\n[redacted]\ny"),
            ("a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\nj", "[redacted]"),
            (r#"{"k": "abc\r\ndefghij\n", "l": "01234\n56789"}"#, r#"{"k": "[redacted]\n", "l": "[redacted]"}"#),
            ("\nabcdefghij0123\n456789abcdefghij", "\n[redacted][redacted][redacted]"),
        ] {
            assert_eq!(masked(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["abcdefghij", "abcde fghij\n", "abcde\\fghij", "\n\r\n\\", "\\", ""] {
            assert_eq!(masked(text), None, "{text}");
        }
        let whole = Forms::of([Zeroizing::new(b"efghijklmn".to_vec())]);
        assert_eq!(whole.mask_with(&forms, b"-abcd\nefghijklmn-").unwrap(), b"-[redacted]-", "found by both");
    }

    #[test]
    fn all_of_what_overlaps_is_hidden() {
        let forms = ["abcdefgh", "efghijklmnop", "abcdefgh-and-more", "short"];
        for (text, expected) in [
            ("abcdefgh", "[redacted]"),
            ("xabcdefghx", "x[redacted]x"),
            ("abcdefghijklmnop", "[redacted]"),
            ("abcdefghabcdefgh", "[redacted][redacted]"),
            ("abcdefgh-and-more", "[redacted]"),
            ("abcdefgh-and-mor", "[redacted]-and-mor"),
            ("abcdefg short", "abcdefg short"),
            ("", ""),
        ] {
            assert_eq!(masked(&forms, text), expected, "{text}");
        }
    }
}
