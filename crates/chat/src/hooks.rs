//! Hooks that stand in the flow: they are asked about one message, and may change or refuse it.

use std::sync::Arc;
use std::time::Duration;

use plugbay_domain::Effect;
use serde_json::json;

use crate::ask::{self, Answered};
use crate::course::{Course, Stopped};
use crate::member::{Member, Stage};
use crate::message::Kept;
use crate::observers::{members, observe, told};
use crate::record::{Outcome, Step};
use crate::said::{self, Said};
use crate::trouble::Trouble;

/// Asks the hooks of a stage about one message, those that look beside the flow.
pub(crate) async fn about(course: &mut Course, stage: Stage, message: &mut Kept) -> Result<(), Stopped> {
    let hooks = course.members(stage);
    if hooks.is_empty() {
        return Ok(());
    }
    let at = course.at.to_string();
    for group in groups(&hooks) {
        let shown = message.shown(&at, &mut course.parts);
        let params = told(course, stage, members(json!({ "message": shown })));
        if group[0].effect == Effect::Observe {
            for member in group {
                observe(course, Arc::clone(member), params.clone());
            }
            continue;
        }
        for Answered { member, answer, took } in ask::ask(course, group, &params).await {
            let said = answer.and_then(|answer| said::read(answer, &shown, member.effect).map_err(Trouble::answer));
            apply(course, &member, took, said, message)?;
        }
    }
    Ok(())
}

fn apply(
    course: &mut Course,
    member: &Member,
    took: Duration,
    said: Result<Said, Trouble>,
    message: &mut Kept,
) -> Result<(), Stopped> {
    let said = match said {
        Ok(Said::Blocked(reason)) => return Err(blocked(course, member, took, reason)),
        Ok(said) => said,
        Err(trouble) => return ask::fail(course, member, took, trouble),
    };
    let outcome = if matches!(said, Said::Masked(_)) { Outcome::Masked } else { Outcome::Changed };
    match message.put(said, &course.parts) {
        Ok(changed) => {
            let outcome = if changed { outcome } else { Outcome::Unchanged };
            course.steps.push(Step::of(member, outcome, took));
            Ok(())
        }
        Err(text) => ask::fail(course, member, took, Trouble::answer(text)),
    }
}

/// Takes note of a refusal.
pub(crate) fn blocked(course: &mut Course, member: &Member, took: Duration, reason: String) -> Stopped {
    course.steps.push(Step::of(member, Outcome::Blocked, took).why("content-blocked", &reason));
    Stopped::Blocked { plugin: member.plugin.clone(), reason }
}

/// Neighbours that only decide, and neighbours that only look, are asked together; each of the others alone.
pub(crate) fn groups(members: &[Arc<Member>]) -> impl Iterator<Item = &[Arc<Member>]> {
    members.chunk_by(|left, right| left.effect == right.effect && left.effect != Effect::Transform)
}
