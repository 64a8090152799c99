//! Rules of single texts in plugin.yaml: entry point, class, licence, addresses, requirements.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::{escape, nearest};

/// Why a text of plugin.yaml is not accepted: a whole sentence for the author.
pub(super) type Complaint = String;

/// The entry point as the archive names it: relative, below the package, by the rules of archive paths.
pub(super) fn entry_point(text: &str) -> Result<String, Complaint> {
    let shown = escape(text);
    let path = text.strip_prefix("./").unwrap_or(text);
    let refused = if path.starts_with('/') {
        Some("is absolute; it is a path below the package")
    } else if path.contains('\\') || path.contains(char::is_control) {
        Some("holds a backslash or control character; folders are separated by `/`")
    } else if path.starts_with('-') {
        // A program that is started with this path would take it for an option.
        Some("begins with `-`")
    } else if path.as_bytes().get(1) == Some(&b':') {
        Some("begins with a drive letter; it is a path below the package")
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("has an empty, `.` or `..` part; it is a path to a file below the package")
    } else if path.len() > 1024 || path.split('/').any(|part| part.len() > 255) || path.split('/').count() > 32 {
        Some("is too long: at most 1024 bytes, 255 in one part, 32 parts")
    } else {
        None
    };
    refused.map_or_else(|| Ok(path.to_owned()), |why| Err(format!("`{shown}` {why}")))
}

/// A name that Python can give a class. ASCII only, so that what is reviewed is what is loaded.
pub(super) fn class_name(text: &str) -> Result<String, Complaint> {
    const KEYWORDS: [&str; 35] = [
        "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
        "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
        "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
    ];
    let is_identifier = text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with(|first: char| first.is_ascii_digit());
    if text.is_empty() || !is_identifier || KEYWORDS.contains(&text) {
        return Err(format!("`{}` is not a Python class name; expected letters, digits and `_`", escape(text)));
    }
    Ok(text.to_owned())
}

/// An SPDX licence expression.
pub(super) fn license(text: &str) -> Result<String, Complaint> {
    // Deprecated identifiers such as GPL-3.0 are still what many authors write.
    let mode = spdx::ParseMode { allow_deprecated: true, ..spdx::ParseMode::STRICT };
    let Err(error) = spdx::Expression::parse_mode(text, mode) else { return Ok(text.to_owned()) };
    let known = spdx::identifiers::LICENSES.iter().map(|license| license.name);
    let hint = match nearest(text, known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "expected such as `MIT` or `MIT OR Apache-2.0`; one of your own is `LicenseRef-NAME`".to_owned(),
    };
    Err(format!("`{}` is not an SPDX expression ({}); {hint}", escape(text), error.reason))
}

/// An address of a page.
pub(super) fn web_address(text: &str) -> Result<String, Complaint> {
    let is_page = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // The parser would drop these without a word; the shown text would not be the one that opens.
    if !is_page || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{}` is not an http or https address", escape(text)));
    }
    Ok(text.to_owned())
}

/// An address for mail, as far as it can be told without sending one.
pub(super) fn email(text: &str) -> Result<String, Complaint> {
    let is_email = text.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.') && !host.contains('@')
    });
    if !is_email || text.len() > 254 || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{}` is not an e-mail address", escape(text)));
    }
    Ok(text.to_owned())
}

/// A package of the Python index with an optional range, such as `requests[socks]>=2.31`.
pub(super) fn dependency(text: &str) -> Result<String, Complaint> {
    let shown = escape(text);
    let name_end = text.find(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c))).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let rest = rest.trim_start();
    // A leading `-` would be an option of pip, `@` or a path another source than the index.
    let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_name = is_name && name.ends_with(|c: char| c.is_ascii_alphanumeric());
    if !is_name || !(rest.is_empty() || rest.starts_with(['[', '<', '>', '=', '!', '~', '(', ';'])) {
        return Err(format!("`{shown}` is not a requirement; expected a package name, such as `requests>=2.31.0`"));
    }
    if rest.contains('@') {
        return Err(format!("`{shown}` points elsewhere; only packages of an index are vendored"));
    }
    Ok(text.to_owned())
}

/// A word that people type, such as `/weather`.
pub(super) fn command_name(text: &str) -> Result<String, Complaint> {
    let word = text.strip_prefix('/').unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if word.is_empty() || word.len() > 32 || !word.bytes().all(allowed) {
        let shown = escape(text);
        return Err(format!("`{shown}` is not a command; expected `/` and up to 32 of a-z, 0-9, `-` and `_`"));
    }
    Ok(text.to_owned())
}

/// A name that the operator gives an image, database, folder or API.
pub fn operator_name(text: &str) -> Result<String, Complaint> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let first = text.bytes().next();
    if text.len() > 63 || !text.bytes().all(allowed) || !first.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        let shown = escape(text);
        return Err(format!("`{shown}` is not a name an operator gives; expected a-z, 0-9, `-` and `_`"));
    }
    Ok(text.to_owned())
}

/// Which Python interpreters can run the plugin, such as `>=3.9` or `>=3.9, <4`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct PythonRequirement {
    text: String,
    clauses: Vec<(Comparison, Vec<u64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
    Equal,
    Unequal,
    Compatible,
}

