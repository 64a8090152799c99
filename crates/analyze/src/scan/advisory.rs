//! Advisories in the format of OSV: <https://ossf.github.io/osv-schema/>. They come from outside and are bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, Read as _};
use std::path::Path;

use serde::Deserialize;

use super::dependencies::{locked_names, normalized};
use super::hit::Hit;
use super::pep440::Version;
use crate::verdict::Verdict;

/// Bytes of one record. The largest that is known has 60 KiB.
const MAX_RECORD: u64 = 1024 * 1024;

/// Records that are read.
const MAX_RECORDS: usize = 100_000;

/// Bytes of all records together.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Folders in one another.
const MAX_DEPTH: usize = 8;

/// Problems that are told.
const MAX_PROBLEMS: usize = 10;

/// Known holes of packages, by the packages' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advisories {
    of: BTreeMap<String, Vec<Advisory>>,
    problems: Vec<String>,
}

/// What one record says of one package.
#[derive(Clone, Debug, PartialEq)]
struct Advisory {
    id: String,
    summary: String,
    aliases: Vec<String>,
    versions: Vec<String>,
    /// From the first version to the one before the second; `None` has no end.
    ranges: Vec<Span>,
    fixed: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Span {
    from: Option<Version>,
    to: Option<Version>,
    /// The last version belongs to it.
    with_last: bool,
}

#[derive(Deserialize)]
struct Record {
    id: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    details: String,
    #[serde(default)]
    aliases: Vec<String>,
    withdrawn: Option<String>,
    #[serde(default)]
    affected: Vec<Affected>,
}

#[derive(Deserialize)]
struct Affected {
    package: Option<Package>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

/// Takes line after line. The first one that is refused ends it.
fn each_line(
    mut lines: impl BufRead,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> io::Result<Result<(), (usize, String)>> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        lines.by_ref().take(MAX_RECORD + 2).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        if number > MAX_RECORDS {
            return Ok(Err((number, format!("there are more than {MAX_RECORDS} records"))));
        }
        if let Err(problem) = take(line.trim_ascii()) {
            return Ok(Err((number, problem)));
        }
    }
    Ok(Ok(()))
}

impl Advisories {
    /// Reads every JSON file below a folder. A record that cannot be read is a problem and stops nothing.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut read = Self::default();
        let (mut folders, mut records, mut left) = (vec![(folder.to_owned(), 0)], 0, MAX_BYTES);
        while let Some((at, depth)) = folders.pop() {
            for entry in fs::read_dir(&at)? {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                if kind.is_dir() && depth < MAX_DEPTH {
                    folders.push((path, depth + 1));
                    continue;
                }
                if !kind.is_file() || path.extension().is_none_or(|ending| ending != "json") {
                    continue;
                }
                records += 1;
                if records > MAX_RECORDS || left == 0 {
                    read.problem(format!("only the first {MAX_RECORDS} records and {MAX_BYTES} bytes were read"));
                    return Ok(read);
                }
                let mut bytes = Vec::new();
                File::open(&path)?.take(MAX_RECORD + 1).read_to_end(&mut bytes)?;
                left = left.saturating_sub(bytes.len() as u64);
                if let Err(problem) = read.add(&bytes) {
                    read.problem(format!("`{}`: {problem}", path.display()));
                }
            }
        }
        Ok(read)
    }

    /// Reads records that stand in a line each, and keeps those about the packages of a `vendor.lock`: all that are known
    /// would take more memory than a scan has. The first line that is no record is told with its number.
    pub fn read_lines(lines: impl BufRead, lock: &[u8]) -> io::Result<Result<Self, (usize, String)>> {
        let names: BTreeSet<String> = locked_names(lock).iter().map(|name| normalized(name)).collect();
        let mut read = Self::default();
        let taken = each_line(lines, |line| {
            let mut one = Self::default();
            one.add(line)?;
            for (name, advisories) in one.of.into_iter().filter(|(name, _)| names.contains(name)) {
                read.of.entry(name).or_default().extend(advisories);
            }
            Ok(())
        });
        Ok(taken?.map(|()| read))
    }

    /// Counts what [`Advisories::read_lines`] would read, and keeps none of it.
    pub fn count_lines(lines: impl BufRead) -> io::Result<Result<usize, (usize, String)>> {
        let mut count = 0;
        let counted = each_line(lines, |line| {
            let mut one = Self::default();
            one.add(line)?;
            count += one.len();
            Ok(())
        });
        Ok(counted?.map(|()| count))
    }

