//! What a backend says, part by part.

use serde_json::Value;

/// A kind of text in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What is said.
    Content,
    /// What was thought before.
    Reasoning,
    /// Why nothing is said.
    Refusal,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All was said.
    Stop,
    /// It was as long as it may be.
    Length,
    /// Tools are to be called first.
    ToolCalls,
    /// Something refused to let it pass.
    ContentFilter,
    /// A reason that only the backend knows.
    Other(String),
}

impl Finish {
    /// The reason as OpenAI's format writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other(other) => other,
        }
    }

    /// The reason of this name.
    pub fn read(name: &str) -> Self {
        match name {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" | "function_call" => Self::ToolCalls,
            "content_filter" => Self::ContentFilter,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Tokens that an answer has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of what was asked.
    pub prompt: u64,
    /// Of what was answered.
    pub completion: u64,
    /// Those of the question that the backend knew already.
    pub cached: Option<u64>,
    /// Those of the answer that were thought and not said.
    pub reasoning: Option<u64>,
}

/// What a failure of a backend is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The request is wrong.
    Invalid,
    /// The key is not accepted.
    Denied,
    /// There is no such model, or no such address.
    NotFound,
    /// Too much was asked for at once.
    Overloaded,
    /// Something else.
    Other,
}

/// Why a backend did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamFailure {
    /// The status of its answer, where it gave one.
    pub status: Option<u16>,
    /// What it is about.
    pub class: FailureClass,
    /// What it says.
    pub message: String,
    /// Its word for it.
    pub code: Option<String>,
}

impl UpstreamFailure {
    /// One without a status.
    pub fn new(message: impl Into<String>) -> Self {
        Self { status: None, class: FailureClass::Other, message: message.into(), code: None }
    }
}

/// One part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The model that answers, as the backend calls it.
    Model(String),
    /// Some text.
    Text {
        /// Of which answer, where several were asked for.
        choice: u32,
        /// Its kind.
        kind: Kind,
        /// The text.
        text: String,
    },
    /// A tool is called.
    ToolBegin {
        /// Of which answer.
        choice: u32,
        /// Which call of it, from 0.
        index: u32,
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
    },
    /// Some of what a tool is called with.
    ToolArguments {
        /// Of which answer.
        choice: u32,
        /// Which call of it.
        index: u32,
        /// Part of the JSON.
        text: String,
    },
    /// How likely the words were, as the backend writes it.
    Logprobs {
        /// Of which answer.
        choice: u32,
        /// The object.
        value: Value,
    },
    /// An answer ends.
    Finish {
        /// Which one.
        choice: u32,
        /// Why.
        reason: Finish,
    },
    /// What it has taken.
    Usage(Usage),
    /// It goes no further. Nothing follows.
    Failed(UpstreamFailure),
    /// All was said. Nothing follows.
    End,
}
