//! Judges a package by rules, which are data: each is a file in `data/rules/` with a hit and a no-hit.
//!
//! A scan is a reader's help. The sandbox is the border.

mod advisory;
mod compared;
mod declared;
mod dependencies;
mod hit;
mod judged;
mod object;
mod pep440;
mod policy;
mod script;
#[cfg(test)]
mod tests;
mod text;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use crate::budget::{Budget, Limits};
use crate::elf;
use crate::model::{Analysis, Finding, FindingKind};
use crate::rule::{Found, rules};
use crate::verdict::Verdict;
use crate::walk::{SourceFile, failed, in_large_thread, list, read_files, sort};

pub use advisory::Advisories;
pub use declared::Declared;
pub(crate) use dependencies::POPULAR;
pub use hit::{Hit, MAX_HITS, Scan};
use judged::{Judged, Told};
pub use policy::Policy;

/// Bytes of a file that is read as text. What is longer is no source that a person has written.
const TEXT_BYTES: u64 = 4 * 1024 * 1024;

/// Judges an unpacked package.
pub fn scan_folder(
    folder: &Path,
    declared: Option<&Declared>,
    policy: &Policy,
    advisories: &Advisories,
    limits: &Limits,
) -> io::Result<Scan> {
    let (files, found) = list(folder, limits)?;
    Ok(Package { files, found, declared, policy, advisories }.judge(limits))
}

/// Judges the files of a package.
pub fn scan_files(
    files: Vec<SourceFile>,
    declared: Option<&Declared>,
    policy: &Policy,
    advisories: &Advisories,
    limits: &Limits,
) -> Scan {
    Package { files, found: Vec::new(), declared, policy, advisories }.judge(limits)
}

/// Judges what an analysis of Python and ELF files found. Files that could not be read are hits, too.
pub fn scan(analysis: &Analysis) -> Scan {
    let mut judged = Judged::default();
    judge_analysis(&mut judged, analysis);
    let files = analysis.modules.len() + analysis.objects.len();
    Scan { files, is_complete: analysis.is_complete(), ..Scan::of(judged.into_hits()) }
}

/// A package with what it is judged by.
struct Package<'a> {
    files: Vec<SourceFile>,
    /// What in its folder is no file.
    found: Vec<Finding>,
    declared: Option<&'a Declared>,
    policy: &'a Policy,
    advisories: &'a Advisories,
}

impl Package<'_> {
    fn judge(mut self, limits: &Limits) -> Scan {
        sort(&mut self.files);
        let count = self.files.len();
        let judged = in_large_thread(|| self.judged(&Budget::new(limits)));
        let scan = judged.unwrap_or_else(|message| scan(&failed(&message)));
        Scan { files: count, ..scan }
    }

    fn judged(&self, budget: &Budget) -> Scan {
        let mut analysis = read_files(&self.files, budget);
        analysis.findings.extend_from_slice(&self.found);
        let mut judged = Judged::default();
        let mut manifest = String::new();
        for file in self.files.iter().take(budget.limits.files) {
            if !budget.has_time() {
                let message = "there was no time to look for texts in all files".to_owned();
                analysis.findings.push(Finding { kind: FindingKind::Time, path: String::new(), place: None, message });
                break;
            }
            // What cannot be read was told by the analysis.
            let Some(bytes) = read(file) else { continue };
            match file.path.as_str() {
                "plugin.yaml" => manifest = String::from_utf8_lossy(&bytes).into_owned(),
                "vendor.lock" => dependencies::judge(&mut judged, &bytes, self.advisories),
                _ => {}
            }
            if !bytes.starts_with(elf::MAGIC) {
                text::judge(&mut judged, &file.path, &bytes);
            } else if !file.path.starts_with("vendor/") {
                text::program(&mut judged, &file.path, &bytes);
            }
        }
        judge_analysis(&mut judged, &analysis);
        if let Some(declared) = self.declared {
            dependencies::judge_wishes(&mut judged, declared, &manifest);
            judged.extend(compared::hits(&analysis, declared, &manifest));
        }
        let paths: Vec<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        judged.extend(self.policy.hits(&analysis, &paths));
        Scan { is_complete: analysis.is_complete(), ..Scan::of(judged.into_hits()) }
    }
}

