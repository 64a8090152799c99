//! Why pip found nothing that fits. It says the same words for an index that is out of reach, a package that no index has and
//! one without a wheel, so it is asked once more, with everything it sees.

use std::collections::BTreeSet;

use url::Url;

use crate::domain::escape;

/// Lines that are read. An index may have any number of files for a package.
pub(super) const MAX_LINES: usize = 200_000;

/// Versions that are named.
const SHOWN_VERSIONS: usize = 5;

/// Why there is nothing to vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The index does not answer, or not with files.
    Unreachable { index: String, why: String },
    /// No index has a package of the name.
    NoPackage,
    /// The package has versions, and the wish fits none.
    NoVersion { found: Vec<String> },
    /// The package has no wheel that fits.
    NoWheel,
}

/// Finds the cause in what `pip download -vv` printed.
#[derive(Debug, Default)]
pub(super) struct Findings {
    unreachable: Option<(String, String)>,
    is_missing: bool,
    has_files: bool,
    versions: BTreeSet<String>,
}

impl Findings {
    /// Looks at one line.
    pub(super) fn take(&mut self, line: &str) {
        let line = line.trim();
        if let Some((url, why)) = line.strip_prefix("Could not fetch URL ").and_then(|rest| rest.split_once(": ")) {
            let why = why.strip_suffix(" - skipping").unwrap_or(why);
            if why.starts_with("404 ") || why.starts_with("410 ") {
                self.is_missing = true;
            } else if self.unreachable.is_none() {
                self.unreachable = Some((index_of(url), reason(why)));
            }
        } else if line.starts_with("Found link ") || line.starts_with("Link requires a different Python") {
            self.has_files = true;
        } else if let Some(skipped) = line.strip_prefix("Skipping link: ") {
            // The page itself is tried as a folder of files, too.
            self.has_files |= !skipped.starts_with("not a file");
        } else if let Some((_, versions)) = line.split_once("(from versions: ") {
            let versions = versions.trim_end_matches(')').split(", ").filter(|version| *version != "none");
            self.versions.extend(versions.map(escape));
        }
    }

    /// The cause. An index that was not reached may have what the others lack.
    pub(super) fn cause(self) -> Cause {
        match self {
            Self { versions, .. } if !versions.is_empty() => {
                let skipped = versions.len().saturating_sub(SHOWN_VERSIONS);
                Cause::NoVersion { found: versions.into_iter().skip(skipped).collect() }
            }
            Self { unreachable: Some((index, why)), .. } => Cause::Unreachable { index, why },
            Self { has_files: false, is_missing: true, .. } => Cause::NoPackage,
            _ => Cause::NoWheel,
        }
    }
}

/// The index that a page is of, without what may be a password.
fn index_of(page: &str) -> String {
    let Ok(mut url) = Url::parse(page) else { return "of pip's configuration".to_owned() };
    url.set_username("").ok();
    url.set_password(None).ok();
    url.set_query(None);
    let text = url.to_string();
    let index = text.trim_end_matches('/').rsplit_once('/').map_or(text.as_str(), |(index, _package)| index);
    escape(index)
}

/// The cause at the end of what urllib3 wraps it in.
fn reason(why: &str) -> String {
    let inner = ["Failed to establish a new connection: ", "Failed to resolve ", "(Caused by "]
        .iter()
        .find_map(|head| why.rsplit_once(head).map(|(_, inner)| inner))
        .unwrap_or(why);
    escape(inner.trim_end_matches(['\'', ')', '"']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(lines: &[&str]) -> Cause {
        let mut findings = Findings::default();
        for line in lines {
            findings.take(line);
        }
        findings.cause()
    }

    const GONE: &str =
        "Could not fetch URL https://i.example/simple/nope/: 404 Client Error: Not Found for url: https://… - skipping";
    const AWAY: &str = "Could not fetch URL https://u:****@i.example:8443/simple/nope/: connection error: \
                        HTTPSConnectionPool(host='i.example', port=8443): Max retries exceeded with url: /simple/nope/ \
                        (Caused by NewConnectionError('<x>: Failed to establish a new connection: [Errno 111] \
                        Connection refused')) - skipping";

    #[test]
    fn each_cause_is_told_from_the_others() {
        assert_eq!(cause(&[GONE, "Skipping link: not a file: https://i.example/simple/nope/"]), Cause::NoPackage);
        let away = Cause::Unreachable {
            index: "https://i.example:8443/simple".to_owned(),
            why: "[Errno 111] Connection refused".to_owned(),
        };
        assert_eq!(cause(&[AWAY]), away);
        assert_eq!(cause(&[GONE, AWAY]), away, "the other index may have it");
        let source = "  Skipping link: No sources permitted for built: http://i.example/built-1.0.tar.gz";
        assert_eq!(cause(&[source]), Cause::NoWheel);
        assert_eq!(cause(&[GONE, source]), Cause::NoWheel);
        let versions = "ERROR: Could not find a version that satisfies the requirement a>=7 (from versions: 1.0, 1.2)";
        assert_eq!(cause(&[versions]), Cause::NoVersion { found: vec!["1.0".to_owned(), "1.2".to_owned()] });
        let refused =
            "Could not fetch URL https://i.example/simple/a/: 403 Client Error: Forbidden for url: x - skipping";
        assert!(matches!(cause(&[refused]), Cause::Unreachable { why, .. } if why.starts_with("403 ")));
    }
}