impl PythonRequirement {
    /// Tells whether an interpreter of this version will do.
    pub fn allows(&self, version: [u64; 3]) -> bool {
        self.clauses.iter().all(|(comparison, wanted)| {
            let padded = |index: usize| wanted.get(index).copied().unwrap_or(0);
            let exact = [padded(0), padded(1), padded(2)];
            // `==3.11` means every 3.11, as authors of plugins mean it.
            let is_prefix = version.starts_with(wanted);
            match comparison {
                Comparison::AtLeast => version >= exact,
                Comparison::AtMost => version <= exact || is_prefix,
                Comparison::Above => version > exact && !is_prefix,
                Comparison::Below => version < exact,
                Comparison::Equal => is_prefix,
                Comparison::Unequal => !is_prefix,
                Comparison::Compatible => version >= exact && version.starts_with(&wanted[..wanted.len() - 1]),
            }
        })
    }
}

impl FromStr for PythonRequirement {
    type Err = Complaint;

    fn from_str(text: &str) -> Result<Self, Complaint> {
        let complaint = || format!("`{}` is not a range of Python versions; expected such as \">=3.9\"", escape(text));
        let clauses = text.split(',').map(|clause| clause_of(clause.trim())).collect::<Option<_>>();
        Ok(Self { text: text.to_owned(), clauses: clauses.ok_or_else(complaint)? })
    }
}

fn clause_of(clause: &str) -> Option<(Comparison, Vec<u64>)> {
    const SIGNS: [(&str, Comparison); 7] = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("~=", Comparison::Compatible),
        (">", Comparison::Above),
        ("<", Comparison::Below),
    ];
    let (comparison, rest) = SIGNS.iter().find_map(|(sign, found)| Some((*found, clause.strip_prefix(sign)?)))?;
    let takes_star = matches!(comparison, Comparison::Equal | Comparison::Unequal);
    let version = rest.trim().strip_suffix(".*").filter(|_| takes_star).unwrap_or(rest.trim());
    let is_number = |part: &&str| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts =
        version.split('.').map(|part| Some(part).filter(is_number)?.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let least = if comparison == Comparison::Compatible { 2 } else { 1 };
    (least..=3).contains(&parts.len()).then_some((comparison, parts))
}

impl From<PythonRequirement> for String {
    fn from(requirement: PythonRequirement) -> Self {
        requirement.text
    }
}

impl fmt::Display for PythonRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_point_stays_below_the_package() {
        assert_eq!(entry_point("./src/main.py").unwrap(), "src/main.py");
        for text in
            ["", "/bin/sh", "../x", "a/../b", "a//b", "a/", ".", "./", "././a", "--flag", "./-c", "a\\b", "a\0b", "C:x"]
        {
            assert!(entry_point(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn licences_are_spdx_expressions() {
        for text in
            ["MIT", "MIT OR Apache-2.0", "GPL-3.0", "LicenseRef-Acme", "GPL-3.0-or-later WITH GCC-exception-2.0"]
        {
            assert!(license(text).is_ok(), "{text}: {:?}", license(text));
        }
        assert!(license("Apache 2.0").unwrap_err().contains("did you mean `Apache-2.0`?"));
        assert!(license("all mine").unwrap_err().contains("LicenseRef"));
    }

    #[test]
    fn dependencies_come_from_the_index() {
        for text in ["requests", "requests>=2.31.0", "a[b,c] == 1.0", "a.b_c~=1; python_version < '3.9'"] {
            assert!(dependency(text).is_ok(), "{text}");
        }
        for text in ["", "--index-url=x", "-r x", "./local", "a @ https://x", "a; b @ c", "git+https://x", "a b", "a-"]
        {
            assert!(dependency(text).is_err(), "{text}");
        }
    }

    #[test]
    fn python_ranges_compare_part_by_part() {
        let allows = |range: &str, version| range.parse::<PythonRequirement>().unwrap().allows(version);
        assert!(allows(">=3.9", [3, 10, 2]));
        assert!(!allows(">=3.9", [3, 8, 19]));
        assert!(allows(">=3.9, <3.12", [3, 11, 0]));
        assert!(!allows(">=3.9,<3.12", [3, 12, 0]));
        assert!(allows("==3.11.*", [3, 11, 4]));
        assert!(!allows("!=3.11", [3, 11, 4]));
        assert!(allows("~=3.9", [3, 12, 0]));
        assert!(!allows("~=3.9.2", [3, 10, 0]));
        for text in ["3.9", ">=3.9.*", ">=x", ">=", "~=3", ">=3.9,", "=3.9", ">=3.9.1.2", ">=99999"] {
            assert!(text.parse::<PythonRequirement>().is_err(), "{text}");
        }
    }

    #[test]
    fn other_texts_have_their_forms() {
        assert!(class_name("MyPlugin").is_ok() && class_name("_x1").is_ok());
        assert!(class_name("1x").is_err() && class_name("a.b").is_err() && class_name("class").is_err());
        assert!(command_name("/my-plugin").is_ok());
        assert!(command_name("my").is_err() && command_name("/").is_err() && command_name("/A").is_err());
        assert!(email("a@b.example").is_ok() && email("a b@c.d").is_err() && email("x").is_err());
        assert!(web_address("https://e.example/x").is_ok() && web_address("javascript:alert(1)").is_err());
        assert!(operator_name("python").is_ok() && operator_name("evil/registry:latest").is_err());
    }
}
