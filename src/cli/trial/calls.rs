//! What is called in a trial: hooks and commands by a message in a chat, as people would write it, and a method.

use std::path::Path;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::fake_host::read_small;
use crate::cli::client::read_context;
use crate::cli::failure::{Failure, Local};
use crate::domain::{Hook, HookName, Manifest, Word as _, escape};
use crate::wire::{AnswerView, ExecuteRequest, HookErrorView, NewFile, NewMessage};

/// The method that is called unless another one is named.
const METHOD: &str = "execute";

/// What to call.
#[derive(Debug, clap::Args)]
pub(super) struct CallArguments {
    /// What the method is called with [default: {}]
    #[arg(long, value_name = "JSON")]
    context: Option<String>,
    /// Call this method [default: execute, where no hook and no command is called]
    #[arg(long, value_name = "NAME", conflicts_with = "no_sandbox")]
    method: Option<String>,
    /// Show what the method yields as it comes
    #[arg(long, conflicts_with = "no_sandbox")]
    stream: bool,
    /// Call a hook with this message or file: `on_message` '{"text": "hi"}'; @FILE reads it
    #[arg(long, num_args = 2, value_names = ["NAME", "JSON|@FILE"], conflicts_with = "no_sandbox")]
    hook: Vec<String>,
    /// Call a command, as it is typed in a chat: "/roll 3"
    #[arg(long, value_name = "TEXT", conflicts_with = "no_sandbox")]
    command: Vec<String>,
}

/// What to call, in its order: hooks, commands, the method.
pub(super) struct Calls {
    pub(super) messages: Vec<Said>,
    pub(super) method: Option<MethodCall>,
}

/// A message in the chat.
pub(super) struct Said {
    hook: HookName,
    pub(super) message: NewMessage,
}

/// A call of a method.
pub(super) struct MethodCall {
    pub(super) request: ExecuteRequest,
    pub(super) streams: bool,
    /// The author asked for this call by a flag. One without a flag is left out where there is no such method.
    pub(super) is_asked_for: bool,
}

/// What a hook or a command answered.
#[derive(Serialize)]
pub(super) struct Heard {
    /// Which one it was.
    pub(super) hook: String,
    pub(super) answers: Vec<AnswerView>,
    pub(super) errors: Vec<HookErrorView>,
}

impl CallArguments {
    /// Reads what is written in JSON.
    pub(super) fn read(&self) -> Result<Calls, Failure> {
        let mut messages = Vec::new();
        for pair in self.hook.chunks_exact(2) {
            messages.push(hook(&pair[0], &pair[1])?);
        }
        let command = |text: &String| Said { hook: HookName::OnCommand, message: text_message(text) };
        messages.extend(self.command.iter().map(command));
        let is_asked_for = self.method.is_some() || self.stream || self.context.is_some();
        let context = Some(read_context(self.context.as_deref().unwrap_or("{}"))?);
        let request = ExecuteRequest { context, method: self.method.clone(), ..ExecuteRequest::default() };
        let method = MethodCall { request, streams: self.stream, is_asked_for };
        Ok(Calls { method: (is_asked_for || messages.is_empty()).then_some(method), messages })
    }
}

impl Calls {
    /// Refuses what the plugin does not declare, and would never be called with.
    pub(super) fn check(&self, manifest: &Manifest) -> Result<(), Failure> {
        for Said { hook, message } in &self.messages {
            let word = message.text.as_deref().unwrap_or_default().split_whitespace().next().unwrap_or_default();
            let is_command = manifest.commands.iter().any(|command| command.name == word);
            let (is_declared, detail, how) = match hook {
                HookName::OnCommand => {
                    let names: Vec<&str> = manifest.commands.iter().map(|command| command.name.as_str()).collect();
                    let how = match names.as_slice() {
                        [] => format!("add `commands: [{{ name: {} }}]` to plugin.yaml", escape(word)),
                        names => format!("it declares {}", names.join(", ")),
                    };
                    (is_command, format!("plugin.yaml declares no command `{}`", escape(word)), how)
                }
                HookName::OnMessage if is_command => {
                    let detail =
                        format!("a message that begins with `{word}` is a command, and no hook is called for it");
                    (false, detail, "--command calls it".to_owned())
                }
                hook => {
                    let is_declared = manifest.hooks.iter().any(|Hook { name, .. }| name == hook);
                    let how = format!("add `hooks: [{hook}]` to plugin.yaml");
                    (is_declared, format!("plugin.yaml declares no hook `{hook}`"), how)
                }
            };
            if !is_declared {
                return Err(Failure::local(Local::Usage, detail, how));
            }
        }
        Ok(())
    }
}

impl Said {
    /// The hook as it is shown.
    pub(super) fn name(&self) -> String {
        self.hook.to_string()
    }
}

impl MethodCall {
    /// The method that is called.
    pub(super) fn name(&self) -> &str {
        self.request.method.as_deref().unwrap_or(METHOD)
    }
}

fn text_message(text: &str) -> NewMessage {
    NewMessage { text: Some(text.to_owned()), ..NewMessage::default() }
}

/// What `on_file_upload` may be given: the content may be written as a text, and what does not matter left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGiven {
    name: String,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    content: String,
    #[serde(default)]
    content_base64: Option<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    channel: Option<String>,
}

/// What `on_message` may be given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageGiven {
    text: String,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    channel: Option<String>,
}

fn hook(name: &str, json: &str) -> Result<Said, Failure> {
    let hook = HookName::ALL.iter().copied().find(|hook| hook.as_str() == name);
    let text = match json.strip_prefix('@') {
        Some(path) => String::from_utf8_lossy(&read_small(Path::new(path))?).into_owned(),
        None => json.to_owned(),
    };
    let message = match hook {
        Some(HookName::OnMessage) => {
            let MessageGiven { text, user, channel } = read(name, &text, r#"{"text": "hi", "user": "ada"}"#)?;
            NewMessage { text: Some(text), user, channel, file: None }
        }
        Some(HookName::OnFileUpload) => {
            let given: FileGiven = read(name, &text, r#"{"name": "notes.txt", "content": "hello"}"#)?;
            let FileGiven { name, media_type, content, content_base64, user, channel } = given;
            let media_type = media_type.unwrap_or_else(|| "application/octet-stream".to_owned());
            let content_base64 = content_base64.unwrap_or_else(|| BASE64.encode(content.as_bytes()));
            NewMessage { file: Some(NewFile { name, media_type, content_base64 }), user, channel, text: None }
        }
        Some(_) | None => {
            let detail = format!("`{}` is no hook that --hook calls", escape(name));
            let how = "--hook on_message, --hook on_file_upload, or --command \"/name words\" for a command";
            return Err(Failure::local(Local::Usage, detail, how));
        }
    };
    Ok(Said { hook: hook.unwrap_or(HookName::OnMessage), message })
}

fn read<T: serde::de::DeserializeOwned>(hook: &str, text: &str, example: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let how = format!("write JSON in single quotes: --hook {hook} '{example}'; or @FILE");
        Failure::local(Local::Usage, format!("what `{hook}` is called with cannot be read: {error}"), how)
    })
}
