//! The way of an answer to its caller: processors, hooks, middleware in reverse order.

use std::sync::Arc;
use std::time::Duration;

use plugbay_dialects::{Answer, ChatMessage, Choice, Content, Finish, Role};
use plugbay_domain::{ContentKind, Effect, Sees};
use serde_json::{Map, Value, json};

use crate::ask::{self, Answered};
use crate::course::{Course, Stopped};
use crate::flow;
use crate::hooks::{self, blocked, groups};
use crate::member::{Member, Stage};
use crate::message::{self, Kept};
use crate::observers;
use crate::record::{Outcome, Step};
use crate::said::{self, Said, Span, kind_of};
use crate::trouble::Trouble;

/// Whether nothing of an answer may be shown before its end.
pub(crate) fn needs_whole(course: &Course) -> bool {
    let intervenes = |stage: Stage| course.roster.plan.at(stage).iter().any(|member| member.effect != Effect::Observe);
    let waits = of_whole(course.roster.plan.at(Stage::Response)).any(|member| member.effect != Effect::Observe);
    waits || intervenes(Stage::AfterMessage) || {
        let middleware = course.roster.plan.at(Stage::ProcessResponse);
        middleware.iter().any(|member| member.sees == Sees::Complete && member.effect != Effect::Observe)
    }
}

/// Processors that see answers as a whole.
fn of_whole(processors: &[Arc<Member>]) -> impl Iterator<Item = &Arc<Member>> {
    let is_streamed = |member: &Arc<Member>| flow::streamed(processors).any(|streamed| Arc::ptr_eq(streamed, member));
    processors.iter().filter(move |member| !is_streamed(member))
}

/// Whether a copy of the answer is needed at its end.
pub(crate) fn needs_copy(course: &Course) -> bool {
    course.conversation.is_some()
        || of_whole(course.roster.plan.at(Stage::Response)).next().is_some()
        || [Stage::AfterMessage, Stage::ProcessResponse]
            .into_iter()
            .any(|stage| !course.roster.plan.at(stage).is_empty())
}

/// Everything after a backend has answered. What was sent already cannot be changed any more.
pub(crate) async fn run(course: &mut Course, answer: &mut Answer, was_sent: bool) -> Result<(), Stopped> {
    course.answered();
    processors(course, answer).await?;
    for index in 0..answer.choices.len() {
        let mut kept = kept_of(&answer.choices[index], index);
        hooks::about(course, Stage::AfterMessage, &mut kept).await?;
        if !was_sent {
            put_back(&mut answer.choices[index], kept.message);
        }
    }
    middleware(course, answer, was_sent).await
}

// --- Pieces ----------------------------------------------------------------------------------------------------------

/// One text of an answer.
#[derive(Clone, Copy, Debug)]
struct Piece {
    choice: usize,
    kind: ContentKind,
    /// Which call of a tool.
    tool: usize,
}

fn pieces(answer: &Answer) -> Vec<Piece> {
    let mut found = Vec::new();
    for (index, choice) in answer.choices.iter().enumerate() {
        let mut add = |kind, is_there: bool, tool| {
            if is_there {
                found.push(Piece { choice: index, kind, tool });
            }
        };
        add(ContentKind::Reasoning, choice.reasoning.is_some(), 0);
        add(ContentKind::Content, choice.text.is_some() || !choice.tool_calls.is_empty(), 0);
        add(ContentKind::Refusal, choice.refusal.is_some(), 0);
        for tool in 0..choice.tool_calls.len() {
            add(ContentKind::Tool, true, tool);
        }
    }
    found
}

impl Piece {
    fn text(self, answer: &Answer) -> &str {
        let choice = &answer.choices[self.choice];
        match self.kind {
            ContentKind::Content => choice.text.as_deref().unwrap_or_default(),
            ContentKind::Reasoning => choice.reasoning.as_deref().unwrap_or_default(),
            ContentKind::Refusal => choice.refusal.as_deref().unwrap_or_default(),
            ContentKind::Tool => &choice.tool_calls[self.tool].arguments,
        }
    }

    fn set(self, answer: &mut Answer, text: String) {
        let choice = &mut answer.choices[self.choice];
        match self.kind {
            ContentKind::Content => {
                // It tells of words that are not said any more.
                choice.logprobs = choice.logprobs.take().filter(|_| choice.text.as_ref() == Some(&text));
                choice.text = Some(text);
            }
            ContentKind::Reasoning => choice.reasoning = Some(text),
            ContentKind::Refusal => choice.refusal = Some(text),
            ContentKind::Tool => choice.tool_calls[self.tool].arguments = text,
        }
    }

