//! Conversations and messages.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// A conversation to begin.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConversation {
    /// What to call it, up to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "support")]
    pub title: Option<String>,
}

/// A conversation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationView {
    /// Its id.
    #[schema(example = "conversation_01920000000070008000000000000000")]
    pub id: String,
    /// What it is called.
    pub title: Option<String>,
    /// When it was begun.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// One page of conversations, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConversationList {
    /// The conversations.
    pub conversations: Vec<ConversationView>,
    /// Pass it as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// A message to post: a text or a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// The text, up to 32 KiB. One whose first word is a command goes to the plugin that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/myplugin a b")]
    pub text: Option<String>,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<NewFile>,
    /// Who wrote it, as plugins are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "john_doe")]
    pub user: Option<String>,
    /// Where, as plugins are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "#general")]
    pub channel: Option<String>,
}

/// A file to post, up to 2 MiB.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    /// Its name, without folders.
    #[schema(example = "notes.txt")]
    pub name: String,
    /// Its media type.
    #[schema(example = "text/plain")]
    pub media_type: String,
    /// Its content in base64. It is hashed and not kept.
    pub content_base64: String,
}

/// A file that was posted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// Its media type, as whoever posted it says.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// Their sha256 in hex.
    pub sha256: String,
}

/// A message.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    #[schema(example = "message_01920000000070008000000000000000")]
    pub id: String,
    /// The conversation.
    pub conversation: String,
    /// What it says; empty with a file.
    pub text: String,
    /// `user`, or `plugin` for what a plugin wrote.
    #[schema(example = "user")]
    pub role: String,
    /// Who wrote it, as the one who posted it says.
    pub user: Option<String>,
    /// Where, as the one who posted it says.
    pub channel: Option<String>,
    /// The plugin that wrote it.
    pub plugin: Option<String>,
    /// The file that it is.
    pub file: Option<FileView>,
    /// When.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

/// One page of messages, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageList {
    /// The messages.
    pub messages: Vec<MessageView>,
    /// Pass it as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

/// What a plugin had to say about a message.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AnswerView {
    /// Name of the plugin.
    pub plugin: String,
    /// `on_message`, `on_file_upload` or `on_command`.
    #[schema(example = "on_command")]
    pub hook: String,
    /// What it said, any JSON.
    #[schema(value_type = Value)]
    pub result: Box<RawValue>,
    /// The same for people, where the plugin says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A plugin that should have said something and did not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HookErrorView {
    /// Name of the plugin.
    pub plugin: String,
    /// `on_message`, `on_file_upload` or `on_command`.
    #[schema(example = "on_message")]
    pub hook: String,
    /// The code of a problem, or `raised` or `failed` for what went wrong inside the plugin.
    #[schema(example = "plugin-timeout")]
    pub code: String,
    /// What went wrong.
    pub error: String,
    /// The kind of exception that it raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_kind: Option<String>,
}

/// A message was posted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MessagePosted {
    /// The message.
    pub message: MessageView,
    /// What plugins said, by the priority of their hooks, then by name.
    pub answers: Vec<AnswerView>,
    /// Plugins that said nothing, in the same order.
    pub errors: Vec<HookErrorView>,
}
