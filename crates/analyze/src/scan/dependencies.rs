//! Judges what a package brought along by `vendor.lock`: known holes, and names that are nearly those of others.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use plugbay_domain::VendorLock;

use super::advisory::Advisories;
use super::declared::Declared;
use super::judged::{Judged, Told};
use crate::model::Place;
use crate::verdict::Verdict;

pub(crate) const POPULAR: &str = include_str!("../../data/popular-packages.txt");

const NEAR_NAME: Told = Told {
    rule: "name-near-popular",
    verdict: Verdict::Suspicious,
    vendor: Verdict::Suspicious,
    reason: "The name differs by one letter from that of a well-known package; such names are registered to be mistaken.",
    how: "Check that this is the package that is meant.",
};

const UNREADABLE_LOCK: Told = Told {
    rule: "unreadable",
    verdict: Verdict::Notes,
    vendor: Verdict::Notes,
    reason: "What lies in vendor/ is compared with nothing.",
    how: "Pack again with `plugbay pack`.",
};

/// Judges `vendor.lock`.
pub(super) fn judge(judged: &mut Judged, bytes: &[u8], advisories: &Advisories) {
    let lock: VendorLock = match serde_json::from_slice(bytes) {
        Ok(lock) => lock,
        Err(error) => return judged.tell(&UNREADABLE_LOCK, "vendor.lock", None, error.to_string()),
    };
    let text = String::from_utf8_lossy(bytes);
    for package in &lock.packages {
        let place = place_of(&package.name, &text);
        judge_name(judged, &package.name, "vendor.lock", place);
        for hit in advisories.hits(&package.name, &package.version) {
            judged.put(super::Hit { place, ..hit });
        }
    }
}

/// Judges the names that `dependencies` asks for.
pub(super) fn judge_wishes(judged: &mut Judged, declared: &Declared, manifest: &str) {
    for name in &declared.vendor {
        judge_name(judged, name, "plugin.yaml", place_of(name, manifest));
    }
}

/// Names of the packages of a `vendor.lock`; none of one that cannot be read, which is told where it is judged.
pub(super) fn locked_names(bytes: &[u8]) -> Vec<String> {
    let lock = serde_json::from_slice::<VendorLock>(bytes);
    lock.map_or_else(|_unreadable| Vec::new(), |lock| lock.packages.into_iter().map(|package| package.name).collect())
}

fn judge_name(judged: &mut Judged, name: &str, path: &str, place: Option<Place>) {
    if let Some(near) = near(name) {
        judged.tell(&NEAR_NAME, path, place, format!("`{name}` is nearly `{near}`"));
    }
}

fn place_of(word: &str, text: &str) -> Option<Place> {
    (1_u32..).zip(text.lines()).find_map(|(line, text)| {
        let column = u32::try_from(text.find(word)? + 1).ok()?;
        Some(Place { line, column })
    })
}

/// A name as indexes compare them: <https://packaging.python.org/en/latest/specifications/name-normalization/>.
pub(super) fn normalized(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' if made.ends_with('-') => {}
            '-' | '_' | '.' => made.push('-'),
            letter => made.extend(letter.to_lowercase()),
        }
    }
    made
}

fn popular() -> &'static BTreeSet<&'static str> {
    static KNOWN: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    KNOWN.get_or_init(|| POPULAR.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect())
}

/// The well-known package whose name is nearly this one.
fn near(name: &str) -> Option<&'static str> {
    let name = normalized(name);
    // Short names are all near each other.
    if name.len() < 5 || popular().contains(name.as_str()) {
        return None;
    }
    let plain = name.replace('-', "");
    let reversed: String = name.split('-').rev().collect::<Vec<_>>().join("-");
    let is_near = |known: &&&str| {
        known.len() >= 5 && (known.replace('-', "") == plain || **known == reversed || is_one_apart(known, &name))
    };
    popular().iter().find(is_near).copied()
}

/// Whether one letter was changed, added, left out, or two neighbours were swapped.
fn is_one_apart(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let same = left.iter().zip(right).take_while(|(one, other)| one == other).count();
    let (left, right) = (&left[same..], &right[same..]);
    match (left, right) {
        ([_, left @ ..], [_, right @ ..]) if left == right => true,
        ([a, b, left @ ..], [c, d, right @ ..]) if left == right && a == d && b == c => true,
        ([_, rest @ ..], right) if rest == right => true,
        (left, [_, rest @ ..]) if left == rest => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_nearly_popular_are_found() {
        for (name, meant) in [
            ("reqeusts", "requests"),
            ("request5", "requests"),
            ("requessts", "requests"),
            ("beautifulsoup", "beautifulsoup4"),
            ("python_dateutils", "python-dateutil"),
            ("dateutil-python", "python-dateutil"),
            ("typingextensions", "typing-extensions"),
            ("Crypto-graphy", "cryptography"),
            ("numppy", "numpy"),
        ] {
            assert_eq!(near(name), Some(meant), "{name}");
        }
        for name in ["requests", "Typing.Extensions", "attrs", "anyio", "my-own-package", "six", "yarl"] {
            assert_eq!(near(name), None, "{name}");
        }
        let known: Vec<&str> = popular().iter().copied().collect();
        assert!(known.len() >= 280, "{}", known.len());
        assert!(known.iter().all(|name| normalized(name) == *name && near(name).is_none()));
    }
}
