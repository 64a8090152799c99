//! Mistakes and warnings in the forms that other programs read: commands of GitHub Actions, and SARIF 2.1.0.

use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::analyze::{Hit, Scan, Verdict};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::mistake::Mistake;
use crate::domain::escape;

/// The schema that SARIF files name.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What a path cannot hold in an address.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'\\')
    .add(b':');

/// How mistakes, warnings and hits are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people and editors: `file:line:column`, with the line under it
    #[default]
    Text,
    /// One JSON value, as with --json
    Json,
    /// Commands of GitHub Actions, which shows them beside the code
    Github,
    /// SARIF 2.1.0, for code scanning and editors
    Sarif,
}

impl Format {
    /// The context of a command whose outcome has this format.
    pub(super) fn context(self, context: &Context) -> Result<Context, Failure> {
        match self {
            Self::Json => Ok(context.with_json()),
            Self::Github | Self::Sarif if context.output.is_json() => {
                Err(Failure::local(Local::Usage, "--json and --format name two formats", "use one of them"))
            }
            _ => Ok(context.same()),
        }
    }
}

/// How much a result matters, in the words of SARIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Note,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    /// The command of GitHub Actions.
    const fn command(self) -> &'static str {
        match self {
            Self::Note => "notice",
            other => other.as_str(),
        }
    }
}

/// What was found about one folder or archive.
pub(super) struct Report {
    results: Vec<Entry>,
}

/// One mistake, warning or hit.
struct Entry {
    level: Level,
    /// The code of the refusal, `warning`, or the rule of a hit.
    rule: String,
    path: String,
    line: Option<u64>,
    column: Option<u64>,
    message: String,
    /// How it is settled, where the rule says so.
    how: Option<String>,
}

impl Report {
    /// What was found, in the order in which it is told.
    pub(super) fn of(subject: &Path, mistakes: Vec<Mistake>, warnings: Vec<Mistake>) -> Self {
        let entry = |level, rule: &str, mistake: Mistake| Entry {
            level,
            rule: rule.to_owned(),
            path: mistake.path().map_or_else(|| manifest_of(subject), str::to_owned),
            line: mistake.field.line,
            column: mistake.field.column,
            message: mistake.field.message,
            how: None,
        };
        let mistakes = mistakes.into_iter().map(|mistake| entry(Level::Error, "manifest-invalid", mistake));
        let warnings = warnings.into_iter().map(|warning| entry(Level::Warning, "warning", warning));
        Self { results: mistakes.chain(warnings).collect() }
    }

    /// The hits of a scan. Their texts come from foreign code.
    pub(super) fn of_scan(subject: &Path, scan: &Scan) -> Self {
        let entry = |hit: &Hit| Entry {
            level: match hit.verdict {
                Verdict::Malicious => Level::Error,
                Verdict::Suspicious => Level::Warning,
                Verdict::Notes | Verdict::Clean => Level::Note,
            },
            rule: hit.rule.clone(),
            path: if hit.path.is_empty() || !subject.is_dir() {
                manifest_of(subject)
            } else {
                super::archive::shown(subject, &hit.path)
            },
            line: hit.place.map(|place| place.line.into()),
            column: hit.place.map(|place| place.column.into()),
            message: if subject.is_dir() {
                format!("{}: {}", escape(&hit.what), escape(&hit.reason))
            } else {
                format!("{}: {}: {}", escape(&hit.path), escape(&hit.what), escape(&hit.reason))
            },
            how: Some(hit.how.clone()),
        };
        Self { results: scan.hits.iter().map(entry).collect() }
    }

    /// The same with paths as they are in the package.
    pub(super) fn below_its_root(mut self, scan: &Scan) -> Self {
        for (entry, hit) in self.results.iter_mut().zip(&scan.hits) {
            let path = if hit.path.is_empty() { "plugin.yaml" } else { hit.path.as_str() };
            path.clone_into(&mut entry.path);
        }
        self
    }

    /// What a failure tells. One without single mistakes is about the whole.
    pub(super) fn of_failure(subject: &Path, failure: &Failure) -> Self {
        let mut report = Self::of(subject, failure.errors.clone(), Vec::new());
        if report.results.is_empty() {
            let message = format!("{}: {}", failure.title, failure.detail);
            let path = manifest_of(subject);
            report.results.push(Entry {
                level: Level::Error,
                rule: String::new(),
                path,
                line: None,
                column: None,
                message,
                how: None,
            });
        }
        for result in &mut report.results {
            result.rule = failure.code.to_string();
        }
        report
    }
}

/// What stands for a folder or archive of which no file is named.
fn manifest_of(subject: &Path) -> String {
    if subject.is_dir() { super::archive::shown(subject, "plugin.yaml") } else { subject.display().to_string() }
}

/// A line for each result: <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.
pub(super) fn github(report: &Report) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let line = |result: &Entry| {
        let mut head = vec![format!("::{} file={}", result.level.command(), property(&result.path))];
        let places = [("line", result.line), ("col", result.column)];
        head.extend(places.iter().filter_map(|(key, value)| value.map(|value| format!("{key}={value}"))));
        format!("{},title={}::{}", head.join(","), property(&result.rule), data(&result.message))
    };
    report.results.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The whole report as a SARIF document.
pub(super) fn sarif(report: &Report) -> String {
    let of_rule = report.results.iter().map(|result| (result.rule.as_str(), result.how.as_deref()));
    let rules: BTreeMap<&str, Option<&str>> = of_rule.collect();
    let rule = |(id, how): (&str, Option<&str>)| match how {
        Some(how) => json!({ "id": id, "help": { "text": how } }),
        None => json!({ "id": id }),
    };
    let result = |result: &Entry| {
        let mut place = json!({ "artifactLocation": { "uri": address(&result.path) } });
        if let Some(line) = result.line {
            place["region"] = json!({ "startLine": line.max(1), "startColumn": result.column.unwrap_or(1).max(1) });
        }
        json!({
            "ruleId": result.rule,
            "level": result.level.as_str(),
            "message": { "text": result.message },
            "locations": [{ "physicalLocation": place }],
        })
    };
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "plugbay",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_iter().map(rule).collect::<Vec<Value>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": report.results.iter().map(result).collect::<Vec<Value>>(),
        }],
    });
    format!("{document:#}")
}

/// A path as a relative or absolute reference.
fn address(path: &str) -> String {
    utf8_percent_encode(&path.replace('\\', "/"), IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FieldError;

    #[test]
    fn nothing_in_a_message_ends_a_command() {
        let field = FieldError::at("", "50 %\n::error::forged");
        let report = Report::of(Path::new("a,b:c.tar.gz"), vec![field.into()], Vec::new());
        let line = github(&report);
        assert_eq!(line, "::error file=a%2Cb%3Ac.tar.gz,title=manifest-invalid::50 %25%0A::error::forged");
    }

    #[test]
    fn paths_become_addresses() {
        assert_eq!(address("a b/ü#.py"), "a%20b/%C3%BC%23.py");
    }
}
