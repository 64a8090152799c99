//! What other scanners print: SARIF 2.1.0. Everything in it is foreign, and most of it is of no use here.

use plugbay_analyze::{Hit, Place};
use plugbay_domain::Verdict;
use serde::Deserialize;

/// Results that are read.
const MAX_RESULTS: usize = 10_000;

/// What every result says where its program says nothing.
const REASON: &str = "A scanner of the operator's found it.";

#[derive(Debug, Deserialize)]
struct Log {
    version: String,
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    #[serde(default)]
    results: Vec<Found>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    #[serde(default)]
    rule_id: Option<String>,
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    message: Message,
    #[serde(default)]
    locations: Vec<Location>,
}

#[derive(Debug, Default, Deserialize)]
struct Message {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Option<Physical>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Option<Artifact>,
    region: Option<Region>,
}

#[derive(Debug, Deserialize)]
struct Artifact {
    uri: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: Option<u32>,
    start_column: Option<u32>,
}

/// The results of a program of this name as hits. The error says what is wrong with what it printed.
pub fn read(name: &str, text: &str) -> Result<Vec<Hit>, String> {
    let log: Log = serde_json::from_str(text).map_err(|error| format!("what it printed is no SARIF: {error}"))?;
    if !log.version.starts_with("2.") {
        return Err("what it printed is not SARIF 2".to_owned());
    }
    let results: usize = log.runs.iter().map(|run| run.results.len()).sum();
    if results > MAX_RESULTS {
        return Err(format!("it has {results} results, and {MAX_RESULTS} are read"));
    }
    Ok(log.runs.into_iter().flat_map(|run| run.results).map(|found| found.into_hit(name)).collect())
}

/// What is told of a program that gave no results. A person has to look, as it did not.
pub fn failed(name: &str, why: &str) -> Hit {
    Hit {
        rule: format!("{name}/failed"),
        verdict: Verdict::Suspicious,
        path: String::new(),
        place: None,
        what: why.to_owned(),
        reason: "A scanner of the operator's did not come to an end, and what is not read is not judged.".to_owned(),
        how: format!("Repair `{name}` in `security.external_scanners`, then: plugbay scan --installed NAME --again"),
    }
}

impl Found {
    fn into_hit(self, name: &str) -> Hit {
        let physical = self.locations.into_iter().find_map(|location| location.physical_location);
        let (uri, region) = physical.map_or((None, None), |found| (found.artifact_location, found.region));
        let uri = uri.and_then(|artifact| artifact.uri).unwrap_or_default();
        let path = uri.trim_start_matches("file://").trim_start_matches("/plugin/").to_owned();
        let place = region.and_then(|region| {
            let line = region.start_line.filter(|line| *line > 0)?;
            Some(Place { line, column: region.start_column.unwrap_or(1).max(1) })
        });
        Hit {
            rule: format!("{name}/{}", self.rule_id.as_deref().unwrap_or("result")),
            // Where a level is missing, the standard says that it is a warning.
            verdict: if self.level.as_deref() == Some("error") { Verdict::Suspicious } else { Verdict::Notes },
            path,
            place,
            what: self.message.text.unwrap_or_default(),
            reason: REASON.to_owned(),
            how: format!("See what `{name}` says of this rule."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_become_hits() {
        let text = r#"{"version": "2.1.0", "$schema": "x", "runs": [{"tool": {}, "results": [
            {"ruleId": "B602", "level": "error", "message": {"text": "shell"}, "locations": [{"physicalLocation":
             {"artifactLocation": {"uri": "file:///plugin/main.py"}, "region": {"startLine": 3, "endLine": 9}}}]},
            {"message": {}}]}, {}]}"#;
        let hits = read("bandit", text).unwrap();
        let seen: Vec<_> =
            hits.iter().map(|hit| (hit.rule.as_str(), hit.verdict, hit.path.as_str(), hit.place)).collect();
        let place = Some(Place { line: 3, column: 1 });
        assert_eq!(
            seen,
            [("bandit/B602", Verdict::Suspicious, "main.py", place), ("bandit/result", Verdict::Notes, "", None)]
        );
    }

    #[test]
    fn what_is_no_sarif_is_refused() {
        for (text, why) in [
            ("[]", "what it printed is no SARIF"),
            (r#"{"version": "1.0.0", "runs": []}"#, "what it printed is not SARIF 2"),
            (r#"{"version": "2.1.0"}"#, "what it printed is no SARIF: missing field `runs`"),
        ] {
            assert!(read("x", text).unwrap_err().starts_with(why), "{text}");
        }
        let many =
            format!(r#"{{"version": "2.1.0", "runs": [{{"results": [{}]}}]}}"#, vec!["{}"; MAX_RESULTS + 1].join(","));
        assert_eq!(read("x", &many).unwrap_err(), "it has 10001 results, and 10000 are read");
    }
}
