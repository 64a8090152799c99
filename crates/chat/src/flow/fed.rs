//! A filter that an answer is fed to while it comes. It lets go what it has decided, and the last of it at the end.

use std::sync::Arc;
use std::time::Duration;

use plugbay_dialects::Event;
use plugbay_domain::{Effect, OnFailure};
use plugbay_fleet::{CallRequest, Executing, calls};
use plugbay_operations::StreamEvent;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::strands::Strands;
use super::{Note, Source, Taken, pull};
use crate::ask;
use crate::course::{Course, Stopped};
use crate::member::Member;
use crate::record::{Outcome, Step};
use crate::said::{self, Said};
use crate::trouble::Trouble;

/// How long a filter may take to go on, unless it says so itself.
pub(super) const IDLE: Duration = Duration::from_secs(1);

/// Bytes of an answer that wait for a filter. Beyond them the backend waits.
const MOST_WAITING: usize = 128 * 1024;

/// A filter and what is before it.
pub(super) struct Fed {
    member: Arc<Member>,
    /// The call, until it has answered or failed.
    executing: Option<Executing>,
    strands: Strands,
    /// What does not concern it.
    free: Vec<Event>,
    /// What comes after the last text.
    ending: Vec<Event>,
    has_ended: bool,
    note: Note,
    /// Since when the plugin has something to do.
    works_since: Option<Instant>,
    worked: Duration,
    /// The longest message, and the longest answer.
    most: (usize, usize),
}

/// What came from the plugin.
enum Heard {
    Chunk(Option<u64>, String),
    Nothing,
    Last(Result<Value, Trouble>),
}

impl Fed {
    /// Begins the call.
    pub(super) async fn open(course: &Course, member: &Arc<Member>, params: &Value) -> Result<Self, Trouble> {
        let idle = member.timeout.unwrap_or(IDLE);
        let request = CallRequest::of_service(&member.plugin, member.stream_method(), params, None)
            .with_origin(course.origin())
            .with_trace(course.trace.as_deref())
            .without_blame()
            .fed(idle);
        ask::fits(&course.state, &request)?;
        let executing = calls::call(course.state.service.fleet(), request).await;
        let executing = executing.map_err(|error| ask::trouble_of(member, &error))?;
        Ok(Self {
            strands: Strands::new(member.max_hold),
            member: Arc::clone(member),
            executing: Some(executing),
            free: Vec::new(),
            ending: Vec::new(),
            has_ended: false,
            note: Note::default(),
            works_since: None,
            worked: Duration::ZERO,
            most: (course.state.most_bytes(), course.state.service.config().chat.answer_bytes),
        })
    }

    /// What leaves next; `None` after the end. What waits for it may be dropped, and wait again.
    pub(super) async fn next(&mut self, source: &mut Source, before: &mut [super::Filter]) -> Taken {
        loop {
            if self.executing.is_none() {
                return self.pass(source, before).await;
            }
            self.send()?;
            let may_take = !self.has_ended && self.strands.bytes() < MOST_WAITING;
            let is_waiting = self.strands.has_unsent();
            let Some(executing) = &mut self.executing else { continue };
            let room = executing.room();
            let heard = tokio::select! {
                biased;
                heard = hear(&self.member, executing) => heard,
                () = room, if is_waiting => Heard::Nothing,
                events = pull(source, before), if may_take => {
                    self.take(events?)?;
                    let free = std::mem::take(&mut self.free);
                    if free.is_empty() {
                        continue;
                    }
                    return Ok(Some(free));
                }
            };
            let leaves = match heard {
                Heard::Nothing => continue,
                Heard::Chunk(read, data) => match self.chunk(read, &data) {
                    Ok(leaves) => leaves,
                    Err(trouble) => self.fail(trouble)?,
                },
                Heard::Last(Ok(value)) => self.last(value)?,
                Heard::Last(Err(trouble)) => self.fail(trouble)?,
            };
            if !leaves.is_empty() {
                return Ok(Some(leaves));
            }
        }
    }

    /// The filter is done, or out of the way.
    async fn pass(&mut self, source: &mut Source, before: &mut [super::Filter]) -> Taken {
        if self.has_ended {
            let ending = std::mem::take(&mut self.ending);
            return Ok(if ending.is_empty() { None } else { Some(ending) });
        }
        let events = pull(source, before).await?;
        Ok(events.map(|events| events.into_iter().filter_map(|event| self.strands.pass(event)).collect()))
    }

