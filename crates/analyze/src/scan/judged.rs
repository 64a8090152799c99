//! Hits while they are gathered, with the stages of attacks that they belong to.

use std::collections::{BTreeMap, BTreeSet};

use super::hit::{Hit, MAX_HITS_IN_FILE};
use crate::model::Place;
use crate::rule::{Found, Rule};
use crate::verdict::Verdict;

/// A rule that is code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) rule: &'static str,
    pub(super) verdict: Verdict,
    /// The same in `vendor/`; `Clean`: it is not told.
    pub(super) vendor: Verdict,
    pub(super) reason: &'static str,
    pub(super) how: &'static str,
}

/// Hits that are gathered, far more than what is told. Stops a package from growing the list without end.
const MAX_GATHERED: usize = 20_000;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Judged {
    hits: Vec<Hit>,
    stages: BTreeMap<String, BTreeSet<String>>,
}

impl Judged {
    /// Adds the hits of a rule in one file.
    pub(super) fn add(&mut self, rule: &Rule, path: &str, found: impl IntoIterator<Item = Found>) {
        let verdict = if path.starts_with("vendor/") { rule.vendor } else { rule.verdict };
        if verdict == Verdict::Clean || self.hits.len() > MAX_GATHERED {
            return;
        }
        let before = self.hits.len();
        self.hits.extend(found.into_iter().take(MAX_HITS_IN_FILE).map(|found| Hit {
            rule: rule.id.clone(),
            verdict,
            path: path.to_owned(),
            place: Some(found.place),
            what: found.what,
            reason: rule.reason.clone(),
            how: rule.how.clone(),
        }));
        if self.hits.len() > before && verdict >= Verdict::Suspicious {
            self.stages.entry(group(path).to_owned()).or_default().extend(rule.stages().map(str::to_owned));
        }
    }

    /// Adds a hit of what no rule's file tells.
    pub(super) fn tell(&mut self, told: &Told, path: &str, place: Option<Place>, what: impl Into<String>) {
        let verdict = if path.starts_with("vendor/") { told.vendor } else { told.verdict };
        if verdict > Verdict::Clean {
            let (reason, how) = (told.reason.to_owned(), told.how.to_owned());
            let (rule, path) = (told.rule.to_owned(), path.to_owned());
            self.put(Hit { rule, verdict, path, place, what: what.into(), reason, how });
        }
    }

    pub(super) fn extend(&mut self, hits: Vec<Hit>) {
        for hit in hits {
            self.put(hit);
        }
    }

    pub(super) fn put(&mut self, hit: Hit) {
        if self.hits.len() <= MAX_GATHERED {
            self.hits.push(hit);
        }
    }

    /// All hits. One stage alone has honest uses; what collects and also sends has hardly any.
    pub(super) fn into_hits(mut self) -> Vec<Hit> {
        for hit in self.hits.iter_mut().filter(|hit| hit.verdict == Verdict::Suspicious) {
            if self.stages.get(group(&hit.path)).is_some_and(|stages| stages.len() > 1) {
                hit.verdict = Verdict::Malicious;
            }
        }
        self.hits
    }
}

/// Files that are judged together: all of the author's, and each file of a dependency by itself, as packages are large
/// and many of their files have nothing to do with each other.
fn group(path: &str) -> &str {
    if path.starts_with("vendor/") { path } else { "" }
}
