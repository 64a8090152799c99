//! What a filter was shown of an answer and has not let go yet. Pure.
//!
//! A strand is one text of an answer: its content, its reasoning, its refusal, or what one tool is called with. Its first
//! part is what the filter has taken in and holds back, then comes what was sent, then what was not.

use std::collections::VecDeque;
use std::fmt::Write as _;

use plugbay_dialects::Event;
use plugbay_domain::ContentKind;
use serde::Deserialize;
use serde_json::Value;

use super::joined::{Call, Joined, kind_of_text, text_event};

/// Bytes of text in one line to a plugin.
const LINE_BYTES: usize = 32 * 1024;

/// Texts of one answer: several answers to one request, each with its kinds and the tools it calls.
const MAX_STRANDS: usize = 2_048;

/// Bytes that a filter may add to an answer. One that never ends would be an answer of its own.
const MOST_MORE: usize = 1024 * 1024;

/// Words of one text whose likelihood is kept until they leave.
const MAX_LOGPROBS: usize = 4_096;

/// What a filter says about one strand.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    #[serde(default)]
    choice: u32,
    kind: ContentKind,
    /// What leaves in place of all that was taken in before what is held.
    #[serde(default)]
    text: String,
    /// Characters at the end that are not decided yet.
    #[serde(default)]
    hold: usize,
    /// Everything that follows is dropped, until it says otherwise.
    #[serde(default)]
    swallow: bool,
    /// The call of a tool, where there are several.
    #[serde(default)]
    id: Option<String>,
}

#[derive(Debug)]
struct Strand {
    choice: u32,
    kind: ContentKind,
    tool: Option<Call>,
    /// What has not left.
    text: String,
    /// Bytes of it that the filter has taken in.
    taken: usize,
    /// Bytes that were sent after them, by the numbers of the lines.
    sent: VecDeque<(u64, usize)>,
    swallows: bool,
    is_changed: bool,
    /// Bytes that came in all.
    came: usize,
    /// How likely words were, and after how many bytes that was said.
    logprobs: VecDeque<(usize, Value)>,
}

/// All strands of one answer before one filter.
#[derive(Debug)]
pub(super) struct Strands {
    all: Vec<Strand>,
    /// What was not sent yet, in its order: the strand and the bytes.
    unsent: VecDeque<(usize, usize)>,
    joined: Joined,
    max_hold: usize,
    /// Bytes that have left.
    left: usize,
}

/// A line for the filter, which has not been sent.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) json: String,
    parts: Vec<(usize, usize)>,
}

impl Strands {
    /// For a filter that may hold back so many characters.
    pub(super) fn new(max_hold: usize) -> Self {
        Self { all: Vec::new(), unsent: VecDeque::new(), joined: Joined::default(), max_hold, left: 0 }
    }

    /// Bytes that have come and not left.
    pub(super) fn bytes(&self) -> usize {
        self.all.iter().map(|strand| strand.text.len()).sum()
    }

