//! Rules of a scan: what each looks for, and what it says. Read strictly, so that a slip in a file is found by a test.

mod files;
mod read;

use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use plugbay_domain::words;
use regex::Regex;
use sha2::{Digest as _, Sha256};

use crate::capability::Capability;
use crate::flow::{Flow, Origin, Sink};
use crate::model::{Call, Import, Module, Place, Use};
use crate::verdict::Verdict;
use files::FILES;

/// Raised when the code that judges changes, as the files of rules do not tell of that.
const REVISION: u32 = 1;

words! {
    /// What a rule reads.
    Language {
        /// Python, with what is known of it.
        Python = "python",
        /// Lines of shell scripts.
        Shell = "shell",
        /// Lines of JavaScript.
        JavaScript = "javascript",
        /// Lines of any text.
        Text = "text",
    }
}

/// A rule. It looks for one kind of thing, and everything else that it names must be there, too.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: String,
    /// The stage of an attack that it belongs to.
    pub(crate) stage: String,
    /// A second stage, for what is two at once.
    pub(crate) then: Option<String>,
    /// How much a hit matters in the package's own files.
    pub(crate) verdict: Verdict,
    /// How much it matters in `vendor/`; `clean`: there it is not looked for.
    pub(crate) vendor: Verdict,
    pub(crate) reason: String,
    pub(crate) how: String,
    pub(crate) language: Language,
    /// Whether a match must also look random.
    pub(crate) needs_entropy: bool,
    uses: Vec<Capability>,
    /// What is called.
    calls: Vec<String>,
    /// One of these stands in what it is called with, or in any text where no call is named. In lower case.
    texts: Vec<String>,
    /// The same as a pattern.
    patterns: Vec<Regex>,
    imports: Vec<String>,
    /// Where a value comes from.
    from: Vec<Origin>,
    /// Where it goes.
    to: Vec<Sink>,
    /// Capabilities of which the file uses one.
    with: Vec<Capability>,
    /// What the file also calls, or imports.
    with_calls: Vec<String>,
    /// Whether what is called is got by its name in a text.
    by_text: bool,
    /// Layers of encoded code in which it is found, at least.
    layer: u8,
    /// Other rules that find its `hit`, too.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests read it"))]
    pub(crate) also: Vec<String>,
    /// Code that it finds.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests run it"))]
    pub(crate) hit: String,
    /// Code like it that is harmless.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests run it"))]
    pub(crate) no_hit: String,
}

/// Something that a rule found.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) what: String,
}

impl Rule {
    /// What it finds in a file.
    pub(crate) fn find(&self, module: &Module) -> Vec<Found> {
        if self.language != Language::Python || !self.has_company(module) {
            return Vec::new();
        }
        let found = |place: Place, what: String| Found { place, what };
        let calls = || module.calls.iter().filter(|call| self.hits_call(call));
        let marks = || module.marks.iter().filter(|mark| self.hits_text(&mark.text, mark.layer));
        if !self.from.is_empty() {
            let flows = module.flows.iter().filter(|flow| self.hits_flow(flow));
            return flows.map(|flow| found(flow.to, told(flow))).collect();
        }
        if !self.calls.is_empty() {
            return calls().map(|call| found(call.place, self.told_call(call))).collect();
        }
        if !self.imports.is_empty() {
            let imports =
                module.imports.iter().filter(|import| self.imports.iter().any(|name| is_import(import, name)));
            let imports = imports.map(|import| found(import.place, import.whole()));
            let by_text = module.calls.iter().filter_map(|call| Some((call.place, imported(call)?)));
            let by_text = by_text.filter(|(_, module)| self.imports.iter().any(|name| is_below(module, name)));
            return imports.chain(by_text.map(|(place, module)| found(place, module.to_owned()))).collect();
        }
        if !self.texts.is_empty() || !self.patterns.is_empty() {
            return marks().map(|mark| found(mark.place, mark.text.clone())).collect();
        }
        let uses = module.uses.iter().filter(|used| self.hits_use(used));
        uses.map(|used| found(used.place, used.what.clone())).collect()
    }

    /// Whether it looks for texts alone, and so also in lines of this language.
    pub(crate) fn is_for_lines(&self, language: Language) -> bool {
        let is_plain = self.from.is_empty()
            && self.calls.is_empty()
            && self.imports.is_empty()
            && self.with.is_empty()
            && self.with_calls.is_empty()
            && self.uses.is_empty()
            && self.layer == 0;
        self.language == language || (self.language == Language::Python && is_plain && language != Language::Text)
    }

    /// Where a text has what it looks for.
    pub(crate) fn find_text(&self, text: &str) -> Option<usize> {
        let lower = text.to_ascii_lowercase();
        let of_texts = self.texts.iter().find_map(|part| lower.find(part));
        of_texts.or_else(|| self.patterns.iter().find_map(|pattern| Some(pattern.find(text)?.start())))
    }

