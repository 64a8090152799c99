//! The words of plugin.yaml: kinds of plugins, runtimes, hooks and their settings.

use serde::Serialize;

use super::chat::Effect;
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
        /// The plugin's session has begun.
        OnStartup = "on_startup",
        /// The plugin's session is about to end.
        OnShutdown = "on_shutdown",
        /// Another plugin became active.
        OnPluginLoad = "on_plugin_load",
        /// Another plugin stopped.
        OnPluginUnload = "on_plugin_unload",
        /// An exchange begins.
        OnRequestStart = "on_request_start",
        /// An exchange was answered.
        OnRequestComplete = "on_request_complete",
        /// An exchange ended without an answer.
        OnRequestError = "on_request_error",
        /// The messages of a request, before processors see them.
        OnBeforeMessage = "on_before_message",
        /// Part of an answer.
        OnStreamChunk = "on_stream_chunk",
        /// The answer, after processors have seen it.
        OnAfterMessage = "on_after_message",
        /// A backend is about to be asked for another model.
        OnBeforeModelLoad = "on_before_model_load",
        /// A backend has answered for a model for the first time.
        OnAfterModelLoad = "on_after_model_load",
        /// Another backend or model is asked than before.
        OnModelSwitch = "on_model_switch",
        /// A backend is about to be asked again.
        OnRetry = "on_retry",
        /// Something was raised in a plugin.
        OnError = "on_error",
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

impl HookName {
    /// Whether a plugin may change or refuse what it is told of, and not only look.
    pub const fn may_intervene(self) -> bool {
        matches!(self, Self::OnRequestStart | Self::OnBeforeMessage | Self::OnStreamChunk | Self::OnAfterMessage)
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
    /// What the answer does.
    #[serde(skip_serializing_if = "observes")]
    pub effect: Effect,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn observes(effect: &Effect) -> bool {
    *effect == Effect::Observe
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
