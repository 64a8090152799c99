//! Secrets in texts that come piece by piece: one that is cut anywhere is found, and only what may be the beginning of one
//! waits for the next piece.

use super::Reflected;

/// Masks one text, from its first piece to its last.
#[derive(Clone, Debug)]
pub struct Masker {
    hidden: Reflected,
    /// What may be the beginning of a secret.
    held: String,
}

impl Masker {
    /// Looks for these.
    pub fn new(hidden: &Reflected) -> Self {
        Self { hidden: hidden.clone(), held: String::new() }
    }

    /// Takes the next piece, and gives what can be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        if self.hidden.is_empty() {
            return piece.to_owned();
        }
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        let waits = self.hidden.begins_in(&text);
        self.held = text.split_off(text.len() - waits);
        self.hidden.mask_text(&text)
    }

    /// The end of the text.
    pub fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() { held } else { self.hidden.mask_text(&held) }
    }
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

    proptest! {
        #[test]
        fn pieces_say_the_same_as_the_whole(text in "[sk1-]{0,30}(sk-1234567890abcdef)?[a-fs]{0,20}", cut in 0..70_usize) {
            let (first, second) = text.split_at(cut.min(text.len()));
            prop_assert_eq!(masked(&[first, second]), masked(&[&text]));
        }
    }
}
