//! Tools of enabled plugins, in the forms of those that call them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// One of the forms of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolForm {
    /// As the `tools` of chat completions.
    #[serde(rename = "openai")]
    OpenAi,
    /// As `tools/list` of MCP.
    Mcp,
}

/// A tool. It is called by `POST /api/plugins/{plugin}/execute` with its `method` and the arguments as `context`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolView {
    /// Its name, which tokens are limited by.
    #[schema(example = "git.git_status")]
    pub name: String,
    /// The plugin.
    pub plugin: String,
    /// Its own name.
    pub tool: String,
    /// The method that is called.
    pub method: String,
    /// Its author says that it changes nothing, and this version was accepted with that.
    pub read_only: bool,
    /// As chat completions take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAiTool>,
    /// As MCP lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpTool>,
}

/// A tool towards models.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiTool {
    /// `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is called.
    pub function: OpenAiFunction,
}

/// A function that a model may call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiFunction {
    /// At most 64 letters, digits and `_`.
    #[schema(example = "git__git_status")]
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    #[schema(value_type = Object)]
    pub parameters: Value,
}

/// A tool towards MCP clients.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpTool {
    /// `plugin.tool`, or the plugin's name where the tool is called so.
    #[schema(example = "git.git_status")]
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    #[schema(value_type = Object)]
    pub input_schema: Value,
    /// JSON Schema of its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Value>,
    /// What a call does, as its author says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<McpAnnotations>,
}

/// What a call does, as its author says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpAnnotations {
    /// It changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// It may destroy something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// A second call with the same arguments changes nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// It deals with things outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// Tools of enabled plugins that the token may use.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ToolList {
    /// The tools, by name.
    pub tools: Vec<ToolView>,
    /// How many there are in all.
    pub total: usize,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}
