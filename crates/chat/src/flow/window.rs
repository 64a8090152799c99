//! A filter that sees an answer in pieces that overlap, and lets each go once it has decided about it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use plugbay_dialects::Event;
use plugbay_domain::{ContentKind, OnFailure, Window};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fed::IDLE;
use super::joined::{Call, Joined, kind_of_text, text_event};
use super::{Filter, Note, Source, Taken, pull};
use crate::ask;
use crate::course::{Course, Stopped};
use crate::member::Member;
use crate::record::{Outcome, Step};
use crate::said::{self, Said, Span};
use crate::trouble::Trouble;

/// Texts of one answer that are windowed.
const MAX_TEXTS: usize = 1_024;

/// A filter, what it has not decided about, and the question it is asked.
pub(super) struct Windowed {
    member: Arc<Member>,
    window: Window,
    /// How it is asked: what all of its calls have in common.
    asker: ask::Asker,
    context: Value,
    at: String,
    texts: Vec<Text>,
    joined: Joined,
    /// Calls of tools that wait to be decided about, whole.
    calls: VecDeque<Call>,
    asking: Option<(Asked, BoxFuture<'static, Result<Value, Trouble>>)>,
    ending: Vec<Event>,
    has_ended: bool,
    is_over: bool,
    most: usize,
    outcome: Outcome,
    began: Instant,
    worked: Duration,
    note: Note,
}

/// One text of the answer.
struct Text {
    choice: u32,
    kind: ContentKind,
    /// What has not left; its beginning was in the window before.
    rest: String,
    /// Characters of it that were.
    seen: usize,
    index: u64,
}

/// What is being asked about.
struct Asked {
    what: About,
    shown: Value,
    is_last: bool,
}

enum About {
    Text(usize),
    Call(Call),
}

impl Windowed {
    pub(super) fn new(course: &Course, member: &Arc<Member>, mut params: Value) -> Self {
        Self {
            window: member.window.unwrap_or(Window { characters: 800, overlap: 200 }),
            asker: ask::Asker::of(course, member, member.timeout.unwrap_or(IDLE)),
            member: Arc::clone(member),
            context: params["context"].take(),
            at: course.at.to_string(),
            texts: Vec::new(),
            joined: Joined::default(),
            calls: VecDeque::new(),
            asking: None,
            ending: Vec::new(),
            has_ended: false,
            is_over: false,
            most: course.state.service.config().chat.answer_bytes,
            outcome: Outcome::Unchanged,
            began: Instant::now(),
            worked: Duration::ZERO,
            note: Note::default(),
        }
    }

    /// What leaves next; `None` after the end. What waits for it may be dropped, and wait again.
    pub(super) async fn next(&mut self, source: &mut Source, before: &mut [Filter]) -> Taken {
        loop {
            if let Some((_, answer)) = &mut self.asking {
                let answer = answer.await;
                let leaves = self.decide(answer)?;
                if !leaves.is_empty() {
                    return Ok(Some(leaves));
                }
                continue;
            }
            if let Some(asked) = self.next_question() {
                self.ask(asked);
                continue;
            }
            if self.has_ended {
                let rest = self.rest();
                if !rest.is_empty() {
                    return Ok(Some(rest));
                }
                if std::mem::replace(&mut self.is_over, true) {
                    return Ok(None);
                }
                let step = Step::of(&self.member, self.outcome, self.worked);
                self.note.step.get_or_insert(step);
                return Ok(Some(std::mem::take(&mut self.ending)));
            }
            let events = pull(source, before).await?;
            let free = self.take(events.unwrap_or_else(|| vec![Event::End]))?;
            if !free.is_empty() {
                return Ok(Some(free));
            }
        }
    }

