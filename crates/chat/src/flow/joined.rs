//! Calls of tools in an answer, joined: plugins see what a tool is called with as a whole. Pure.

use plugbay_dialects::{Event, Kind};
use plugbay_domain::ContentKind;

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) choice: u32,
    pub(super) index: u32,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) has_left: bool,
}

impl Call {
    /// The call with these arguments, as it is told.
    pub(super) fn events(&self, text: String) -> [Event; 2] {
        let (choice, index) = (self.choice, self.index);
        [
            Event::ToolBegin { choice, index, id: self.id.clone(), name: self.name.clone() },
            Event::ToolArguments { choice, index, text },
        ]
    }
}

/// Calls that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Joined {
    calls: Vec<Call>,
}

impl Joined {
    /// Takes a part of a call.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::ToolBegin { choice, index, id, name } => {
                let call = self.find(choice, index);
                (call.id, call.name) = (id, name);
            }
            Event::ToolArguments { choice, index, text } => self.find(choice, index).arguments.push_str(&text),
            _ => {}
        }
    }

    fn find(&mut self, choice: u32, index: u32) -> &mut Call {
        let found = self.calls.iter().position(|call| (call.choice, call.index) == (choice, index));
        let at = found.unwrap_or_else(|| {
            self.calls.push(Call { choice, index, ..Call::default() });
            self.calls.len() - 1
        });
        &mut self.calls[at]
    }

    /// The calls of one answer, or of all, which are whole now.
    pub(super) fn whole(&mut self, choice: Option<u32>) -> Vec<Call> {
        let is_meant = |call: &mut Call| choice.is_none_or(|choice| choice == call.choice);
        self.calls.extract_if(.., is_meant).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.calls.iter().map(|call| 64 + call.id.len() + call.name.len() + call.arguments.len()).sum()
    }
}

pub(super) fn kind_of_text(kind: Kind) -> ContentKind {
    match kind {
        Kind::Content => ContentKind::Content,
        Kind::Reasoning => ContentKind::Reasoning,
        Kind::Refusal => ContentKind::Refusal,
    }
}

/// Some text of an answer. What a tool is called with is none.
pub(super) fn text_event(choice: u32, kind: ContentKind, text: String) -> Event {
    let kind = match kind {
        ContentKind::Reasoning => Kind::Reasoning,
        ContentKind::Refusal => Kind::Refusal,
        ContentKind::Content | ContentKind::Tool => Kind::Content,
    };
    Event::Text { choice, kind, text }
}