    fn shown(self, answer: &Answer, at: &str, number: usize) -> Value {
        let choice = &answer.choices[self.choice];
        let mut metadata = json!({ "choice": choice.index, "kind": self.kind });
        let mut shown = json!({
            "id": format!("r{number}"), "role": "assistant", "content": self.text(answer), "timestamp": at,
        });
        if self.kind == ContentKind::Tool {
            let call = &choice.tool_calls[self.tool];
            metadata["tool"] = json!({ "id": call.id, "name": call.name });
        }
        if self.kind == ContentKind::Content && !choice.tool_calls.is_empty() {
            shown["tool_calls"] = choice.tool_calls.iter().map(message::shown_call).collect();
        }
        shown["metadata"] = metadata;
        shown
    }

    fn name(self) -> String {
        format!("choices/{}/{}", self.choice, self.kind)
    }
}

// --- Processors ------------------------------------------------------------------------------------------------------

async fn processors(course: &mut Course, answer: &mut Answer) -> Result<(), Stopped> {
    let all = course.members(Stage::Response);
    // The others have seen it while it came.
    let all: Vec<Arc<Member>> = of_whole(&all).cloned().collect();
    for group in groups(&all).flat_map(|group| group.chunk_by(|left, right| left.not == right.not)) {
        let member = &group[0];
        let shown_to: Vec<Piece> = pieces(answer).into_iter().filter(|piece| member.is_shown(piece.kind)).collect();
        if shown_to.is_empty() {
            continue;
        }
        let at = course.at.to_string();
        let shown: Vec<Value> =
            shown_to.iter().enumerate().map(|(number, piece)| piece.shown(answer, &at, number)).collect();
        let history: Vec<Value> = course.messages.iter().map(|kept| kept.shown(&at, &mut course.parts)).collect();
        let params =
            json!({ "messages": shown, "context": message::context(&course.request, &history, &course.metadata) });
        if member.effect == Effect::Observe {
            for member in group {
                observers::observe(course, Arc::clone(member), params.clone());
            }
            continue;
        }
        let mut spans: Vec<Vec<Span>> = vec![Vec::new(); shown.len()];
        for Answered { member, answer: said, took } in ask::ask(course, group, &params).await {
            let said = said.and_then(|said| said::read_all(said, &shown, member.effect).map_err(Trouble::answer));
            match said {
                Err(trouble) => ask::fail(course, &member, took, trouble)?,
                Ok(said) => apply(course, (&member, took), said, &shown_to, (answer, &mut spans))?,
            }
        }
        for (piece, spans) in shown_to.iter().zip(&spans).filter(|(_, spans)| !spans.is_empty()) {
            match said::mask(piece.text(answer), spans) {
                Ok(masked) => piece.set(answer, masked),
                Err(text) => {
                    let member = Arc::clone(&group[0]);
                    ask::fail(course, &member, Duration::ZERO, Trouble::answer(text))?;
                }
            }
        }
    }
    Ok(())
}

fn apply(
    course: &mut Course,
    (member, took): (&Member, Duration),
    said: Vec<Said>,
    shown_to: &[Piece],
    (answer, spans): (&mut Answer, &mut [Vec<Span>]),
) -> Result<(), Stopped> {
    let mut next = answer.clone();
    let (mut parts, mut outcome) = (Vec::new(), Outcome::Unchanged);
    for ((said, piece), spans) in said.into_iter().zip(shown_to).zip(spans) {
        match said {
            Said::Unchanged => continue,
            Said::Blocked(reason) => return Err(blocked(course, member, took, reason)),
            Said::Masked(more) if member.effect == Effect::Decide => spans.extend(more),
            Said::Masked(more) => match said::mask(piece.text(&next), &more) {
                Ok(masked) => piece.set(&mut next, masked),
                Err(text) => return ask::fail(course, member, took, Trouble::answer(text)),
            },
            Said::Changed(members) => {
                if let Err(text) = change(&mut next, *piece, members) {
                    return ask::fail(course, member, took, Trouble::answer(text));
                }
                outcome = Outcome::Changed;
            }
        }
        if outcome == Outcome::Unchanged {
            outcome = Outcome::Masked;
        }
        parts.push(piece.name());
    }
    *answer = next;
    course.steps.push(Step::of(member, outcome, took).parts(parts));
    Ok(())
}

