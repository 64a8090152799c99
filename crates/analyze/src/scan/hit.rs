//! What a scan says: hits and the verdict over them. It travels between processes and is stored, and so is bounded.

use serde::{Deserialize, Serialize};

use crate::model::Place;
use crate::verdict::Verdict;

/// Hits of a scan that are told.
pub const MAX_HITS: usize = 1_000;

/// Hits of one rule in one file that are told.
pub(crate) const MAX_HITS_IN_FILE: usize = 20;

/// Characters of each text of a hit.
const MAX_TEXT: usize = 300;

/// One hit of a rule. Path and texts may come from foreign code: escape them before they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The rule.
    pub rule: String,
    /// How much it matters.
    #[serde(rename = "severity")]
    pub verdict: Verdict,
    /// The file; empty for the whole package.
    pub path: String,
    /// Where in it.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What was found, such as the name that is called.
    pub what: String,
    /// Why it matters.
    pub reason: String,
    /// How it is settled.
    #[serde(rename = "settle")]
    pub how: String,
}

impl Hit {
    /// The same with texts that are not too long.
    pub(crate) fn bounded(mut self) -> Self {
        for text in [&mut self.path, &mut self.what, &mut self.reason, &mut self.how] {
            if let Some((at, _)) = text.char_indices().nth(MAX_TEXT) {
                text.truncate(at);
                text.push('…');
            }
        }
        self
    }
}

/// What a scan says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// The worst of it.
    pub verdict: Verdict,
    /// The digest of the rules that were used. Another one: the same package may be judged differently now.
    pub rules: String,
    /// Files that were looked at.
    pub files: usize,
    /// Whether all was read within the limits.
    #[serde(rename = "complete")]
    pub is_complete: bool,
    /// The hits, the worst first; at most [`MAX_HITS`].
    #[serde(rename = "findings")]
    pub hits: Vec<Hit>,
    /// Hits that were left out.
    pub left_out: usize,
}

impl Scan {
    /// A scan that came to no end. What makes the reader fail was not read, so that a person has to look at it.
    pub fn failed(why: &str) -> Self {
        let hit = Hit {
            rule: "scan-failed".to_owned(),
            verdict: Verdict::Suspicious,
            path: String::new(),
            place: None,
            what: why.to_owned(),
            reason: "The code could not be read, and what is not read is not judged.".to_owned(),
            how: "Scan the package with `plugbay scan`, and look for files that are unusual.".to_owned(),
        };
        Self { is_complete: false, ..Self::of(vec![hit]) }
    }

    /// The same with what others found. A verdict becomes worse by it, or stays.
    #[must_use]
    pub fn with(self, more: Vec<Hit>) -> Self {
        let Self { rules, files, is_complete, mut hits, left_out, .. } = self;
        hits.extend(more);
        let all = Self::of(hits);
        Self { rules, files, is_complete, left_out: left_out + all.left_out, ..all }
    }

    /// A scan with these hits: sorted, without doubles, and as many as are told.
    pub(crate) fn of(mut hits: Vec<Hit>) -> Self {
        let verdict = hits.iter().map(|hit| hit.verdict).max().unwrap_or_default();
        hits.sort_by(|left, right| {
            let key = |hit: &Hit| (hit.path.starts_with("vendor/"), hit.place);
            right.verdict.cmp(&left.verdict).then_with(|| {
                (key(left), &left.path, &left.rule, &left.what).cmp(&(
                    key(right),
                    &right.path,
                    &right.rule,
                    &right.what,
                ))
            })
        });
        hits.dedup();
        let left_out = hits.len().saturating_sub(MAX_HITS);
        hits.truncate(MAX_HITS);
        let hits = hits.into_iter().map(Hit::bounded).collect();
        Self { verdict, rules: crate::rule::digest(), files: 0, is_complete: true, hits, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_travels_and_stays_small() {
        let hit = |number: u32| Hit {
            rule: "x".to_owned(),
            verdict: if number == 1_999 { Verdict::Suspicious } else { Verdict::Notes },
            path: "main.py".to_owned(),
            place: Some(Place { line: number, column: 1 }),
            what: "ä".repeat(10_000),
            reason: String::new(),
            how: String::new(),
        };
        let scan = Scan::of((0..2_000).map(hit).collect());
        assert_eq!((scan.hits.len(), scan.left_out, scan.verdict), (MAX_HITS, 1_000, Verdict::Suspicious));
        assert_eq!(scan.hits[0].place.unwrap().line, 1_999, "the worst comes first");
        let text = serde_json::to_string(&scan).unwrap();
        assert!(text.len() < MAX_HITS * 1_000, "{}", text.len());
        assert_eq!(serde_json::from_str::<Scan>(&text).unwrap(), scan);
    }
}