    fn take(&mut self, events: Option<Vec<Event>>) -> Result<(), Stopped> {
        for event in events.unwrap_or_else(|| vec![Event::End]) {
            if self.has_ended {
                break;
            }
            match &event {
                Event::Finish { choice, .. } => self.strands.end_calls(Some(*choice)),
                Event::End | Event::Failed(_) => {
                    self.strands.end_calls(None);
                    self.has_ended = true;
                }
                _ => {}
            }
            let member = &self.member;
            match self.strands.take(event, |kind| member.is_shown(kind)) {
                Some(event @ (Event::Finish { .. } | Event::Usage(_) | Event::End | Event::Failed(_))) => {
                    self.ending.push(event);
                }
                event => self.free.extend(event),
            }
        }
        let (_, most) = self.most;
        if self.strands.is_too_many() || self.strands.bytes_of_calls() > most {
            return Err(super::too_long(&self.member.plugin, most));
        }
        Ok(())
    }

    /// Sends as much as there is room for.
    fn send(&mut self) -> Result<(), Stopped> {
        let Some(executing) = &mut self.executing else { return Ok(()) };
        while let Some(line) = self.strands.line() {
            if line.json.len() > self.most.0 {
                return Err(super::too_long(&self.member.plugin, self.most.0));
            }
            let Some(number) = executing.feed(&line.json) else { break };
            self.works_since.get_or_insert_with(Instant::now);
            self.strands.sent(line, number);
        }
        if self.has_ended && !self.strands.has_unsent() {
            executing.end_feed();
        }
        Ok(())
    }

    fn chunk(&mut self, read: Option<u64>, data: &str) -> Result<Vec<Event>, Trouble> {
        if let Some(since) = self.works_since.take() {
            self.worked += since.elapsed();
        }
        let verdicts = serde_json::from_str(data).map_err(|error| Trouble::answer(error.to_string()))?;
        self.strands.hear(read, verdicts).map_err(Trouble::answer)
    }

    /// The call has answered: the filter has refused the answer, or is done with it.
    fn last(&mut self, value: Value) -> Result<Vec<Event>, Stopped> {
        match said::read(value, &json!({}), Effect::Decide) {
            Ok(Said::Blocked(reason)) => {
                self.executing = None;
                let step = Step::of(&self.member, Outcome::Blocked, self.worked).why("content-blocked", &reason);
                self.note.step = Some(step);
                Err(Stopped::Blocked { plugin: self.member.plugin.clone(), reason })
            }
            Ok(_) if self.has_ended && !self.strands.has_unsent() && !self.strands.is_undecided() => {
                let leaves = self.strands.release();
                let outcome = if self.strands.is_changed() { Outcome::Changed } else { Outcome::Unchanged };
                Ok(self.end(Step::of(&self.member, outcome, self.worked), leaves))
            }
            Ok(_) => self.fail(Trouble::answer("it ended before it had decided about all of the answer")),
            Err(text) => self.fail(Trouble::answer(text)),
        }
    }

    /// Does what the rule of the member says: the rest leaves as it came, or nothing does.
    fn fail(&mut self, trouble: Trouble) -> Result<Vec<Event>, Stopped> {
        let Trouble { code, text } = trouble;
        let blocks = self.member.on_failure == OnFailure::Block;
        let outcome = if blocks { Outcome::Refused } else { Outcome::Skipped };
        let step = Step::of(&self.member, outcome, self.worked).why(code, &text);
        self.note.raised = (!blocks).then(|| (code, text.clone()));
        if blocks {
            (self.executing, self.note.step) = (None, Some(step));
            return Err(Stopped::Guard { plugin: self.member.plugin.clone(), code, text });
        }
        let leaves = self.strands.release();
        Ok(self.end(step, leaves))
    }

    fn end(&mut self, step: Step, mut leaves: Vec<Event>) -> Vec<Event> {
        (self.executing, self.note.step) = (None, Some(step));
        leaves.append(&mut self.ending);
        leaves
    }

    pub(super) fn member(&self) -> Arc<Member> {
        Arc::clone(&self.member)
    }

    pub(super) fn note(&mut self) -> Note {
        std::mem::take(&mut self.note)
    }
}

/// What comes next of the plugin. Dropped, it has taken nothing.
async fn hear(member: &Member, executing: &mut Executing) -> Heard {
    match executing.next_event().await {
        Some(StreamEvent::Chunk { read, data, .. }) => Heard::Chunk(read, data.get().to_owned()),
        Some(StreamEvent::Progress(_)) => Heard::Nothing,
        None => Heard::Last(ask::read(member, executing.last().await)),
    }
}
