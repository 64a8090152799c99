//! Judges Python by the rules, and what stands together: two stages of an attack are more than their sum.

use std::collections::{BTreeMap, BTreeSet};

use super::hit::{Hit, MAX_HITS_IN_FILE};
use crate::model::{Analysis, Module};
use crate::rule::{Rule, rules};
use crate::verdict::Verdict;

/// The hits of all rules in all files.
pub(super) fn hits(analysis: &Analysis) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut stages: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for module in &analysis.modules {
        for rule in rules() {
            let found = of_rule(rule, module);
            if found.iter().any(|hit| hit.verdict >= Verdict::Suspicious) {
                stages.entry(group(&module.path)).or_default().extend(rule.stages());
            }
            hits.extend(found);
        }
    }
    // One stage alone has honest uses. What collects and also sends has hardly any.
    for hit in hits.iter_mut().filter(|hit| hit.verdict == Verdict::Suspicious) {
        if stages.get(group(&hit.path)).is_some_and(|stages| stages.len() > 1) {
            hit.verdict = Verdict::Malicious;
        }
    }
    hits
}

/// Files that are judged together: all of the author's, and each file of a dependency by itself, as packages are large
/// and many of their files have nothing to do with each other.
fn group(path: &str) -> &str {
    if path.starts_with("vendor/") { path } else { "" }
}

fn of_rule(rule: &Rule, module: &Module) -> Vec<Hit> {
    let verdict = if module.path.starts_with("vendor/") { rule.vendor } else { rule.verdict };
    if verdict == Verdict::Clean {
        return Vec::new();
    }
    let hit = |found: crate::rule::Found| Hit {
        rule: rule.id.clone(),
        verdict,
        path: module.path.clone(),
        place: Some(found.place),
        what: found.what,
        reason: rule.reason.clone(),
        how: rule.how.clone(),
    };
    rule.find(module).into_iter().take(MAX_HITS_IN_FILE).map(hit).collect()
}