    /// The part of a text that a pattern matches.
    pub(crate) fn match_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.patterns.iter().find_map(|pattern| Some(pattern.find(text)?.as_str()))
    }

    /// Whether the file has what must be beside a hit.
    fn has_company(&self, module: &Module) -> bool {
        let has_capability = || module.uses.iter().any(|used| self.with.contains(&used.capability));
        let has_call = || {
            self.with_calls.iter().any(|name| {
                module.calls.iter().any(|call| is_below(&call.callee, name))
                    || module.imports.iter().any(|import| is_import(import, name))
                    || module.calls.iter().filter_map(imported).any(|module| is_below(module, name))
            })
        };
        (self.with.is_empty() || has_capability()) && (self.with_calls.is_empty() || has_call())
    }

    fn hits_call(&self, call: &Call) -> bool {
        let has_text = || call.texts.iter().any(|text| self.has_text(text));
        call.layer >= self.layer
            && (!self.by_text || call.by_text)
            && self.calls.iter().any(|name| is_below(&call.callee, name))
            && ((self.texts.is_empty() && self.patterns.is_empty()) || has_text())
    }

    /// A call in words, with the text that matters.
    fn told_call(&self, call: &Call) -> String {
        const SHOWN: usize = 160;
        let name = call.callee.strip_prefix("builtins.").unwrap_or(&call.callee);
        let has_texts = !self.texts.is_empty() || !self.patterns.is_empty();
        match call.texts.iter().find(|text| has_texts && self.has_text(text)) {
            Some(text) => format!("{name}({})", text.chars().take(SHOWN).collect::<String>()),
            None => name.to_owned(),
        }
    }

    fn hits_text(&self, text: &str, layer: u8) -> bool {
        layer >= self.layer && self.has_text(text)
    }

    pub(crate) fn has_text(&self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        self.texts.iter().any(|part| lower.contains(part)) || self.patterns.iter().any(|pattern| pattern.is_match(text))
    }

    fn hits_use(&self, used: &Use) -> bool {
        used.layer >= self.layer && self.uses.contains(&used.capability)
    }

    fn hits_flow(&self, flow: &Flow) -> bool {
        self.from.contains(&flow.origin) && self.to.contains(&flow.sink)
    }

    /// Stages of a hit that counts: what is only a note is no part of an attack.
    pub(crate) fn stages(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.stage.as_str()).chain(self.then.as_deref())
    }
}

/// A flow in words.
fn told(flow: &Flow) -> String {
    let through = flow.through.as_ref().map(|name| format!(" through `{name}`")).unwrap_or_default();
    format!("`{}` (line {}) reaches `{}`{through}", flow.source, flow.from.line, flow.target)
}

/// Whether a dotted name is this one, or below it.
fn is_below(name: &str, known: &str) -> bool {
    name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '(']))
}

/// The module that a call such as `__import__("os")` gives.
fn imported(call: &Call) -> Option<&str> {
    let imports = ["builtins.__import__", "importlib.import_module", "importlib.__import__"];
    imports.contains(&call.callee.as_str()).then(|| call.texts.first().map(String::as_str)).flatten()
}

fn is_import(import: &Import, known: &str) -> bool {
    import.level == 0 && (is_below(&import.module, known) || is_below(&import.whole(), known))
}

/// All rules.
pub(crate) fn rules() -> &'static [Rule] {
    static KNOWN: OnceLock<Vec<Rule>> = OnceLock::new();
    KNOWN.get_or_init(|| FILES.iter().filter_map(|text| read::parse(text).ok()).collect())
}

/// What the rules are, so that a stored result knows whether they have changed since.
pub(crate) fn digest() -> String {
    static KNOWN: OnceLock<String> = OnceLock::new();
    let made = || {
        let mut hash = Sha256::new();
        hash.update(REVISION.to_le_bytes());
        hash.update(env!("CARGO_PKG_VERSION"));
        for file in FILES.iter().copied().chain(crate::data()) {
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(file);
        }
        HEXLOWER.encode(&hash.finalize()[..16])
    };
    KNOWN.get_or_init(made).clone()
}

/// Everything that a rule looks for in texts, as one pattern.
fn any() -> Option<&'static Regex> {
    static KNOWN: OnceLock<Option<Regex>> = OnceLock::new();
    let made = || {
        let of_texts = rules()
            .iter()
            .filter(|rule| rule.language == Language::Python && rule.calls.is_empty() && rule.from.is_empty());
        let parts: Vec<String> = of_texts
            .flat_map(|rule| {
                let texts = rule.texts.iter().map(|text| format!("(?i:{})", regex::escape(text)));
                texts.chain(rule.patterns.iter().map(|pattern| format!("(?:{})", pattern.as_str())))
            })
            .collect();
        Regex::new(&parts.join("|")).ok()
    };
    KNOWN.get_or_init(made).as_ref()
}

/// Characters around what is looked for that are kept.
const AROUND: usize = 80;

/// Excerpts of one text.
const MAX_EXCERPTS: usize = 8;

/// Parts of a text that hold something that a rule looks for.
pub(crate) fn excerpts(text: &str) -> Vec<&str> {
    let Some(any) = any() else { return Vec::new() };
    let (mut found, mut end) = (Vec::new(), 0);
    for part in any.find_iter(text) {
        // What lies in the last excerpt is in it already.
        if part.end() <= end {
            continue;
        }
        let before = (0..=part.start().saturating_sub(AROUND)).rev().find(|at| text.is_char_boundary(*at));
        let after = (part.end() + AROUND).min(text.len());
        end = (after..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        found.extend(text.get(before.unwrap_or_default()..end));
        if found.len() == MAX_EXCERPTS {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_a_rule_and_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/rules");
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let rule = read::parse(&std::fs::read_to_string(&path).unwrap());
            let rule = rule.unwrap_or_else(|mistakes| panic!("{}: {mistakes:?}", path.display()));
            assert_eq!(path.file_stem().unwrap().to_str(), Some(rule.id.as_str()));
            names.insert(rule.id);
        }
        assert_eq!(names, rules().iter().map(|rule| rule.id.clone()).collect());
        assert!(read::parse("id: x\nverdit: notes\n").is_err());
        assert!(any().is_some());
    }

    #[test]
    fn malicious_needs_two_stages() {
        for rule in rules() {
            let is_two = rule.stages().collect::<BTreeSet<_>>().len() == 2;
            assert_eq!(rule.verdict == Verdict::Malicious, is_two, "{}", rule.id);
            assert!(rule.vendor <= rule.verdict, "{}", rule.id);
        }
    }
}