fn change(answer: &mut Answer, piece: Piece, members: Map<String, Value>) -> Result<(), String> {
    for (name, value) in members {
        match (name.as_str(), value) {
            ("content", Value::String(text)) => piece.set(answer, text),
            ("content", other) => return Err(format!("`content` of an answer is a text, not {}", kind_of(&other))),
            ("tool_calls", value) if piece.kind == ContentKind::Content => {
                let (message, _) = message::made_by_plugin(json!({ "tool_calls": value }), &message::Parts::default())?;
                answer.choices[piece.choice].tool_calls = message.tool_calls;
            }
            _ => {}
        }
    }
    Ok(())
}

// --- Middleware ------------------------------------------------------------------------------------------------------

async fn middleware(course: &mut Course, answer: &mut Answer, was_sent: bool) -> Result<(), Stopped> {
    let all = course.members(Stage::ProcessResponse);
    for member in &all {
        if course.lacks_method(member) {
            continue;
        }
        for index in 0..answer.choices.len() {
            let response = response_of(course, answer, index);
            let params = json!({ "response": response });
            if member.effect == Effect::Observe {
                observers::observe(course, Arc::clone(member), params);
                continue;
            }
            let asked = ask::ask(course, std::slice::from_ref(member), &params).await.pop();
            let Some(Answered { answer: said, took, .. }) = asked else { continue };
            let may_change = member.sees == Sees::Complete && !was_sent;
            let read = said.and_then(|said| read_response(said, &response, member.effect).map_err(Trouble::answer));
            match read {
                Ok(Said::Blocked(reason)) => return Err(blocked(course, member, took, reason)),
                Ok(Said::Changed(members)) if may_change => {
                    let mut kept = kept_of(&answer.choices[index], index);
                    match kept.put(Said::Changed(members), &course.parts) {
                        Ok(_) => {
                            put_back(&mut answer.choices[index], kept.message);
                            let parts = vec![format!("choices/{index}/content")];
                            course.steps.push(Step::of(member, Outcome::Changed, took).parts(parts));
                        }
                        Err(text) => ask::fail(course, member, took, Trouble::answer(text))?,
                    }
                }
                Ok(Said::Unchanged | Said::Changed(_) | Said::Masked(_)) => {
                    course.steps.push(Step::of(member, Outcome::Unchanged, took));
                }
                Err(trouble) => ask::fail(course, member, took, trouble)?,
            }
        }
    }
    Ok(())
}

/// The response as middleware sees it.
fn response_of(course: &mut Course, answer: &Answer, index: usize) -> Value {
    let choice = &answer.choices[index];
    let at = course.at.to_string();
    let usage =
        answer.usage.map(|usage| json!({ "prompt_tokens": usage.prompt, "completion_tokens": usage.completion }));
    json!({
        "id": course.id, "model": answer.model, "backend": course.backend,
        "message": kept_of(choice, index).shown(&at, &mut course.parts), "usage": usage,
        "finish_reason": choice.finish.as_ref().map(Finish::as_str), "status": 200,
        "took_ms": u64::try_from(course.began.elapsed().as_millis()).unwrap_or(u64::MAX), "metadata": course.metadata,
    })
}

fn read_response(answer: Value, shown: &Value, effect: Effect) -> Result<Said, String> {
    let mut object = match answer {
        Value::Null => return Ok(Said::Unchanged),
        Value::Object(object) => object,
        other => return Err(format!("expected the response, found {}", kind_of(&other))),
    };
    if object.contains_key("action") {
        return said::read(Value::Object(object), &shown["message"], Effect::Decide);
    }
    match object.remove("message") {
        Some(message) => said::read(message, &shown["message"], effect),
        None => Ok(Said::Unchanged),
    }
}

fn kept_of(choice: &Choice, index: usize) -> Kept {
    let message = ChatMessage {
        role: Role::Assistant,
        content: choice.text.clone().map_or(Content::None, Content::Text),
        name: None,
        tool_calls: choice.tool_calls.clone(),
        tool_call_id: None,
        extra: Map::new(),
    };
    Kept { id: format!("r{index}"), message, metadata: Map::new(), is_past: false }
}

fn put_back(choice: &mut Choice, message: ChatMessage) {
    choice.text = match message.content {
        Content::None => None,
        Content::Text(text) => Some(text),
        content @ Content::Parts(_) => Some(content.texts().collect()),
    };
    choice.tool_calls = message.tool_calls;
}
