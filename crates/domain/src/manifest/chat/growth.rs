//! What a newer `chat:` may do beyond an older one, in words for whoever decides.

use super::{ChatKind, ChatRole, Effect, Sees};
use crate::manifest::kind::OnFailure;

/// Everything that `role` has and `base` does not cover.
pub(in crate::manifest) fn beyond(role: Option<&ChatRole>, base: Option<&ChatRole>, found: &mut Vec<String>) {
    let Some(role) = role else { return };
    let Some(base) = base.filter(|base| base.kind == role.kind) else {
        found.push(format!("chat {}", role.kind));
        found.extend(whole(role));
        return;
    };
    let known = whole(base);
    found.extend(whole(role).into_iter().filter(|part| !known.contains(part)));
}

/// Everything that a section lets its plugin do.
fn whole(role: &ChatRole) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(role.of.iter().map(|half| format!("chat messages of the {half}")));
    match role.effect {
        Effect::Decide => found.push("chat that can refuse messages".to_owned()),
        Effect::Transform if role.kind != ChatKind::BackendProvider => {
            found.push("chat that changes and can refuse messages".to_owned());
        }
        Effect::Observe | Effect::Transform => {}
    }
    if role.on_failure == OnFailure::Block {
        found.push("chat that stops when it fails".to_owned());
    }
    if role.sees != Sees::None && role.sees_answers() {
        found.push(format!("chat sees {}", role.sees));
    }
    if role.priority != super::Priority::Normal {
        found.push(format!("chat priority {}", role.priority));
    }
    found.extend(role.timeout_ms.map(|time| format!("chat timeout_ms {time}")));
    found.extend(role.not.iter().map(|kind| format!("chat not {kind}")));
    if role.sees == Sees::Deltas {
        found.push(format!("chat max_hold {}", role.max_hold));
    }
    found.extend(role.window.map(|window| format!("chat window {} of {}", window.overlap, window.characters)));
    found.extend(role.models.iter().map(|model| format!("chat model {model}")));
    found
}