/// The bytes of a regular file, up to the most that is looked at.
fn read(file: &SourceFile) -> Option<Vec<u8>> {
    fs::symlink_metadata(&file.from).ok().filter(fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    File::open(&file.from).ok()?.take(TEXT_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

const UNREADABLE: Told = Told {
    rule: "unreadable",
    verdict: Verdict::Notes,
    vendor: Verdict::Clean,
    reason: "What cannot be read is not judged.",
    how: "Repair the file, or leave it out of the package.",
};

/// Code that is made so that a reader gives up hides something, or is no code.
const TOO_COSTLY: Told = Told {
    rule: "too-costly",
    verdict: Verdict::Suspicious,
    vendor: Verdict::Notes,
    reason: "The file costs more to read than what a person would write, so that not all of it was judged.",
    how: "Split the file, or put its data into a file of its own.",
};

fn judge_analysis(judged: &mut Judged, analysis: &Analysis) {
    for finding in &analysis.findings {
        let of_file = matches!(
            finding.kind,
            FindingKind::TooDeep | FindingKind::TooLarge | FindingKind::Folding | FindingKind::Results
        );
        let is_costly = of_file && !finding.path.is_empty();
        let told = if is_costly { &TOO_COSTLY } else { &UNREADABLE };
        judged.tell(told, &finding.path, finding.place, finding.message.clone());
    }
    for module in &analysis.modules {
        for rule in rules() {
            let found: Vec<Found> = rule.find(module);
            judged.add(rule, &module.path, found);
        }
    }
    for object in &analysis.objects {
        judged.extend(object::hits(object));
    }
}

/// What fuzzing runs: the first byte chooses what the rest is. Nothing panics, and a result is bounded and travels.
#[doc(hidden)]
pub fn fuzz_scan(bytes: &[u8]) {
    const PATHS: [&str; 8] =
        ["main.py", "vendor/a.py", "run.sh", "main.js", "notes.txt", "vendor.lock", "plugin.yaml", "advisory.json"];
    let Some((choice, rest)) = bytes.split_first() else { return };
    let path = PATHS[usize::from(*choice) % PATHS.len()];
    let judge = || {
        let budget = Budget::new(&Limits::default());
        let (mut analysis, mut judged, mut advisories) =
            (Analysis::default(), Judged::default(), Advisories::default());
        let _is_record = advisories.add(rest);
        match path {
            "main.py" | "vendor/a.py" => crate::python::read(&mut analysis, path, rest, &budget),
            "vendor.lock" => dependencies::judge(&mut judged, rest, &advisories),
            _ => {}
        }
        if let Ok(manifest) = plugbay_domain::Manifest::parse(rest) {
            dependencies::judge_wishes(&mut judged, &Declared::of(&manifest), &String::from_utf8_lossy(rest));
        }
        text::judge(&mut judged, path, rest);
        text::program(&mut judged, path, rest);
        judge_analysis(&mut judged, &analysis);
        let declared = Declared { runtime: Some(plugbay_domain::Runtime::Python), ..Declared::default() };
        judged.extend(compared::hits(&analysis, &declared, &String::from_utf8_lossy(rest)));
        drop(advisories.hits("a", &String::from_utf8_lossy(rest)));
        Scan::of(judged.into_hits())
    };
    let scan = in_large_thread(judge).unwrap_or_else(|message| panic!("{message}"));
    assert!(scan.hits.len() <= MAX_HITS, "hits are bounded");
    assert!(
        scan.hits.iter().all(|hit| hit.place.is_none_or(|place| place.line > 0 && place.column > 0)),
        "places begin at 1"
    );
    let travelled = serde_json::to_vec(&scan).ok().and_then(|text| serde_json::from_slice::<Scan>(&text).ok());
    assert!(travelled.as_ref() == Some(&scan), "a scan comes back out of JSON");
}
