//! `chat:` the place of a plugin in what is said between people and models.

mod growth;
mod read;

use serde::Serialize;

pub(super) use growth::beyond;
pub(super) use read::{MAX_HOLD, MAX_WINDOW, read};

use super::kind::{OnFailure, PluginType, Priority};
use crate::{ModelPattern, words};

/// Longest time that a member may ask for, in milliseconds.
pub const MAX_MEMBER_MS: u64 = 30_000;

/// Characters that a filter of streams may hold back, unless it says otherwise.
pub const DEFAULT_HOLD: u64 = 64;

words! {
    /// What a plugin does with what is said.
    ChatKind {
        /// Looks at messages, and may change or refuse them.
        MessageProcessor = "message_processor",
        /// Answers.
        BackendProvider = "backend_provider",
        /// Adds to what a backend is asked.
        FeatureExtension = "feature_extension",
        /// Looks at whole requests and responses.
        Middleware = "middleware",
    }
}

words! {
    /// What the answer of a plugin does to what goes on.
    Effect {
        /// Nothing: it gets a copy, beside the flow.
        Observe = "observe",
        /// Allows, masks or refuses.
        Decide = "decide",
        /// Changes.
        Transform = "transform",
    }
}

words! {
    /// The messages that a processor gets.
    ChatHalf {
        /// Those of the request.
        Request = "request",
        /// The one that answers.
        Response = "response",
    }
}

words! {
    /// How much of an answer a plugin sees at a time.
    Sees {
        /// Each part as it comes.
        Deltas = "deltas",
        /// Pieces that overlap.
        Window = "window",
        /// All of it, at the end.
        Complete = "complete",
        /// Nothing of it while it may still be changed.
        None = "none",
    }
}

words! {
    /// What an answer is made of.
    ContentKind {
        /// What is said.
        Content = "content",
        /// What was thought before.
        Reasoning = "reasoning",
        /// Why nothing is said.
        Refusal = "refusal",
        /// Arguments of tools.
        Tool = "tool",
    }
}

impl ChatKind {
    /// The type of a plugin of this kind.
    pub const fn plugin_type(self) -> PluginType {
        match self {
            Self::MessageProcessor => PluginType::MessageProcessor,
            Self::BackendProvider => PluginType::BackendProvider,
            Self::FeatureExtension => PluginType::FeatureExtension,
            Self::Middleware => PluginType::Middleware,
        }
    }

    /// The methods that a plugin of this kind may have. The chat alone calls them.
    pub const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::MessageProcessor => &["process_message", "process_stream"],
            Self::BackendProvider => &["chat", "list_models", "embed", "count_tokens"],
            Self::FeatureExtension => &["extend"],
            Self::Middleware => &["process_request", "process_response"],
        }
    }

    /// Those that it must have in any case.
    pub const fn promised(self) -> &'static [&'static str] {
        match self {
            Self::MessageProcessor => &["process_message"],
            Self::BackendProvider => &["chat", "list_models"],
            Self::FeatureExtension => &["extend"],
            Self::Middleware => &[],
        }
    }
}

/// Pieces of an answer, as `sees: window` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Characters of a piece.
    pub characters: u64,
    /// Characters at its beginning that were in the piece before.
    pub overlap: u64,
}

/// `chat` of plugin.yaml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChatRole {
    /// What it does.
    pub kind: ChatKind,
    /// Which messages a processor gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<ChatHalf>,
    /// What its answer does.
    pub effect: Effect,
    /// Where it stands among others of its kind.
    pub priority: Priority,
    /// Its own time; without it the member shares the chain's budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What a failure does.
    pub on_failure: OnFailure,
    /// How much of an answer it sees at a time.
    pub sees: Sees,
    /// Kinds of content that a guard leaves out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not: Vec<ContentKind>,
    /// Characters that it may hold back.
    pub max_hold: u64,
    /// The pieces that it sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Models that a backend answers for, beside those that it lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelPattern>,
}

impl ChatRole {
    /// Whether nothing may pass that it has not allowed.
    pub fn is_guard(&self) -> bool {
        self.effect == Effect::Decide || self.on_failure == OnFailure::Block
    }

    /// Whether answers pass it.
    pub fn sees_answers(&self) -> bool {
        self.kind == ChatKind::Middleware || self.is_of(ChatHalf::Response)
    }

    /// The methods that its class must have.
    pub fn promised(&self) -> impl Iterator<Item = &'static str> + use<> {
        let is_fed = self.sees == Sees::Deltas && self.is_of(ChatHalf::Response);
        self.kind.promised().iter().copied().chain(is_fed.then_some("process_stream"))
    }

    /// Whether a processor gets messages of this half.
    pub fn is_of(&self, half: ChatHalf) -> bool {
        self.of.contains(&half)
    }
}
