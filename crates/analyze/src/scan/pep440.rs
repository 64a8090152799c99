//! Versions of Python packages and their order: <https://packaging.python.org/en/latest/specifications/version-specifiers/>.

use std::cmp::Ordering;

/// Longest version that is read.
const MAX_LENGTH: usize = 128;

/// A version. What an index accepts is read, also in its looser spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    epoch: u64,
    release: Vec<u64>,
    /// `a`, `b` or `rc` as 0, 1, 2, with its number.
    pre: Option<(u8, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<Part>,
}

/// A part of a local version. Numbers are higher than words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Word(String),
    Number(u64),
}

impl Version {
    /// Reads a version.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.len() > MAX_LENGTH {
            return None;
        }
        let text = text.strip_prefix('v').unwrap_or(&text);
        let (public, local) = text.split_once('+').map_or((text, None), |(public, local)| (public, Some(local)));
        let (epoch, public) = match public.split_once('!') {
            Some((epoch, rest)) => (epoch.parse().ok()?, rest),
            None => (0, public),
        };
        let mut rest = Rest(public);
        let mut release = vec![rest.number()?];
        while let Some(after) =
            rest.0.strip_prefix('.').filter(|after| after.starts_with(|digit: char| digit.is_ascii_digit()))
        {
            rest.0 = after;
            release.push(rest.number()?);
        }
        let pre = rest.marked(&[
            ("alpha", 0),
            ("a", 0),
            ("beta", 1),
            ("b", 1),
            ("preview", 2),
            ("pre", 2),
            ("rc", 2),
            ("c", 2),
        ]);
        let post =
            match rest.0.strip_prefix('-').filter(|after| after.starts_with(|digit: char| digit.is_ascii_digit())) {
                Some(after) => {
                    rest.0 = after;
                    rest.number()
                }
                None => rest.marked(&[("post", 0), ("rev", 0), ("r", 0)]).map(|(_, number)| number),
            };
        let dev = rest.marked(&[("dev", 0)]).map(|(_, number)| number);
        if !rest.0.is_empty() {
            return None;
        }
        let local = local.map(parts).unwrap_or_default();
        Some(Self { epoch, release, pre, post, dev, local })
    }

    /// The release without zeros at its end, which tell nothing.
    fn significant(&self) -> &[u64] {
        let end = self.release.iter().rposition(|number| *number != 0).map_or(0, |at| at + 1);
        &self.release[..end]
    }

    /// Where the version stands among those of one release: development, before, itself.
    fn phase(&self) -> (u8, u8, u64) {
        match (self.pre, self.post, self.dev) {
            (None, None, Some(_)) => (0, 0, 0),
            (Some((kind, number)), ..) => (1, kind, number),
            (None, ..) => (2, 0, 0),
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let last = |dev: Option<u64>| dev.unwrap_or(u64::MAX);
        let post = |version: &Self| version.post.map_or(0, |number| number.saturating_add(1));
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| self.significant().cmp(other.significant()))
            .then_with(|| self.phase().cmp(&other.phase()))
            .then_with(|| post(self).cmp(&post(other)))
            .then_with(|| last(self.dev).cmp(&last(other.dev)))
            .then_with(|| self.local.cmp(&other.local))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn parts(local: &str) -> Vec<Part> {
    let part = |text: &str| text.parse().map_or_else(|_| Part::Word(text.to_owned()), Part::Number);
    local.split(['.', '-', '_']).map(part).collect()
}

/// What is left of a version while it is read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn number(&mut self) -> Option<u64> {
        let end = self.0.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(self.0.len());
        let number = self.0[..end].parse().ok()?;
        self.0 = &self.0[end..];
        Some(number)
    }

    /// A word with a number behind it; without one it is 0.
    fn marked(&mut self, words: &[(&str, u8)]) -> Option<(u8, u64)> {
        let separated = |text| str::strip_prefix(text, ['.', '-', '_']);
        let after = separated(self.0).unwrap_or(self.0);
        let (rest, kind) = words.iter().find_map(|(word, kind)| Some((after.strip_prefix(word)?, *kind)))?;
        let with_number = separated(rest).filter(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()));
        self.0 = with_number.unwrap_or(rest);
        let number = if self.0.starts_with(|digit: char| digit.is_ascii_digit()) { self.number()? } else { 0 };
        Some((kind, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn versions_have_the_order_of_pep_440() {
        let ordered = [
            "0.9",
            "1.0.dev1",
            "1.0a1.dev1",
            "1.0a1",
            "1.0a2",
            "1.0b1",
            "1.0rc1",
            "1.0rc2.dev3",
            "1.0rc2",
            "1.0",
            "1.0+abc",
            "1.0+5",
            "1.0.post1.dev2",
            "1.0.post1",
            "1.0.post2",
            "1.0.1",
            "1.1",
            "1.10",
            "2004.1",
            "1!0.1",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for (left, right) in [
            ("1.0", "1"),
            ("1.0.0", "1.0"),
            ("v1.0", "1.0"),
            ("1.0-1", "1.0.post1"),
            ("1.0.RC1", "1.0rc1"),
            ("1.0alpha", "1.0a0"),
            ("1.0_beta-2", "1.0b2"),
        ] {
            assert_eq!(version(left).cmp(&version(right)), Ordering::Equal, "{left} {right}");
        }
        for text in ["", "x", "1.", "1.0.x", "1..2", "1.0foo", "latest", "99999999999999999999999"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert_eq!(Version::parse(&"1.".repeat(1000)), None);
    }
}
