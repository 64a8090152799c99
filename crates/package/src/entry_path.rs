//! The path of an archive entry: checked once, then carried as a type that cannot lead out of a folder.
//!
//! Names that only Windows dislikes (`CON`, `aux.txt`, a trailing dot or space, `a b:c`) are accepted: packages are
//! unpacked on Linux alone, where they mean nothing. A drive letter at the start of a path is refused all the same,
//! because it says that the path was absolute where it was packed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PackageError;
use plugbay_domain::escape;

/// Longest path in bytes.
pub(super) const MAX_BYTES: usize = 1024;

/// Longest component in bytes; it is what Linux file systems take.
const MAX_COMPONENT_BYTES: usize = 255;

/// Most components. Stops trees that cannot be walked or removed again.
const MAX_DEPTH: usize = 32;

/// A relative path of plain names joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryPath(String);

impl EntryPath {
    /// Reads a path as archives hold it, without the `/` that ends a folder's. One leading `./` is dropped.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let shown = escape(&String::from_utf8_lossy(bytes));
        let invalid = |rule: String| PackageError::PathInvalid { entry: shown.clone(), rule };
        // Length first, so that nothing below runs over megabytes of name.
        if bytes.len() > MAX_BYTES.saturating_add(2) {
            return Err(invalid(format!("has {} bytes; a path has at most {MAX_BYTES}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|_not_utf8| invalid("is not UTF-8".to_owned()))?;
        if let Some(character) = text.chars().find(|character| !is_plain(*character)) {
            return Err(invalid(format!("holds the character U+{:04X}", u32::from(character))));
        }
        // Windows programs take a backslash for a separator: `..\..\x` would be a plain name here and a way out there.
        if text.contains('\\') {
            return Err(invalid("holds a backslash; folders are separated by `/`".to_owned()));
        }
        let text = text.strip_prefix("./").unwrap_or(text);
        if text.len() > MAX_BYTES {
            return Err(invalid(format!("has {} bytes; a path has at most {MAX_BYTES}", text.len())));
        }
        if text.starts_with('/') {
            return Err(PackageError::PathAbsolute { entry: shown, found: "/".to_owned() });
        }
        if let [letter, b':', ..] = text.as_bytes()
            && letter.is_ascii_alphabetic()
        {
            let found = format!("{}:", char::from(*letter));
            return Err(PackageError::PathAbsolute { entry: shown, found });
        }
        let mut depth: usize = 0;
        for component in text.split('/') {
            depth = depth.saturating_add(1);
            match component {
                ".." => return Err(PackageError::PathTraversal { entry: shown }),
                "" => return Err(invalid("has an empty component".to_owned())),
                "." => return Err(invalid("has a `.` component".to_owned())),
                _ if component.len() > MAX_COMPONENT_BYTES => {
                    let rule =
                        format!("has a component of {} bytes; at most {MAX_COMPONENT_BYTES} fit", component.len());
                    return Err(invalid(rule));
                }
                _ => {}
            }
        }
        if depth > MAX_DEPTH {
            return Err(invalid(format!("lies {depth} levels deep; at most {MAX_DEPTH} are allowed")));
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its names from the top down.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The folder it lies in, unless it lies at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// What is left below the top folder; nothing for the top folder itself.
    pub(super) fn below_top(&self) -> Option<Self> {
        self.0.split_once('/').map(|(_, rest)| Self(rest.to_owned()))
    }

    /// The first component.
    pub(super) fn top(&self) -> &str {
        self.0.split_once('/').map_or(self.as_str(), |(top, _)| top)
    }
}

/// Tells whether a character is shown as itself. Control and invisible direction characters make a listing lie.
fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        return !character.is_ascii_control();
    }
    let mut buffer = [0; 4];
    let text: &str = character.encode_utf8(&mut buffer);
    escape(text) == text
}

impl FromStr for EntryPath {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, PackageError> {
        Self::parse(text.as_bytes())
    }
}

impl TryFrom<String> for EntryPath {
    type Error = PackageError;

    fn try_from(text: String) -> Result<Self, PackageError> {
        text.parse()
    }
}

impl From<EntryPath> for String {
    fn from(path: EntryPath) -> Self {
        path.0
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;
    use plugbay_domain::{Code, Refusal};

    fn code(path: &str) -> Option<Code> {
        path.parse::<EntryPath>().err().map(|error| error.code())
    }

    #[test]
    fn each_rule_of_paths_has_its_code() {
        let deep = vec!["d"; 33].join("/");
        let table = [
            ("../evil", Code::PathTraversal),
            ("a/../../evil", Code::PathTraversal),
            ("a/../b", Code::PathTraversal),
            ("..", Code::PathTraversal),
            ("./../x", Code::PathTraversal),
            ("/tmp/moo", Code::PathAbsolute),
            ("//tmp/moo", Code::PathAbsolute),
            (".//tmp", Code::PathAbsolute),
            ("C:/x", Code::PathAbsolute),
            ("a:b", Code::PathAbsolute),
            ("C:\\x", Code::PathInvalid),
            ("..\\..\\evil", Code::PathInvalid),
            ("\\\\srv\\x", Code::PathInvalid),
            ("", Code::PathInvalid),
            (".", Code::PathInvalid),
            ("./", Code::PathInvalid),
            ("././a", Code::PathInvalid),
            ("a//b", Code::PathInvalid),
            ("a/", Code::PathInvalid),
            ("a/./b", Code::PathInvalid),
            ("a\0b", Code::PathInvalid),
            ("a\nb", Code::PathInvalid),
            ("a\u{1b}b", Code::PathInvalid),
            ("a\u{7f}b", Code::PathInvalid),
            ("a\u{202e}b", Code::PathInvalid),
            ("a\u{200b}b", Code::PathInvalid),
            (&"x".repeat(256), Code::PathInvalid),
            (&"x/".repeat(600), Code::PathInvalid),
            (&deep, Code::PathInvalid),
        ];
        for (path, expected) in table {
            assert_eq!(code(path), Some(expected), "{path:?}");
        }
        assert!(EntryPath::parse(b"a\xff").is_err());
        assert!(EntryPath::parse(b"\xc0\xae\xc0\xae/x").is_err(), "overlong form of ..");
        assert!(EntryPath::parse(b"\xed\xa0\x80").is_err(), "surrogate");
    }

    #[test]
    fn plain_names_are_kept_as_they_are() {
        let deep = vec!["d"; 32].join("/");
        let long = format!("{0}/{0}/{0}/{0}", "x".repeat(255));
        for path in
            ["a", "a/b.txt", "...", "..a", ".hidden", "CON", "aux.txt", "a.", "a ", "ab:c", "größe/日本", &deep, &long]
        {
            assert_eq!(path.parse::<EntryPath>().unwrap().as_str(), path);
        }
        assert_eq!("./a/b".parse::<EntryPath>().unwrap().as_str(), "a/b");
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_beneath(bytes in prop::collection::vec(
            prop_oneof![Just(b'.'), Just(b'/'), Just(b'\\'), Just(b':'), Just(0), Just(b'a'), any::<u8>()], 0..40)) {
            if let Ok(path) = EntryPath::parse(&bytes) {
                let parts: Vec<_> = Path::new(path.as_str()).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(parts.len(), path.components().count());
                prop_assert_eq!(path.as_str().parse::<EntryPath>().unwrap(), path);
            }
        }
    }
}