    fn take(&mut self, events: Vec<Event>) -> Result<Vec<Event>, Stopped> {
        let mut free = Vec::new();
        for event in events {
            match event {
                Event::Text { choice, kind, text } if self.member.is_shown(kind_of_text(kind)) => {
                    self.text(choice, kind_of_text(kind)).push_str(&text);
                }
                Event::ToolBegin { .. } | Event::ToolArguments { .. } if self.member.is_shown(ContentKind::Tool) => {
                    self.joined.take(event);
                }
                // It tells of words that may not leave.
                Event::Logprobs { .. } if self.member.is_shown(ContentKind::Content) => {}
                Event::Finish { choice, .. } => {
                    self.calls.extend(self.joined.whole(Some(choice)));
                    self.ending.push(event);
                }
                Event::End | Event::Failed(_) => {
                    self.calls.extend(self.joined.whole(None));
                    self.has_ended = true;
                    self.ending.push(event);
                    break;
                }
                Event::Usage(_) => self.ending.push(event),
                event => free.push(event),
            }
        }
        let held: usize = self.texts.iter().map(|text| text.rest.len()).sum();
        if held + self.joined.bytes() > self.most || self.texts.len() > MAX_TEXTS {
            return Err(super::too_long(&self.member.plugin, self.most));
        }
        Ok(free)
    }

    /// What was seen at the end of the last window of each text, and stayed for the next one, which there is not.
    fn rest(&mut self) -> Vec<Event> {
        let texts = self.texts.iter_mut().filter(|text| !text.rest.is_empty());
        texts.map(|text| text_event(text.choice, text.kind, std::mem::take(&mut text.rest))).collect()
    }

    fn text(&mut self, choice: u32, kind: ContentKind) -> &mut String {
        let found = self.texts.iter().position(|text| text.choice == choice && text.kind == kind);
        let at = found.unwrap_or_else(|| {
            self.texts.push(Text { choice, kind, rest: String::new(), seen: 0, index: 0 });
            self.texts.len() - 1
        });
        &mut self.texts[at].rest
    }

    /// The next piece that is as long as a window, or the last one of its text.
    fn next_question(&mut self) -> Option<Asked> {
        let characters = usize::try_from(self.window.characters).unwrap_or(usize::MAX);
        for (at, text) in self.texts.iter().enumerate() {
            let end = text.rest.char_indices().nth(characters).map_or(text.rest.len(), |(end, _)| end);
            let is_whole = end < text.rest.len() || text.rest.chars().count() == characters;
            let is_new = text.rest.chars().count() > text.seen;
            if is_new && (is_whole || self.has_ended) {
                let is_last = self.has_ended && end == text.rest.len();
                let metadata = json!({
                    "choice": text.choice, "kind": text.kind, "window": { "index": text.index, "last": is_last },
                });
                let shown = self.shown(&text.rest[..end], &metadata);
                return Some(Asked { what: About::Text(at), shown, is_last });
            }
        }
        let call = self.calls.pop_front()?;
        let tool = json!({ "id": call.id, "name": call.name });
        let metadata = json!({ "choice": call.choice, "kind": ContentKind::Tool, "tool": tool });
        let shown = self.shown(&call.arguments, &metadata);
        Some(Asked { what: About::Call(call), shown, is_last: true })
    }

    fn shown(&self, text: &str, metadata: &Value) -> Value {
        json!({ "id": "r0", "role": "assistant", "content": text, "timestamp": self.at, "metadata": metadata })
    }

    fn ask(&mut self, asked: Asked) {
        let params = json!({ "messages": [asked.shown], "context": self.context });
        self.began = Instant::now();
        let asker = self.asker.clone();
        let answer = async move { asker.ask(&params).await }.boxed();
        self.asking = Some((asked, answer));
    }

