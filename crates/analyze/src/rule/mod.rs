//! One rule: what it looks for, and what it says. Read strictly, so that a slip in a file is found by a test.

use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use plugbay_domain::yaml::{self, Fields, Limits, Mistakes, Place};
use sha2::{Digest as _, Sha256};

use crate::capability::Capability;
use crate::model::{Call, Use};
use crate::value::Constant;
use crate::verdict::Verdict;

/// Every file of `data/rules/`. A test compares the list with the folder.
const FILES: [&str; 6] = [
    include_str!("../../data/rules/credentials.yaml"),
    include_str!("../../data/rules/decoded-code.yaml"),
    include_str!("../../data/rules/drop-host.yaml"),
    include_str!("../../data/rules/memory-program.yaml"),
    include_str!("../../data/rules/metadata-service.yaml"),
    include_str!("../../data/rules/shell-download.yaml"),
];

/// Bytes of one rule.
const MAX_BYTES: usize = 16 * 1024;

const KEYS: [&str; 10] = ["id", "stage", "verdict", "reason", "how", "uses", "calls", "texts", "layer", "hit"];

/// A rule. What it names must all be there: one of `calls` with one of `texts`, or one of `uses`.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    /// The stage of an attack that it belongs to.
    pub(crate) stage: String,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    pub(crate) how: String,
    uses: Vec<Capability>,
    calls: Vec<String>,
    texts: Vec<String>,
    /// Layers of encoded code in which it is found, at least.
    layer: u8,
    /// Code that it finds.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests run it"))]
    pub(crate) hit: String,
    /// Code like it that is harmless.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests run it"))]
    pub(crate) no_hit: String,
}

impl Rule {
    pub(crate) fn is_about_calls(&self) -> bool {
        !self.calls.is_empty() || !self.texts.is_empty()
    }

    pub(crate) fn hits_call(&self, call: &Call) -> bool {
        let is_below = |name: &String| {
            call.callee.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '(']))
        };
        let has_text = || {
            let given = call.arguments.iter().chain(call.keywords.values()).flatten();
            given.clone().any(|constant| self.texts.iter().any(|text| holds(constant, text)))
        };
        call.layer >= self.layer
            && (self.calls.is_empty() || self.calls.iter().any(is_below))
            && (self.texts.is_empty() || has_text())
    }

    pub(crate) fn hits_use(&self, used: &Use) -> bool {
        used.layer >= self.layer && self.uses.contains(&used.capability)
    }
}

/// Whether a text stands somewhere in a constant.
fn holds(constant: &Constant, text: &str) -> bool {
    match constant {
        Constant::Text(found) => found.contains(text),
        Constant::List(items) => items.iter().any(|item| holds(item, text)),
        Constant::Map(entries) => entries.iter().any(|(_, value)| holds(value, text)),
        _ => false,
    }
}

/// What the rules are, so that a stored result knows whether they have changed since.
pub(crate) fn digest() -> String {
    static KNOWN: OnceLock<String> = OnceLock::new();
    let made = || {
        let mut hash = Sha256::new();
        hash.update(env!("CARGO_PKG_VERSION"));
        for file in FILES {
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(file);
        }
        HEXLOWER.encode(&hash.finalize()[..16])
    };
    KNOWN.get_or_init(made).clone()
}

/// All rules.
pub(crate) fn rules() -> &'static [Rule] {
    static KNOWN: OnceLock<Vec<Rule>> = OnceLock::new();
    KNOWN.get_or_init(|| FILES.iter().filter_map(|text| parse(text).ok()).collect())
}

/// Reads a rule, or tells its mistakes.
fn parse(text: &str) -> Result<Rule, Vec<String>> {
    let node = yaml::read(text.as_bytes(), Limits::bytes(MAX_BYTES)).map_err(|error| vec![error.to_string()])?;
    let mistakes = Mistakes::default();
    let root = Place::root(&node, &mistakes);
    let rule = root.fields(KEYS.into_iter().chain(["no_hit"])).and_then(|fields| read(&fields));
    let found: Vec<String> = mistakes.into_sorted().iter().map(|mistake| mistake.error.to_string()).collect();
    rule.filter(|_| found.is_empty()).ok_or(found)
}

fn read(fields: &Fields<'_>) -> Option<Rule> {
    let text = |key: &str| fields.required(key).and_then(|place| Some(place.text()?.to_owned()));
    let list =
        |key: &str| fields.list(key).iter().filter_map(|place| Some(place.text()?.to_owned())).collect::<Vec<_>>();
    let verdict = match fields.required("verdict")?.one_of(&["notes", "suspicious"])? {
        "notes" => Verdict::Notes,
        _ => Verdict::Suspicious,
    };
    let words = Capability::ALL.map(Capability::as_str);
    let uses = fields.list("uses").iter().filter_map(|place| place.one_of(&words)).collect::<Vec<_>>();
    let uses = Capability::ALL.into_iter().filter(|known| uses.contains(&known.as_str())).collect();
    let layer = fields.get("layer").and_then(|place| place.whole(0..=4)).unwrap_or_default();
    Some(Rule {
        id: text("id")?,
        stage: fields.required("stage")?.one_of(&["collect", "hide", "run", "send"])?.to_owned(),
        verdict,
        reason: text("reason")?,
        how: text("how")?,
        uses,
        calls: list("calls"),
        texts: list("texts"),
        layer: u8::try_from(layer).unwrap_or(u8::MAX),
        hit: text("hit")?,
        no_hit: text("no_hit")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_rule_and_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/rules");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let rule = parse(&std::fs::read_to_string(&path).unwrap());
            let rule = rule.unwrap_or_else(|mistakes| panic!("{}: {mistakes:?}", path.display()));
            assert_eq!(path.file_stem().unwrap().to_str(), Some(rule.id.as_str()));
            assert!(rule.is_about_calls() == rule.uses.is_empty(), "{}: it looks for calls, or for uses", rule.id);
            names.push(rule.id);
        }
        names.sort();
        assert_eq!(names, rules().iter().map(|rule| rule.id.clone()).collect::<Vec<_>>());
        assert!(parse("id: x\nverdit: notes\n").is_err());
    }
}
