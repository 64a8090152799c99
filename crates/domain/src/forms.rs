//! Texts that are looked for in others, in one pass however many there are.

use std::collections::HashMap;
use std::ops::Range;

use zeroize::Zeroizing;

/// What stands in the place of a found text.
const MASK: &[u8] = b"[redacted]";

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
        for (at, form) in forms.iter().enumerate() {
            by_beginning.entry(first_bytes(form)).or_default().push(at);
            begins[place(first_bytes(form))] = true;
        }
        Self { all: forms, by_beginning, begins }
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
        if self.all.is_empty() {
            return None;
        }
        let (mut masked, mut kept) = (Vec::new(), 0);
        let mut hide = |found: Range<usize>| {
            masked.extend_from_slice(&bytes[kept..found.start]);
            masked.extend_from_slice(MASK);
            kept = found.end;
        };
        let mut open: Option<Range<usize>> = None;
        for at in 0..(bytes.len() + 1).saturating_sub(Self::SHORTEST) {
            let Some(length) = self.form_at(&bytes[at..]) else { continue };
            match &mut open {
                // One may begin inside of another, and all of both is hidden.
                Some(found) if at < found.end => found.end = found.end.max(at + length),
                _ => {
                    if let Some(found) = open.replace(at..at + length) {
                        hide(found);
                    }
                }
            }
        }
        hide(open?);
        masked.extend_from_slice(&bytes[kept..]);
        Some(masked)
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
