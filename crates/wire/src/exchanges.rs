//! Requests to models by way of the chat, and what is remembered of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Breaker, PluginMetrics};

/// A message to a model.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatMessageRequest {
    /// What is said.
    #[schema(example = "Hello!")]
    pub message: String,
    /// The model that is asked.
    #[schema(example = "llama3.2")]
    pub model: String,
    /// The conversation that it belongs to; what was said in it before is sent along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// Who says it, as plugins are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How freely the model answers, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The longest answer, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Whether the answer is wanted as it comes, as server-sent events.
    #[serde(default)]
    pub stream: bool,
}

/// What a model answered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChatMessageAnswer {
    /// The text.
    pub response: String,
    /// The message, with calls of tools and what was thought, where there is any.
    #[schema(value_type = Object)]
    pub message: Value,
    /// The model that was asked.
    pub model: String,
    /// The plugin that answered.
    pub backend: Option<String>,
    /// The conversation.
    pub conversation: Option<String>,
    /// Tokens: `prompt_tokens`, `completion_tokens`, `total_tokens`.
    #[schema(value_type = Object)]
    pub usage: Value,
    /// How many plugins took part, and how many of them failed and were left out.
    pub counts: PartCounts,
    /// The plugins that took part, in order; for tokens with the scope `read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<PartView>>,
    /// The plugins that were left out; for tokens with the scope `read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Vec<SkippedView>>,
}

/// How many plugins took part in an exchange.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct PartCounts {
    /// Plugins that were asked.
    pub plugins: usize,
    /// Those that failed and were left out.
    pub skipped: usize,
}

/// A plugin that took part in an exchange.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// Its name.
    pub name: String,
    /// At which place.
    #[schema(example = "request")]
    pub stage: String,
    /// What came of it.
    #[schema(example = "unchanged")]
    pub outcome: String,
    /// Milliseconds that it took.
    pub took_ms: f64,
}

/// A plugin that was left out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SkippedView {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// One exchange, as it is remembered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExchangeView {
    /// Its id.
    pub id: String,
    /// When it began.
    #[schema(format = DateTime)]
    pub at: String,
    /// The token that it came by.
    pub token: String,
    /// The route that it came by.
    pub front: String,
    /// The model that was asked for.
    pub model: String,
    /// The plugin that answered.
    pub backend: Option<String>,
    /// How often a backend was asked.
    pub attempts: u32,
    /// How it ended: `answered`, `blocked`, `refused`, `failed`, `partial`, `cancelled`.
    pub outcome: String,
    /// Milliseconds that it took in all.
    pub took_ms: f64,
    /// Tokens of the question.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer.
    pub completion_tokens: Option<u64>,
    /// What each member did, in order.
    pub steps: Vec<StepView>,
}

/// What one member of an exchange did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// The plugin.
    pub plugin: String,
    /// At which place.
    pub stage: String,
    /// What came of it.
    pub outcome: String,
    /// Milliseconds that it took.
    pub took_ms: f64,
    /// Which parts it changed.
    pub parts: Vec<String>,
    /// A code for what went wrong, or for why it refused.
    pub code: Option<String>,
    /// The same for people.
    pub reason: Option<String>,
}

/// The last exchanges.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExchangeList {
    /// The newest first.
    pub exchanges: Vec<ExchangeView>,
}

/// Every plugin, by name, as chat applications show them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChatPlugins {
    /// The plugins.
    pub plugins: BTreeMap<String, ChatPluginView>,
    /// How many there are.
    pub total: usize,
}

/// One plugin, as chat applications show it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChatPluginView {
    /// Its name.
    pub name: String,
    /// The version that serves.
    pub version: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is doing, in capitals.
    #[schema(example = "ACTIVE")]
    pub state: String,
    /// Where it stands among others of its kind.
    #[schema(example = "NORMAL")]
    pub priority: String,
    /// What it says of itself.
    #[schema(value_type = Option<Object>)]
    pub health: Option<Value>,
    /// Whether calls are let through.
    pub circuit_breaker: Breaker,
    /// The hooks that it has.
    pub hooks: Vec<String>,
}

/// Figures about one plugin, and about each method that the chat has called.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChatPluginMetrics {
    /// Those of all its calls.
    #[serde(flatten)]
    pub all: PluginMetrics,
    /// Those of its hooks and of its place in the chat.
    pub hooks: BTreeMap<String, PluginMetrics>,
}

/// A refusal in the form that clients of OpenAI's read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiError {
    /// What is wrong.
    pub error: OpenAiErrorBody,
}

/// What is wrong, in OpenAI's words where it has one.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiErrorBody {
    /// For people.
    pub message: String,
    /// The class of the error.
    #[serde(rename = "type")]
    #[schema(example = "invalid_request_error")]
    pub kind: String,
    /// The member of the request that is wrong.
    pub param: Option<String>,
    /// A stable word.
    #[schema(example = "model_not_found")]
    pub code: Option<String>,
}

/// A refusal in the form that clients of Anthropic's read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnthropicError {
    /// Always `error`.
    #[serde(rename = "type")]
    #[schema(example = "error")]
    pub kind: String,
    /// What is wrong.
    pub error: AnthropicErrorBody,
}

/// What is wrong, in Anthropic's words.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnthropicErrorBody {
    /// The class of the error.
    #[serde(rename = "type")]
    #[schema(example = "not_found_error")]
    pub kind: String,
    /// For people, with a stable word at its end.
    pub message: String,
}
