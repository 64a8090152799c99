//! `plugbay scan --installed`: what the service found in the code of a plugin.

use reqwest::Method;

use super::connection::{Connection, plugin_path};
use crate::analyze::{Hit, Place, Scan, Verdict};
use crate::cli::Context;
use crate::cli::author::{scan_text, settle_scan};
use crate::cli::failure::Failure;
use crate::domain::{VerdictPolicy, Word as _};
use crate::wire::{ScanFinding, ScanShown, VersionScanView};

/// Shows it, after the service has read the code again if that is wanted.
pub(in crate::cli) fn scan_installed(name: &str, again: bool, context: &Context) -> Result<(), Failure> {
    let connection = Connection::open(context)?;
    let path = plugin_path(name, "/scan");
    let asked = if again { Method::POST } else { Method::GET };
    let shown: ScanShown =
        connection.send(connection.request(asked, &path)).map_err(|failure: Failure| failure.about(name))?;
    let versions = std::iter::once(&shown.serving).chain(&shown.pending);
    let texts: Vec<_> = versions.clone().map(|version| version_text(&shown.name, version)).collect();
    context.output.result(&texts.join("\n\n"), &shown);
    let refused = versions.filter(|version| version.policy.as_deref() == Some(VerdictPolicy::Refuse.as_str()));
    settle_scan(refused.map(|version| verdict(version.verdict.as_deref())).max())
}

fn version_text(name: &str, version: &VersionScanView) -> String {
    let subject = format!("{name} {}", version.version);
    let Some(at) = &version.scanned_at else {
        return format!("{subject}: its code was not read yet; plugbay scan --installed {name} --again");
    };
    let scan = Scan {
        verdict: verdict(version.verdict.as_deref()),
        rules: version.rules.clone().unwrap_or_default(),
        files: version.files,
        is_complete: version.complete,
        hits: version.findings.iter().map(hit).collect(),
        left_out: version.left_out,
    };
    let again = if version.outdated {
        format!("\nRules have changed since: plugbay scan --installed {name} --again")
    } else {
        String::new()
    };
    format!("{}\nRead at {at}.{again}", scan_text(&subject, &scan))
}

fn hit(finding: &ScanFinding) -> Hit {
    let place = finding.line.map(|line| Place { line, column: finding.column.unwrap_or(1) });
    let ScanFinding { rule, path, what, reason, settle: how, .. } = finding.clone();
    Hit { rule, verdict: verdict(Some(&finding.severity)), path, place, what, reason, how }
}

/// A word that a newer service says is worth a look at least.
fn verdict(word: Option<&str>) -> Verdict {
    let Some(word) = word else { return Verdict::Clean };
    Verdict::ALL.iter().copied().find(|known| known.as_str() == word).unwrap_or(Verdict::Notes)
}