    /// Adds one record.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 > MAX_RECORD {
            return Err(format!("has more than {MAX_RECORD} bytes"));
        }
        let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if record.withdrawn.is_some() {
            return Ok(());
        }
        let first = record.details.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let summary = if record.summary.is_empty() { first.to_owned() } else { record.summary };
        for affected in record.affected {
            let Some(package) = affected.package.filter(|package| package.ecosystem == "PyPI") else { continue };
            let ranges = affected.ranges.iter().filter(|range| range.kind == "ECOSYSTEM");
            let fixed =
                ranges.clone().flat_map(|range| &range.events).filter_map(|event| event.fixed.clone()).next_back();
            let advisory = Advisory {
                id: record.id.clone(),
                summary: summary.clone(),
                aliases: record.aliases.clone(),
                versions: affected.versions,
                ranges: ranges.flat_map(spans).collect(),
                fixed,
            };
            self.of.entry(normalized(&package.name)).or_default().push(advisory);
        }
        Ok(())
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// What could not be read, and why.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.of.values().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// What is known of a version of a package. A malicious package is one whose record says so.
    pub(super) fn hits(&self, name: &str, version: &str) -> Vec<Hit> {
        let parsed = Version::parse(version);
        let known = self.of.get(&normalized(name)).into_iter().flatten();
        let hit = |advisory: &Advisory| {
            let is_malicious = advisory.id.starts_with("MAL-");
            let names: Vec<&str> = std::iter::once(&advisory.id).chain(&advisory.aliases).map(String::as_str).collect();
            Hit {
                rule: if is_malicious { "malicious-package" } else { "advisory" }.to_owned(),
                verdict: if is_malicious { Verdict::Malicious } else { Verdict::Notes },
                path: "vendor.lock".to_owned(),
                place: None,
                what: format!("{name} {version}: {}", names.join(", ")),
                reason: if advisory.summary.is_empty() {
                    "A hole is known.".to_owned()
                } else {
                    advisory.summary.clone()
                },
                how: match &advisory.fixed {
                    Some(fixed) => format!("Take {name} {fixed} or later, and pack again."),
                    None => format!("No version without it is known; do without {name}."),
                },
            }
        };
        known.filter(|advisory| advisory.affects(version, parsed.as_ref())).map(hit).collect()
    }
}

impl Advisory {
    fn affects(&self, version: &str, parsed: Option<&Version>) -> bool {
        let is_listed = || {
            self.versions
                .iter()
                .any(|known| known == version || (parsed.is_some() && Version::parse(known).as_ref() == parsed))
        };
        is_listed() || parsed.is_some_and(|version| self.ranges.iter().any(|span| span.has(version)))
    }
}

impl Span {
    fn has(&self, version: &Version) -> bool {
        let is_after = self.from.as_ref().is_none_or(|from| version >= from);
        let is_before = |to: &Version| if self.with_last { version <= to } else { version < to };
        is_after && self.to.as_ref().is_none_or(is_before)
    }
}

/// The spans that the events of a range make. One whose version cannot be read covers nothing.
fn spans(range: &Range) -> Vec<Span> {
    let (mut spans, mut from): (Vec<Span>, Option<Option<Version>>) = (Vec::new(), None);
    for event in &range.events {
        if let Some(introduced) = &event.introduced {
            from = if introduced == "0" { Some(None) } else { Version::parse(introduced).map(Some) };
        }
        let end = event.fixed.as_ref().map(|fixed| (fixed, false));
        if let Some((end, with_last)) = end.or_else(|| event.last_affected.as_ref().map(|last| (last, true)))
            && let (Some(from), Some(to)) = (from.take(), Version::parse(end))
        {
            spans.push(Span { from, to: Some(to), with_last });
        }
    }
    spans.extend(from.map(|from| Span { from, to: None, with_last: false }));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"id":"PYSEC-1","aliases":["CVE-1"],"details":"\nBad thing.","affected":[{"package":{"ecosystem":"PyPI",
        "name":"Some_Package"},"ranges":[{"type":"GIT","events":[{"introduced":"0"}]},{"type":"ECOSYSTEM","events":[
        {"introduced":"0"},{"fixed":"1.2.3"},{"introduced":"2.0"},{"last_affected":"2.4"}]}],"versions":["3.0rc1"]}]}"#;

    fn advisories(record: &str) -> Advisories {
        let mut advisories = Advisories::default();
        advisories.add(record.as_bytes()).unwrap();
        advisories
    }

    #[test]
    fn versions_are_compared_with_ranges() {
        let known = advisories(RECORD);
        for (version, is_hit) in [
            ("1.0", true),
            ("1.2.3", false),
            ("1.2.3rc1", true),
            ("1.9", false),
            ("2.0", true),
            ("2.4.0", true),
            ("2.4.1", false),
            ("3.0", false),
            ("3.0.rc1", true),
            ("what", false),
        ] {
            assert_eq!(!known.hits("some-package", version).is_empty(), is_hit, "{version}");
        }
        let hit = &known.hits("Some.Package", "1.0")[0];
        assert_eq!((hit.rule.as_str(), hit.reason.as_str()), ("advisory", "Bad thing."));
        assert!(hit.what.contains("PYSEC-1, CVE-1") && hit.verdict == Verdict::Notes, "{hit:?}");
        assert!(known.hits("other", "1.0").is_empty());
    }

    #[test]
    fn withdrawn_records_and_other_ecosystems_say_nothing() {
        assert!(
            advisories(&RECORD.replace("\"aliases\"", "\"withdrawn\":\"2024-01-01T00:00:00Z\",\"aliases\"")).is_empty()
        );
        assert!(advisories(&RECORD.replace("PyPI", "npm")).is_empty());
        let bad = advisories(&RECORD.replace("PYSEC-1", "MAL-2024-1"));
        assert_eq!(bad.hits("some-package", "1.0")[0].verdict, Verdict::Malicious);
    }

    #[test]
    fn a_folder_is_read_with_what_is_wrong_in_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/one.json"), RECORD).unwrap();
        fs::write(folder.path().join("a/two.json"), "{").unwrap();
        fs::write(folder.path().join("README"), "no").unwrap();
        fs::write(folder.path().join("big.json"), vec![b' '; 1024 * 1024 + 2]).unwrap();
        let read = Advisories::read(folder.path()).unwrap();
        assert_eq!((read.len(), read.problems().len()), (1, 2), "{:?}", read.problems());
        assert!(Advisories::read(&folder.path().join("gone")).is_err());
    }
}
