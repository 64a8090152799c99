//! What is asked of a model.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A request to a model, whatever form it came in.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The model that is asked for.
    pub model: String,
    /// What was said so far, oldest first.
    pub messages: Vec<ChatMessage>,
    /// How freely it answers.
    pub temperature: Option<f64>,
    /// The longest answer, in tokens.
    pub max_tokens: Option<u64>,
    /// Whether the answer is wanted as it comes.
    pub stream: bool,
    /// Whether a stream ends with the count of tokens.
    pub include_usage: bool,
    /// Tools of the caller, as they came.
    pub tools: Option<Box<RawValue>>,
    /// The user, as the host application names them.
    pub user: Option<String>,
    /// Every other member, as it came.
    pub parameters: Map<String, Value>,
}

/// One message of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatMessage {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: Content,
    /// The name of who said it.
    pub name: Option<String>,
    /// Tools that the model has called by it.
    pub tool_calls: Vec<ToolCall>,
    /// The call that it answers.
    pub tool_call_id: Option<String>,
    /// Every other member, as it came.
    pub extra: Map<String, Value>,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator.
    System,
    /// The same in newer words.
    Developer,
    /// A person.
    User,
    /// A model.
    Assistant,
    /// A tool.
    Tool,
    /// A tool, in older words.
    Function,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [Self::System, Self::Developer, Self::User, Self::Assistant, Self::Tool, Self::Function];

    /// The role as formats write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Function => "function",
        }
    }

    /// The role of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Nothing.
    None,
    /// A text.
    Text(String),
    /// Texts, pictures and the like, as they came.
    Parts(Vec<Value>),
}

impl Content {
    /// The texts in it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (text, parts) = match self {
            Self::None => (None, &[][..]),
            Self::Text(text) => (Some(text.as_str()), &[][..]),
            Self::Parts(parts) => (None, parts.as_slice()),
        };
        let is_text = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("text");
        let texts = parts.iter().filter(is_text).filter_map(|part| part.get("text")?.as_str());
        text.into_iter().chain(texts)
    }
}

/// A tool that a model has called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Its id, which the answer names.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with: JSON, as the model wrote it.
    pub arguments: String,
}