    /// Bytes of calls that are not whole yet.
    pub(super) fn bytes_of_calls(&self) -> usize {
        self.joined.bytes()
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether it is more than any answer has.
    pub(super) fn is_too_many(&self) -> bool {
        self.all.len() > MAX_STRANDS
    }

    pub(super) fn is_changed(&self) -> bool {
        self.all.iter().any(|strand| strand.is_changed)
    }

    /// Takes what the filter is to see. Gives back what does not concern it.
    pub(super) fn take(&mut self, event: Event, is_shown: impl Fn(ContentKind) -> bool) -> Option<Event> {
        match event {
            Event::Text { choice, kind, text } if is_shown(kind_of_text(kind)) => {
                self.add(choice, kind_of_text(kind), None, &text);
                None
            }
            Event::ToolBegin { .. } | Event::ToolArguments { .. } if is_shown(ContentKind::Tool) => {
                self.joined.take(event);
                None
            }
            Event::Logprobs { choice, value } if is_shown(ContentKind::Content) => {
                let at = self.find(choice, ContentKind::Content);
                let strand = &mut self.all[at];
                if !strand.is_changed && strand.logprobs.len() < MAX_LOGPROBS {
                    strand.logprobs.push_back((strand.came, value));
                }
                None
            }
            event => Some(event),
        }
    }

    /// The calls of tools of this answer, or of all, are whole.
    pub(super) fn end_calls(&mut self, choice: Option<u32>) {
        for call in self.joined.whole(choice) {
            let text = call.arguments.clone();
            self.add(call.choice, ContentKind::Tool, Some(call), &text);
        }
    }

    fn add(&mut self, choice: u32, kind: ContentKind, tool: Option<Call>, text: &str) {
        let at = if tool.is_some() { self.begin(choice, kind, tool) } else { self.find(choice, kind) };
        let strand = &mut self.all[at];
        strand.came += text.len();
        match self.unsent.back_mut() {
            // All that waits is sent together.
            Some((last, bytes)) if *last == at => *bytes += text.len(),
            _ => self.unsent.push_back((at, text.len())),
        }
        strand.text.push_str(text);
    }

    fn find(&mut self, choice: u32, kind: ContentKind) -> usize {
        let found = self.all.iter().position(|strand| strand.choice == choice && strand.kind == kind);
        found.unwrap_or_else(|| self.begin(choice, kind, None))
    }

    fn begin(&mut self, choice: u32, kind: ContentKind, tool: Option<Call>) -> usize {
        self.all.push(Strand {
            choice,
            kind,
            tool,
            text: String::new(),
            taken: 0,
            sent: VecDeque::new(),
            swallows: false,
            is_changed: false,
            came: 0,
            logprobs: VecDeque::new(),
        });
        self.all.len() - 1
    }

    /// What is to be sent next. A call of a tool is never cut.
    pub(super) fn line(&self) -> Option<Line> {
        let (mut json, mut parts, mut room) = ("[".to_owned(), Vec::new(), LINE_BYTES);
        // Where the next part of each strand begins, as far as this line goes beyond what was sent.
        let mut ahead: Vec<usize> = vec![0; self.all.len()];
        for (at, bytes) in &self.unsent {
            let strand = &self.all[*at];
            let begin = strand.taken + strand.sent.iter().map(|(_, bytes)| bytes).sum::<usize>() + ahead[*at];
            let whole = &strand.text[begin..begin + bytes];
            let text = if strand.tool.is_some() { whole } else { &whole[..floor(whole, room)] };
            if !parts.is_empty() && text.is_empty() && !whole.is_empty() {
                break;
            }
            if !parts.is_empty() {
                json.push(',');
            }
            let (choice, kind, text_json) = (strand.choice, strand.kind, Value::from(text));
            write!(json, r#"{{"choice":{choice},"kind":"{kind}","text":{text_json}"#).ok();
            if let Some(call) = &strand.tool {
                let (id, name) = (Value::from(call.id.as_str()), Value::from(call.name.as_str()));
                write!(json, r#","id":{id},"name":{name}"#).ok();
            }
            json.push('}');
            parts.push((*at, text.len()));
            ahead[*at] += text.len();
            room = room.saturating_sub(text.len());
            if room == 0 || text.len() < whole.len() {
                break;
            }
        }
        json.push(']');
        (!parts.is_empty()).then_some(Line { json, parts })
    }

    /// The line was sent, and has this number.
    pub(super) fn sent(&mut self, line: Line, number: u64) {
        for (at, bytes) in line.parts {
            self.all[at].sent.push_back((number, bytes));
            if let Some((_, left)) = self.unsent.front_mut() {
                *left -= bytes;
                if *left == 0 {
                    self.unsent.pop_front();
                }
            }
        }
    }

    /// What leaves by what the filter says once it has taken in all lines up to this one. The error says which rule it
    /// broke.
    pub(super) fn hear(&mut self, read: Option<u64>, verdicts: Vec<Verdict>) -> Result<Vec<Event>, String> {
        for strand in &mut self.all {
            while let Some((number, bytes)) = strand.sent.front().copied()
                && read.is_some_and(|read| number <= read)
            {
                strand.sent.pop_front();
                strand.taken += bytes;
            }
        }
        self.left += verdicts.iter().map(|verdict| verdict.text.len()).sum::<usize>();
        let came: usize = self.all.iter().map(|strand| strand.came).sum();
        if self.left > came.saturating_add(MOST_MORE) {
            return Err(format!("it adds more than {MOST_MORE} bytes to the answer"));
        }
        let mut leaves = Vec::new();
        for verdict in verdicts {
            let at = self.meant(&verdict).ok_or_else(|| {
                format!("it answers for `{}` of answer {}, which it was not fed", verdict.kind, verdict.choice)
            })?;
            self.all[at].settle(verdict, &mut leaves)?;
        }
        for strand in &self.all {
            let held = strand.text[..strand.taken].chars().count();
            let most = if strand.tool.is_some() { 0 } else { self.max_hold };
            if held > most {
                let kind = strand.kind;
                return Err(format!("it holds back {held} characters of `{kind}`; it may hold {most}"));
            }
        }
        Ok(leaves)
    }

    fn meant(&self, verdict: &Verdict) -> Option<usize> {
        self.all.iter().position(|strand| {
            let fits = strand.choice == verdict.choice && strand.kind == verdict.kind;
            fits && strand.tool.as_ref().is_none_or(|call| match &verdict.id {
                Some(id) => *id == call.id,
                // Its oldest one that is still open.
                None => !call.has_left,
            })
        })
    }

    /// Forgets what was taken in: an observer has nothing to let go.
    pub(super) fn forget(&mut self, read: Option<u64>) {
        self.hear(read, Vec::new()).ok();
        for strand in &mut self.all {
            strand.text.replace_range(..strand.taken, "");
            strand.taken = 0;
            strand.logprobs.clear();
        }
    }

    /// Everything that is left, as it came; what the filter had begun to swallow stays away.
    pub(super) fn release(&mut self) -> Vec<Event> {
        self.end_calls(None);
        self.unsent.clear();
        let mut leaves = Vec::new();
        for strand in &mut self.all {
            let text = std::mem::take(&mut strand.text);
            (strand.taken, strand.sent) = (0, VecDeque::new());
            if strand.swallows {
                strand.is_changed |= !text.is_empty();
                strand.logprobs.clear();
            } else {
                strand.leave(text, &mut leaves);
            }
        }
        leaves
    }

    /// Whether something is left that the filter has not decided about.
    pub(super) fn is_undecided(&self) -> bool {
        self.all.iter().any(|strand| !strand.text.is_empty() && !strand.swallows)
    }

    /// What still passes of an event once the filter is out of the way.
    pub(super) fn pass(&mut self, event: Event) -> Option<Event> {
        let (choice, kind) = match &event {
            Event::Text { choice, kind, .. } => (*choice, kind_of_text(*kind)),
            _ => return Some(event),
        };
        let swallows = |strand: &Strand| strand.choice == choice && strand.kind == kind && strand.swallows;
        (!self.all.iter().any(swallows)).then_some(event)
    }
}

impl Strand {
    fn settle(&mut self, verdict: Verdict, leaves: &mut Vec<Event>) -> Result<(), String> {
        let taken = &self.text[..self.taken];
        let held: usize = taken.chars().rev().take(verdict.hold).map(char::len_utf8).sum();
        if taken.chars().rev().take(verdict.hold).count() < verdict.hold {
            return Err(format!("it holds back {} characters where it has taken in fewer", verdict.hold));
        }
        let settled = self.taken - held;
        let was = self.text[..settled].to_owned();
        self.text.replace_range(..settled, "");
        self.taken = held;
        self.swallows = verdict.swallow;
        if was != verdict.text {
            self.is_changed = true;
            self.logprobs.clear();
        }
        self.leave(verdict.text, leaves);
        Ok(())
    }

    /// Lets a text go, and with it what was said of its words.
    fn leave(&mut self, text: String, leaves: &mut Vec<Event>) {
        if let Some(call) = &mut self.tool {
            if !std::mem::replace(&mut call.has_left, true) {
                leaves.extend(call.events(text));
            }
            return;
        }
        if !text.is_empty() {
            leaves.push(text_event(self.choice, self.kind, text));
        }
        let gone = self.came - self.text.len();
        while let Some((after, _)) = self.logprobs.front()
            && *after <= gone
        {
            if let Some((_, value)) = self.logprobs.pop_front() {
                leaves.push(Event::Logprobs { choice: self.choice, value });
            }
        }
    }
}

/// The most bytes that fit and end between two characters.
fn floor(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
