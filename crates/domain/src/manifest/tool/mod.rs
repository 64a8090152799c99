//! `tools:` what a plugin offers to models and to programs that call tools, each with the schema of its arguments.

mod names;
mod pattern;
mod read;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

pub use names::{NameTaken, ToolNames, mcp_name, model_name};
pub use pattern::{ToolPattern, ToolPatternError};
pub(super) use read::read;
pub use schema::{MAX_TOOL_MISTAKES, ToolSchema};

use super::{ChatKind, HookName, Manifest};
use crate::Word as _;

/// The method that every plugin can have without naming it.
const EXECUTE: &str = "execute";

/// Names that are the service's own business.
const LIFECYCLE: [&str; 6] = ["initialize", "cleanup", "health_check", "health", "configure", "shutdown"];

/// What events call, and no caller.
const EVENT_HANDLER: &str = "on_event";

/// Tells whether a method can be one for callers, by its name.
pub fn is_for_callers(method: &str) -> bool {
    !method.starts_with('_') && !LIFECYCLE.contains(&method) && method != EVENT_HANDLER && !is_of_chat(method)
}

/// Tells whether a method is one that the chat calls: a hook, or of a plugin's place in the chat.
pub fn is_of_chat(method: &str) -> bool {
    chat_method(method).is_some()
}

/// The method of the chat that has this name.
pub fn chat_method(method: &str) -> Option<&'static str> {
    let hooks = HookName::ALL.iter().map(|hook| hook.as_str());
    let of_kinds = ChatKind::ALL.iter().flat_map(|kind| kind.methods()).copied();
    hooks.chain(of_kinds).find(|known| *known == method)
}

/// One tool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    /// Its own name, without the plugin's.
    pub name: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The method that is called.
    pub method: String,
    /// The schema of its arguments.
    pub input: ToolSchema,
    /// The schema of its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<ToolSchema>,
    /// What its author says that a call does.
    #[serde(skip_serializing_if = "is_default")]
    pub annotations: Annotations,
}

/// What an author says that a call does. The service believes `read_only` for tokens that ask for it, as far as the version
/// was accepted with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Annotations {
    /// It changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// It may destroy something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    /// A second call with the same arguments changes nothing more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// It deals with things outside, such as the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world: Option<bool>,
}

impl Tool {
    /// Whether its author says that it changes nothing.
    pub fn is_read_only(&self) -> bool {
        self.annotations.read_only == Some(true)
    }
}

/// The tools of one version of a plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tools {
    tools: Vec<Arc<Tool>>,
    is_declared: bool,
}

impl Tools {
    pub(super) fn of(manifest: &Manifest) -> Self {
        match &manifest.tools {
            Some(tools) => Self { tools: tools.iter().cloned().map(Arc::new).collect(), is_declared: true },
            None => Self { tools: vec![Arc::new(itself(manifest))], is_declared: false },
        }
    }

    /// The tools, in the order of plugin.yaml. `methods` are those that the plugin offers, where that is known: one that
    /// says nothing of tools is a tool itself as far as it has `execute`.
    pub fn offered(&self, methods: Option<&[String]>) -> &[Arc<Tool>] {
        let offers = |methods: &[String]| methods.iter().any(|method| method == EXECUTE);
        if self.is_declared || methods.is_none_or(offers) { &self.tools } else { &[] }
    }

    /// The tool that a method belongs to, of a plugin that offers the method.
    pub fn of_method(&self, method: &str) -> Option<&Arc<Tool>> {
        self.tools.iter().find(|tool| tool.method == method)
    }

    /// Whether plugin.yaml names them, be it none.
    pub fn is_declared(&self) -> bool {
        self.is_declared
    }
}

/// The plugin as a tool.
fn itself(manifest: &Manifest) -> Tool {
    Tool {
        name: manifest.name.to_string(),
        description: manifest.description.clone(),
        method: EXECUTE.to_owned(),
        input: ToolSchema::of(json!({ "type": "object" })),
        output: None,
        annotations: Annotations::default(),
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
