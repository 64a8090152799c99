//! Reads `chat:`. A key that its kind does not have is a mistake: an author who writes it expects something of it.

use super::{ChatHalf, ChatKind, ChatRole, DEFAULT_HOLD, Effect, MAX_MEMBER_MS, Sees, Window};
use crate::Permission;
use crate::manifest::fields::{self, CHAT, WINDOW};
use crate::manifest::kind::{OnFailure, PluginType, Priority};
use crate::word::Word;
use crate::yaml::{Fields, Place};

/// Most characters that may be held back.
pub(crate) const MAX_HOLD: u64 = 4_096;

/// Most characters of a window.
pub(crate) const MAX_WINDOW: u64 = 100_000;

/// Characters of a window, unless said otherwise, and how many of them were in the one before.
const DEFAULT_WINDOW: Window = Window { characters: 800, overlap: 200 };

/// Keys that only some kinds have.
const OF_KINDS: &[(&str, &[ChatKind])] = &[
    ("of", &[ChatKind::MessageProcessor]),
    ("effect", &[ChatKind::MessageProcessor, ChatKind::Middleware]),
    ("sees", &[ChatKind::MessageProcessor, ChatKind::Middleware]),
    ("not", &[ChatKind::MessageProcessor, ChatKind::Middleware]),
    ("max_hold", &[ChatKind::MessageProcessor]),
    ("window", &[ChatKind::MessageProcessor]),
    ("models", &[ChatKind::BackendProvider]),
    ("priority", &[ChatKind::MessageProcessor, ChatKind::FeatureExtension, ChatKind::Middleware]),
    ("timeout_ms", &[ChatKind::MessageProcessor, ChatKind::FeatureExtension, ChatKind::Middleware]),
    ("on_failure", &[ChatKind::MessageProcessor, ChatKind::FeatureExtension, ChatKind::Middleware]),
];

/// The section, and what the plugin is for when only the section says so.
pub(in crate::manifest) fn read(root: &Fields<'_>, required: &[Permission]) -> Option<ChatRole> {
    let place = root.get("chat")?;
    let fields = place.fields(fields::names(CHAT))?;
    if !required.contains(&Permission::ChatAccess) {
        place.fail("`chat` needs the permission `chat_access`; list it in `permissions`");
    }
    let kind: ChatKind = fields.required("kind")?.word()?;
    let said: Option<(Place<'_>, PluginType)> = root.get("type").and_then(|place| Some((place.clone(), place.word()?)));
    if let Some((place, said)) = said.filter(|(_, said)| *said != kind.plugin_type()) {
        let meant = kind.plugin_type();
        place.fail(format!("`{said}` does not go with `chat.kind: {kind}`; write `{meant}`, or leave `type` out"));
    }
    for (key, kinds) in OF_KINDS {
        if fields.get(key).is_some() && !kinds.contains(&kind) {
            fields.place().fail_key(key, format!("`{key}` means nothing for `kind: {kind}`; remove it"));
        }
    }
    let role = read_role(&fields, kind);
    refuse_contradictions(&fields, &role);
    Some(role)
}

fn read_role(fields: &Fields<'_>, kind: ChatKind) -> ChatRole {
    let effect = fields.get("effect").and_then(|place| place.word()).unwrap_or(Effect::Transform);
    let blocks = effect == Effect::Decide;
    let of = match kind {
        ChatKind::MessageProcessor if fields.get("of").is_some() => words(fields, "of"),
        ChatKind::MessageProcessor => vec![ChatHalf::Request],
        ChatKind::BackendProvider | ChatKind::FeatureExtension | ChatKind::Middleware => Vec::new(),
    };
    let sees = fields.get("sees").and_then(|place| place.word());
    let sees = sees.unwrap_or(if kind == ChatKind::MessageProcessor { Sees::Complete } else { Sees::None });
    let window = fields.get("window").and_then(|place| read_window(&place));
    ChatRole {
        kind,
        of,
        effect,
        priority: fields.get("priority").and_then(|place| place.word()).unwrap_or(Priority::Normal),
        timeout_ms: fields.get("timeout_ms").and_then(|place| place.whole(1..=MAX_MEMBER_MS)),
        on_failure: fields.get("on_failure").and_then(|place| place.word()).unwrap_or(if blocks {
            OnFailure::Block
        } else {
            OnFailure::Ignore
        }),
        sees,
        not: words(fields, "not"),
        max_hold: fields.get("max_hold").and_then(|place| place.whole(0..=MAX_HOLD)).unwrap_or(DEFAULT_HOLD),
        window: window.or_else(|| (sees == Sees::Window).then_some(DEFAULT_WINDOW)),
        models: fields.list("models").iter().filter_map(Place::parse).collect(),
    }
}

fn refuse_contradictions(fields: &Fields<'_>, role: &ChatRole) {
    let of_responses = role.sees_answers();
    if let Some(place) = fields.get("of").filter(|_| role.kind == ChatKind::MessageProcessor && role.of.is_empty()) {
        place.fail("expected `request`, `response` or both");
    }
    if let Some(place) = fields.get("sees") {
        let is_processor = role.kind == ChatKind::MessageProcessor;
        if is_processor && role.sees == Sees::None {
            place.fail("a processor sees what it is `of`; expected `deltas`, `window` or `complete`");
        } else if !is_processor && !matches!(role.sees, Sees::Complete | Sees::None) {
            place.fail("middleware sees whole answers: expected `complete` or `none`");
        } else if !of_responses {
            place.fail("`sees` is about answers; add `response` to `of`");
        }
    }
    if let Some(place) = fields.get("not") {
        if !role.is_guard() {
            place.fail("`not` is for guards: those with `effect: decide` or `on_failure: block`");
        } else if !of_responses {
            place.fail("`not` is about answers; add `response` to `of`");
        }
    }
    if let Some(place) = fields.get("window").filter(|_| role.sees != Sees::Window) {
        place.fail("`window` goes with `sees: window`");
    }
    if let Some(place) = fields.get("max_hold").filter(|_| role.sees != Sees::Deltas) {
        place.fail("`max_hold` goes with `sees: deltas`");
    }
    if let Some(place) = fields.get("on_failure").filter(|_| role.effect == Effect::Observe && role.is_guard()) {
        place.fail("what only observes refuses nothing; expected `ignore`, or another `effect`");
    }
}

fn read_window(place: &Place<'_>) -> Option<Window> {
    let fields = place.fields(fields::names(WINDOW))?;
    let characters = fields.required("characters").and_then(|place| place.whole(1..=MAX_WINDOW))?;
    let overlap = match fields.get("overlap") {
        Some(place) => place.whole(0..=characters.saturating_sub(1))?,
        None => 0,
    };
    Some(Window { characters, overlap })
}

/// A list of words, each once.
fn words<T: Word + PartialEq + std::fmt::Display>(fields: &Fields<'_>, key: &str) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    for place in fields.list(key) {
        let Some(word) = place.word::<T>() else { continue };
        if found.contains(&word) {
            place.fail(format!("`{word}` stands in the list twice"));
        }
        found.push(word);
    }
    found
}
