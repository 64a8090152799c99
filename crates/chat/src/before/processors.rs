//! Processors of the messages of a request. Neighbours that decide see the same text, and their spans are merged.

use std::sync::Arc;
use std::time::Duration;

use plugbay_dialects::ChatMessage;
use plugbay_domain::Effect;
use serde_json::{Value, json};

use crate::ask::{self, Answered};
use crate::course::{Course, Stopped};
use crate::hooks::{blocked, groups};
use crate::member::{Member, Stage};
use crate::message::{self, Kept};
use crate::observers;
use crate::record::{Outcome, Step};
use crate::said::{self, Said, Span};
use crate::trouble::Trouble;

/// Shows processors the messages; those that are not in `known`, where there is such a list.
pub(super) async fn run(course: &mut Course, known: Option<&[String]>) -> Result<(), Stopped> {
    let all = course.members(Stage::Request);
    for group in groups(&all) {
        let is_guard = group.iter().any(|member| member.is_guard());
        let is_new = |kept: &Kept| known.is_none_or(|known| !known.contains(&kept.id));
        let kept = course.messages.iter().enumerate();
        let wanted = kept.filter(|(_, kept)| is_new(kept) && message::is_for_processor(kept, is_guard));
        let indices: Vec<usize> = wanted.map(|(index, _)| index).collect();
        for batch in batches(course, &indices)? {
            ask_about(course, group, &batch).await?;
        }
    }
    Ok(())
}

/// As many messages at a time as fit into one message to a plugin.
fn batches(course: &Course, indices: &[usize]) -> Result<Vec<Vec<usize>>, Stopped> {
    let most = course.state.most_bytes();
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for index in indices {
        let own = weight(&course.messages[*index].message);
        if own > most {
            return Err(Stopped::TooLarge { bytes: own, most });
        }
        match found.last_mut() {
            // Each stands in the list and in the context.
            Some(batch) if (bytes + own) * 2 <= most => batch.push(*index),
            _ => {
                found.push(vec![*index]);
                bytes = 0;
            }
        }
        bytes += own;
    }
    Ok(found)
}

/// Bytes of what is said, as JSON at its worst for ordinary texts.
fn weight(message: &ChatMessage) -> usize {
    let texts: usize = message.content.texts().map(json_bytes).sum();
    texts + message.tool_calls.iter().map(|call| json_bytes(&call.arguments)).sum::<usize>() + 512
}

fn json_bytes(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t')).count();
    let control = text.bytes().filter(|byte| *byte < 0x20 && !matches!(byte, b'\n' | b'\r' | b'\t')).count();
    text.len() + escaped + control * 5
}

async fn ask_about(course: &mut Course, group: &[Arc<Member>], indices: &[usize]) -> Result<(), Stopped> {
    let at = course.at.to_string();
    let shown: Vec<Value> = indices.iter().map(|index| course.messages[*index].shown(&at, &mut course.parts)).collect();
    let params = json!({ "messages": shown, "context": context_for(course, &shown, indices) });
    if group[0].effect == Effect::Observe {
        for member in group {
            observers::observe(course, Arc::clone(member), params.clone());
        }
        return Ok(());
    }
    let mut spans: Vec<Vec<Span>> = vec![Vec::new(); indices.len()];
    for Answered { member, answer, took } in ask::ask(course, group, &params).await {
        let said = answer.and_then(|answer| said::read_all(answer, &shown, member.effect).map_err(Trouble::answer));
        let said = match said {
            Ok(said) => said,
            Err(trouble) => {
                ask::fail(course, &member, took, trouble)?;
                continue;
            }
        };
        if let Some(reason) = said.iter().find_map(|said| match said {
            Said::Blocked(reason) => Some(reason.clone()),
            _ => None,
        }) {
            return Err(blocked(course, &member, took, reason));
        }
        if member.effect == Effect::Decide {
            collect_spans(course, &member, took, said, &mut spans);
        } else {
            transform(course, &member, took, said, indices)?;
        }
    }
    mask_all(course, group, &spans, indices)
}

fn context_for(course: &mut Course, shown: &[Value], indices: &[usize]) -> Value {
    let most = course.state.most_bytes();
    let all: usize = course.messages.iter().map(|kept| weight(&kept.message)).sum();
    let own: usize = indices.iter().map(|index| weight(&course.messages[*index].message)).sum();
    let messages: Vec<Value> = if all + own <= most {
        let at = course.at.to_string();
        course.messages.iter().map(|kept| kept.shown(&at, &mut course.parts)).collect()
    } else if own * 2 <= most {
        shown.to_vec()
    } else {
        Vec::new()
    };
    message::context(&course.request, &messages, &course.metadata)
}

/// Spans of members that decide are put to work together: they have seen the same text.
fn collect_spans(course: &mut Course, member: &Member, took: Duration, said: Vec<Said>, spans: &mut [Vec<Span>]) {
    let mut outcome = Outcome::Unchanged;
    for (said, spans) in said.into_iter().zip(spans) {
        if let Said::Masked(more) = said {
            outcome = Outcome::Masked;
            spans.extend(more);
        }
    }
    course.steps.push(Step::of(member, outcome, took));
}

fn mask_all(course: &mut Course, group: &[Arc<Member>], spans: &[Vec<Span>], indices: &[usize]) -> Result<(), Stopped> {
    for (index, spans) in indices.iter().zip(spans).filter(|(_, spans)| !spans.is_empty()) {
        let mut kept = course.messages[*index].clone();
        match kept.put(Said::Masked(spans.clone()), &course.parts) {
            Ok(_) => course.messages[*index] = kept,
            // One of them has named characters that are not there. Which one does not matter: nothing was masked.
            Err(text) => {
                let member = Arc::clone(group.last().unwrap_or(&group[0]));
                ask::fail(course, &member, Duration::ZERO, Trouble::answer(text))?;
            }
        }
    }
    Ok(())
}

fn transform(
    course: &mut Course,
    member: &Member,
    took: Duration,
    said: Vec<Said>,
    indices: &[usize],
) -> Result<(), Stopped> {
    let mut parts = Vec::new();
    let mut next = Vec::new();
    for (index, said) in indices.iter().zip(said) {
        let mut kept = course.messages[*index].clone();
        match kept.put(said, &course.parts) {
            Ok(true) => {
                parts.push(format!("messages/{index}"));
                next.push((*index, kept));
            }
            Ok(false) => {}
            // All or nothing: half of what a member meant is not what it meant.
            Err(text) => return ask::fail(course, member, took, Trouble::answer(text)),
        }
    }
    for (index, kept) in next {
        course.messages[index] = kept;
    }
    let outcome = if parts.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
    course.steps.push(Step::of(member, outcome, took).parts(parts));
    Ok(())
}
