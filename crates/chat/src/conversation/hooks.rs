//! Which plugins a message is for, and what they answer. All are told at once and get the same; answers are ordered by
//! priority, then by name.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use plugbay_domain::{
    Chain, Effect, ErrorKind, Hook, HookName, Message, OnFailure, Origin, PluginName, PostedFile, Priority,
    Refusal as _,
};
use plugbay_fleet::{CallRequest, Execution, FleetError, calls};
use plugbay_operations::{Listener, Service};
use plugbay_registry::Caller;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::split::split;
use crate::ChatError;

/// What a plugin had to say.
#[derive(Debug)]
pub struct HookAnswer {
    /// Which plugin.
    pub plugin: PluginName,
    /// To what.
    pub hook: HookName,
    /// What it said.
    pub result: Box<RawValue>,
    /// The same for people, where the plugin says so.
    pub message: Option<String>,
}

/// Why a plugin had nothing to say.
#[derive(Debug)]
pub struct HookFailure {
    /// Which plugin.
    pub plugin: PluginName,
    /// To what.
    pub hook: HookName,
    /// A problem's code, or `raised` or `failed` for what went wrong inside the plugin.
    pub code: &'static str,
    /// What went wrong.
    pub text: String,
    /// The kind of exception that it raised.
    pub kind: Option<String>,
    /// Whether it refuses the message by that.
    pub blocks: bool,
}

/// A plugin that is told of a message.
#[derive(Debug)]
struct Recipient {
    plugin: PluginName,
    hook: Hook,
}

/// Everybody who is told of a message, and what.
#[derive(Debug)]
pub(super) struct Round {
    recipients: Vec<Recipient>,
    params: Value,
}

/// What came of it, in order.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) answers: Vec<HookAnswer>,
    pub(super) failures: Vec<HookFailure>,
}

impl Round {
    /// Whom the message is for. A command of a plugin that the caller may not see is an ordinary message.
    pub(super) fn new(listeners: Vec<Listener>, caller: &Caller, message: &Message) -> Result<Self, ChatError> {
        if let Some(file) = &message.file {
            return Ok(Self::of_hook(listeners, HookName::OnFileUpload, on_file_upload(message, file)));
        }
        let text = message.text.trim_start();
        let command = text.split_whitespace().next().unwrap_or_default();
        let has_command = |listener: &&Listener| {
            caller.may_see(&listener.name) && listener.manifest.commands.iter().any(|own| own.name == command)
        };
        let Some(listener) = listeners.iter().find(has_command) else {
            return Ok(Self::of_hook(listeners, HookName::OnMessage, on_message(message)));
        };
        let args = split(text.strip_prefix(command).unwrap_or_default())
            .map_err(|source| ChatError::Command { command: command.to_owned(), source })?;
        let hook = hook_of(listener, HookName::OnCommand).unwrap_or(Hook {
            name: HookName::OnCommand,
            priority: Priority::Normal,
            timeout_ms: None,
            on_failure: OnFailure::Ignore,
            effect: Effect::Observe,
        });
        let recipients = vec![Recipient { plugin: listener.name.clone(), hook }];
        Ok(Self { recipients, params: json!({"command": command, "args": args}) })
    }

    fn of_hook(listeners: Vec<Listener>, name: HookName, params: Value) -> Self {
        let recipient = |listener: Listener| {
            let hook = hook_of(&listener, name)?;
            Some(Recipient { plugin: listener.name, hook })
        };
        let mut recipients: Vec<_> = listeners.into_iter().filter_map(recipient).collect();
        // They come by name, and the order of equals stays.
        recipients.sort_by_key(|recipient| recipient.hook.priority);
        Self { recipients, params }
    }

    /// Whether anybody may refuse the message.
    pub(super) fn may_block(&self) -> bool {
        self.recipients.iter().any(|recipient| recipient.hook.on_failure == OnFailure::Block)
    }

    /// Tells everybody at once and waits for all of them, each within its own time.
    pub(super) async fn run(&self, service: &Arc<Service>, message: &Message, trace: Option<&str>) -> Outcome {
        let origin = Origin { conversation: Some(message.conversation), depth: 0 };
        let told = self.recipients.iter().map(|Recipient { plugin, hook }| {
            let timeout = hook.timeout_ms.map(Duration::from_millis);
            let method = hook.name.as_str();
            let request =
                CallRequest::of_service(plugin, method, &self.params, timeout).with_origin(origin).with_trace(trace);
            async { calls::call(service.fleet(), request).await?.answer().await }
        });
        let told = join_all(told).await;
        let mut outcome = Outcome::default();
        for (recipient, told) in self.recipients.iter().zip(told) {
            match recipient.read(told) {
                Ok(answer) => outcome.answers.push(answer),
                Err(failure) => outcome.failures.push(failure),
            }
        }
        outcome
    }
}

impl Recipient {
    fn read(&self, told: Result<Execution, FleetError>) -> Result<HookAnswer, HookFailure> {
        let (plugin, hook) = (self.plugin.clone(), self.hook.name);
        let blocks = self.hook.on_failure == OnFailure::Block;
        match told {
            Ok(Execution { answer, .. }) if answer.success => {
                let result = answer.result.unwrap_or_else(|| RawValue::NULL.to_owned());
                Ok(HookAnswer { plugin, hook, result, message: answer.message })
            }
            Ok(Execution { answer, .. }) => {
                let code = if answer.error_kind.is_some() { "raised" } else { "failed" };
                let text = answer.error.or(answer.message).unwrap_or_else(|| "it did not say why".to_owned());
                Err(HookFailure { plugin, hook, code, text, kind: answer.error_kind, blocks })
            }
            Err(error) => {
                let code = error.code();
                let text = if code.kind() == ErrorKind::Internal {
                    tracing::error!(plugin.name = %plugin, error = %Chain(&error), "A hook was not called");
                    "the cause is in the service's log".to_owned()
                } else {
                    Chain(&error).to_string()
                };
                Err(HookFailure { plugin, hook, code: code.as_str(), text, kind: None, blocks })
            }
        }
    }
}

fn hook_of(listener: &Listener, name: HookName) -> Option<Hook> {
    listener.manifest.hooks.iter().find(|hook| hook.name == name).copied()
}

fn on_message(message: &Message) -> Value {
    json!({
        "id": message.id, "text": message.text, "content": message.text, "role": message.author.role(),
        "user": message.author.user(), "channel": message.author.channel(), "conversation": message.conversation,
        "timestamp": message.at.to_string(),
    })
}

fn on_file_upload(message: &Message, file: &PostedFile) -> Value {
    json!({
        "id": message.id, "name": file.name, "size": file.size, "media_type": file.media_type,
        "sha256": file.sha256.to_hex(),
    })
}