    fn decide(&mut self, answer: Result<Value, Trouble>) -> Result<Vec<Event>, Stopped> {
        self.worked += self.began.elapsed();
        let Some((asked, _)) = self.asking.take() else { return Ok(Vec::new()) };
        let shown = std::slice::from_ref(&asked.shown);
        let said = answer.and_then(|answer| {
            let said = said::read_all(answer, shown, self.member.effect).map_err(Trouble::answer)?;
            Ok(said.into_iter().next().unwrap_or(Said::Unchanged))
        });
        let said = match said {
            Ok(Said::Blocked(reason)) => {
                let step = Step::of(&self.member, Outcome::Blocked, self.worked).why("content-blocked", &reason);
                self.note.step = Some(step);
                return Err(Stopped::Blocked { plugin: self.member.plugin.clone(), reason });
            }
            Ok(said) => said,
            Err(trouble) => self.fail(trouble)?,
        };
        let text = asked.shown["content"].as_str().unwrap_or_default();
        match self.cut(text, &said, asked.is_last) {
            Ok((leaves, stays)) => Ok(self.leave(asked.what, text.len(), leaves, &stays)),
            Err(text) => {
                self.fail(Trouble::answer(text))?;
                let text = asked.shown["content"].as_str().unwrap_or_default();
                Ok(self.leave(asked.what, text.len(), text.to_owned(), ""))
            }
        }
    }

    /// What of a window leaves, and what of it is seen again at the beginning of the next one.
    fn cut(&mut self, text: &str, said: &Said, is_last: bool) -> Result<(String, String), String> {
        let length = text.chars().count();
        let overlap = if is_last { 0 } else { usize::try_from(self.window.overlap).unwrap_or(0).min(length) };
        let mut cut = length - overlap;
        let masked = |spans: &[Span], from: usize, until: usize| {
            let part: String = text.chars().skip(from).take(until - from).collect();
            let spans: Vec<Span> = spans.iter().filter_map(|span| span.within(from, until - from)).collect();
            said::mask(&part, &spans)
        };
        match said {
            Said::Changed(members) => {
                let content = members.get("content").and_then(Value::as_str);
                let content = content.ok_or("a window is changed by `content`, which is a text")?;
                self.outcome = Outcome::Changed;
                // All of it is decided: what stands for it is not looked at again.
                Ok((content.to_owned(), String::new()))
            }
            Said::Masked(spans) => {
                if spans.iter().any(|span| span.ends_after(length)) {
                    return Err(format!("a span is not in a window of {length} characters"));
                }
                if self.outcome == Outcome::Unchanged {
                    self.outcome = Outcome::Masked;
                }
                // A span is never cut: what follows may belong to it.
                while let Some(span) = spans.iter().find(|span| span.crosses(cut)) {
                    cut = span.begin();
                }
                if cut == 0 {
                    // One that is as long as a window: nothing would ever leave.
                    cut = length;
                }
                Ok((masked(spans, 0, cut)?, masked(spans, cut, length)?))
            }
            Said::Unchanged | Said::Blocked(_) => {
                let at = text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at);
                Ok((text[..at].to_owned(), text[at..].to_owned()))
            }
        }
    }

    fn leave(&mut self, what: About, bytes: usize, leaves: String, stays: &str) -> Vec<Event> {
        match what {
            About::Call(call) => call.events(leaves).into(),
            About::Text(at) => {
                let text = &mut self.texts[at];
                text.seen = stays.chars().count();
                text.index += 1;
                text.rest.replace_range(..bytes, stays);
                if leaves.is_empty() { Vec::new() } else { vec![text_event(text.choice, text.kind, leaves)] }
            }
        }
    }

    /// The window leaves as it came, or nothing more does.
    fn fail(&mut self, trouble: Trouble) -> Result<Said, Stopped> {
        let Trouble { code, text } = trouble;
        let blocks = self.member.on_failure == OnFailure::Block;
        let outcome = if blocks { Outcome::Refused } else { Outcome::Skipped };
        self.note.step = Some(Step::of(&self.member, outcome, self.worked).why(code, &text));
        if blocks {
            return Err(Stopped::Guard { plugin: self.member.plugin.clone(), code, text });
        }
        self.note.raised = Some((code, text));
        Ok(Said::Unchanged)
    }

    pub(super) fn member(&self) -> Arc<Member> {
        Arc::clone(&self.member)
    }

    pub(super) fn note(&mut self) -> Note {
        std::mem::take(&mut self.note)
    }
}
