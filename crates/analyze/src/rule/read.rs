//! Reads the file of one rule.

use plugbay_domain::Word as _;
use plugbay_domain::yaml::{self, Fields, Limits, Mistakes, Place};
use regex::Regex;

use super::{Language, Rule};
use crate::capability::Capability;
use crate::flow::{Origin, Sink};
use crate::verdict::Verdict;

/// Bytes of one rule.
const MAX_BYTES: usize = 16 * 1024;

const KEYS: [&str; 23] = [
    "id",
    "language",
    "entropy",
    "stage",
    "then",
    "verdict",
    "vendor",
    "reason",
    "how",
    "uses",
    "calls",
    "texts",
    "patterns",
    "imports",
    "from",
    "to",
    "with",
    "with_calls",
    "by_text",
    "layer",
    "also",
    "hit",
    "no_hit",
];

const STAGES: [&str; 7] = ["collect", "hide", "fetch", "run", "stay", "send", "destroy"];

/// Reads a rule, or tells its mistakes.
pub(super) fn parse(text: &str) -> Result<Rule, Vec<String>> {
    let node = yaml::read(text.as_bytes(), Limits::bytes(MAX_BYTES)).map_err(|error| vec![error.to_string()])?;
    let mistakes = Mistakes::default();
    let root = Place::root(&node, &mistakes);
    let rule = root.fields(KEYS).and_then(|fields| read(&fields));
    let found: Vec<String> = mistakes.into_sorted().iter().map(|mistake| mistake.error.to_string()).collect();
    rule.filter(|_| found.is_empty()).ok_or(found)
}

fn read(fields: &Fields<'_>) -> Option<Rule> {
    let text = |key: &str| fields.required(key).and_then(|place| Some(place.text()?.to_owned()));
    let list =
        |key: &str| fields.list(key).iter().filter_map(|place| Some(place.text()?.to_owned())).collect::<Vec<_>>();
    let verdict = |place: Place<'_>| {
        let found = place.one_of(&Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect::<Vec<_>>())?;
        Verdict::ALL.iter().copied().find(|verdict| verdict.as_str() == found)
    };
    let stage = |place: Place<'_>| place.one_of(&STAGES).map(str::to_owned);
    let capabilities = |key: &str| {
        let words = Capability::ALL.map(Capability::as_str);
        let found = fields.list(key).iter().filter_map(|place| place.one_of(&words)).collect::<Vec<_>>();
        Capability::ALL.into_iter().filter(|known| found.contains(&known.as_str())).collect::<Vec<_>>()
    };
    let patterns = fields.list("patterns").into_iter().filter_map(|place| {
        let pattern = Regex::new(place.text()?);
        pattern.map_err(|error| place.fail(error.to_string())).ok()
    });
    let layer = fields.get("layer").and_then(|place| place.whole(0..=4)).unwrap_or_default();
    Some(Rule {
        id: text("id")?,
        stage: stage(fields.required("stage")?)?,
        then: fields.get("then").and_then(stage),
        verdict: verdict(fields.required("verdict")?)?,
        vendor: fields.get("vendor").and_then(verdict).unwrap_or_default(),
        reason: text("reason")?,
        how: text("how")?,
        language: fields.get("language").and_then(|place| place.word()).unwrap_or(Language::Python),
        needs_entropy: fields.get("entropy").and_then(|place| place.boolean()).unwrap_or_default(),
        uses: capabilities("uses"),
        calls: list("calls"),
        texts: list("texts").iter().map(|text| text.to_ascii_lowercase()).collect(),
        patterns: patterns.collect(),
        imports: list("imports"),
        from: fields.list("from").iter().filter_map(Place::word::<Origin>).collect(),
        to: fields.list("to").iter().filter_map(Place::word::<Sink>).collect(),
        with: capabilities("with"),
        with_calls: list("with_calls"),
        by_text: fields.get("by_text").and_then(|place| place.boolean()).unwrap_or_default(),
        layer: u8::try_from(layer).unwrap_or(u8::MAX),
        also: list("also"),
        hit: text("hit")?,
        no_hit: text("no_hit")?,
    })
}
