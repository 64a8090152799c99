//! Secrets in what comes piece by piece: one that is cut anywhere is found, and only what may be the beginning of one waits
//! for the next piece.

use super::Reflected;
use super::forms::MASK;

/// Masks one text, or one row of bytes, from its first piece to its last.
#[derive(Clone, Debug)]
pub struct Masker {
    hidden: Reflected,
    /// What may be the beginning of a secret.
    held: Vec<u8>,
    /// So many bytes of it are the end of a secret whose mask was given already: its end may begin another one.
    covered: usize,
}

impl Masker {
    /// Looks for these.
    pub fn new(hidden: &Reflected) -> Self {
        Self { hidden: hidden.clone(), held: Vec::new(), covered: 0 }
    }

    /// Takes the next piece of a text, and gives what can be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        if self.hidden.is_empty() {
            return piece.to_owned();
        }
        self.held.extend_from_slice(piece.as_bytes());
        let mut until = self.hidden.begin_at(&self.held);
        // A character is not cut: its bytes alone may look like the beginning of a secret in UTF-16.
        while self.held.get(until).is_some_and(|byte| byte & 0xc0 == 0x80) {
            until -= 1;
        }
        as_text(self.show(until))
    }

    /// The end of the text.
    pub fn finish(&mut self) -> String {
        as_text(self.finish_bytes())
    }

    /// Takes the next bytes, and gives what can be shown by now.
    pub fn push_bytes(&mut self, piece: &[u8]) -> Vec<u8> {
        if self.hidden.is_empty() {
            return piece.to_vec();
        }
        self.held.extend_from_slice(piece);
        self.show(self.hidden.begin_at(&self.held))
    }

    /// The end of the bytes.
    pub fn finish_bytes(&mut self) -> Vec<u8> {
        self.show(self.held.len())
    }

    /// Gives what is held until there, masked.
    fn show(&mut self, until: usize) -> Vec<u8> {
        let (mut shown, mut kept) = (Vec::with_capacity(until), std::mem::take(&mut self.covered));
        for range in self.hidden.find(&self.held).into_iter().take_while(|range| range.start < until) {
            if range.start >= kept {
                shown.extend_from_slice(&self.held[kept..range.start]);
                shown.extend_from_slice(MASK);
            }
            kept = kept.max(range.end);
        }
        shown.extend_from_slice(self.held.get(kept..until).unwrap_or_default());
        self.covered = kept.saturating_sub(until);
        self.held.drain(..until);
        shown
    }
}

/// A secret in UTF-16 may have begun within a character.
fn as_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    const SECRET: &str = "sk-1234567890abcdef";

    fn masked(pieces: &[&str]) -> String {
        let secret = SecretString::from(SECRET.to_owned());
        let mut masker = Masker::new(&Reflected::of([&secret]));
        let mut shown: String = pieces.iter().map(|piece| masker.push(piece)).collect();
        shown.push_str(&masker.finish());
        shown
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_cut() {
        let text = format!("the key is {SECRET}, é and {SECRET}");
        let expected = "the key is [redacted], é and [redacted]";
        for first in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            for second in (first..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                assert_eq!(masked(&[&text[..first], &text[first..second], &text[second..]]), expected);
            }
        }
        let single: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(masked(&single.iter().map(String::as_str).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn what_cannot_be_one_is_shown_at_once() {
        let secret = SecretString::from(SECRET.to_owned());
        let mut masker = Masker::new(&Reflected::of([&secret]));
        assert_eq!(masker.push("hello sk-"), "hello ");
        assert_eq!(masker.push("1234x"), "sk-1234x");
        assert_eq!(masker.push("sk-12"), "");
        assert_eq!(masker.finish(), "sk-12");
    }

    fn with(secret: &str, pieces: &[&str]) -> String {
        let secret = SecretString::from(secret.to_owned());
        let mut masker = Masker::new(&Reflected::of([&secret]));
        let mut shown: String = pieces.iter().map(|piece| masker.push(piece)).collect();
        shown.push_str(&masker.finish());
        shown
    }

    fn masked_whole(secret: &str, after: &str) -> String {
        Reflected::of([&SecretString::from(secret.to_owned())]).mask_text(&format!("{secret}{after}"))
    }

    #[test]
    fn the_end_of_a_secret_may_be_the_beginning_of_one() {
        for secret in ["sk-1234567890abcdes", "abcabcabcabc", "aaaaaaaa", "key/with+slash/k"] {
            assert_eq!(with(secret, &["x", secret, "y"]), "x[redacted]y", "{secret}");
            for at in 1..secret.len() {
                let (first, second) = secret.split_at(at);
                assert_eq!(
                    with(secret, &["x", first, second, first, "-"]),
                    format!("x{}-", masked_whole(secret, first))
                );
            }
        }
    }

    #[test]
    fn a_secret_in_base64_is_found_across_lines_and_pieces() {
        let encoded = data_encoding::BASE64.encode(SECRET.as_bytes());
        for broken in
            [format!("{}\r\n{}", &encoded[..9], &encoded[9..]), format!("{}\\n{}", &encoded[..9], &encoded[9..])]
        {
            let text = format!("key: {broken}.");
            let expected = masked(&[&text]);
            assert!(expected.starts_with("key: [redacted]"), "{expected}");
            for at in 0..=text.len() {
                assert_eq!(masked(&[&text[..at], &text[at..]]), expected, "{at}");
            }
        }
    }

    #[test]
    fn what_waits_is_bounded_and_bytes_that_are_no_text_pass() {
        let mut masker = Masker::new(&Reflected::of([&SecretString::from(SECRET.to_owned())]));
        assert_eq!(masker.push_bytes(b"\xff\x00sk-"), b"\xff\x00");
        for _ in 0..100 {
            masker.push_bytes(&[b'\n'; 100]);
            assert!(masker.held.len() < 1_000, "{}", masker.held.len());
        }
    }

    #[test]
    fn a_text_is_never_cut_inside_of_a_character() {
        // The last byte of this character is the first one of the secret in UTF-16.
        assert_eq!(with("€uro-secret-1", &["is not ¬", " here"]), "is not ¬ here");
    }

    proptest! {
        #[test]
        fn pieces_say_the_same_as_the_whole(text in "[sk1-]{0,30}(sk-1234567890abcdef)?[a-fs]{0,20}", cut in 0..70_usize) {
            let (first, second) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(masked(&[first, second]), masked(&[&text]));
        }

        /// Secrets whose ends are their beginnings, in texts that are full of them, cut anywhere.
        #[test]
        fn pieces_are_masked_as_the_whole_is(
            secret in "[ab]{8,11}",
            texts in proptest::collection::vec("[ab]{0,9}c?", 0..8),
            cuts in proptest::collection::vec(1..5_usize, 1..5),
        ) {
            let hidden = Reflected::of([&SecretString::from(secret.clone())]);
            let text = texts.join(&secret).into_bytes();
            let (mut masker, mut shown, mut rest) = (Masker::new(&hidden), Vec::new(), text.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                shown.extend(masker.push_bytes(piece));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            shown.extend(masker.finish_bytes());
            prop_assert_eq!(shown, hidden.mask(text));
        }
    }
}
