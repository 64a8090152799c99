//! The words of plugin.yaml: kinds of plugins, runtimes, hooks and their settings.

use serde::Serialize;

use crate::words;

words! {
    /// What a plugin is for. It is shown and searched by, and changes nothing else.
    PluginType {
        /// Adds to the host application.
        Extension = "extension",
        /// Connects to another system.
        Integration = "integration",
        /// Offers a model.
        AiModel = "ai-model",
        /// Runs steps in order.
        Workflow = "workflow",
        /// Handles messages.
        MessageProcessor = "message-processor",
        /// Provides a backend.
        BackendProvider = "backend-provider",
        /// Adds to an existing feature.
        FeatureExtension = "feature-extension",
        /// Stands between two parts.
        Middleware = "middleware",
        /// Provides data.
        DataSource = "data-source",
        /// Transforms data.
        Pipeline = "pipeline",
    }
}

words! {
    /// How the entry point is run.
    Runtime {
        /// A Python class, loaded once and called many times.
        Python = "python",
        /// Any program, started once per call.
        Exec = "exec",
        /// Any program that speaks the protocol on its standard input and output.
        Stdio = "stdio",
    }
}

words! {
    /// An event of the chat that a plugin wants to see.
    HookName {
        /// A message was posted.
        OnMessage = "on_message",
        /// A file was posted.
        OnFileUpload = "on_file_upload",
        /// One of the plugin's commands was posted.
        OnCommand = "on_command",
    }
}

words! {
    /// Where a hook's answer stands among those of other plugins.
    Priority {
        /// First.
        Critical = "CRITICAL",
        /// Early.
        High = "HIGH",
        /// Unless said otherwise.
        Normal = "NORMAL",
        /// Late.
        Low = "LOW",
        /// Last.
        Monitoring = "MONITORING",
    }
}

words! {
    /// What a failing hook does to the message it was called for.
    OnFailure {
        /// The message is posted; the failure is listed beside it.
        Ignore = "ignore",
        /// The message is refused.
        Block = "block",
    }
}

words! {
    /// What a configured value is.
    FieldType {
        /// Text.
        String = "string",
        /// A whole number.
        Integer = "integer",
        /// Any number.
        Number = "number",
        /// True or false.
        Boolean = "boolean",
        /// A list.
        Array = "array",
        /// A map.
        Object = "object",
    }
}

/// One event that the plugin wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Which event.
    pub name: HookName,
    /// Order of the answers.
    pub priority: Priority,
    /// Longest time for the answer; without it the plugin's own call limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What a failure does.
    pub on_failure: OnFailure,
}

/// One word that people type to call the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// The word with its slash.
    pub name: String,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How it is typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}

/// How the plugin is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Seconds between two questions.
    pub interval_seconds: u64,
}
