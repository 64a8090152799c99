//! What people and plugins write to each other, and where a call comes from.

use super::{ConversationId, Digest, MessageId, PluginName, Timestamp, words};

/// Bytes of a message's text. Stops a message from costing more than what it is answered with.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// Where a call comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The conversation that it serves.
    pub conversation: Option<ConversationId>,
    /// Calls of plugins that led to it, one inside the other.
    pub depth: u8,
}

words! {
    /// Who wrote a message.
    Role {
        /// Somebody outside.
        User = "user",
        /// A plugin.
        Plugin = "plugin",
    }
}

/// A place where messages are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// What it is called.
    pub title: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
}

/// Who wrote a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Author {
    /// Somebody outside, as the host application names them.
    User {
        /// Who.
        user: Option<String>,
        /// Where.
        channel: Option<String>,
    },
    /// A plugin.
    Plugin(PluginName),
}

impl Author {
    /// The kind of author.
    pub fn role(&self) -> Role {
        match self {
            Self::User { .. } => Role::User,
            Self::Plugin(_) => Role::Plugin,
        }
    }

    /// Who, as the host application names them.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User { user, .. } => user.as_deref(),
            Self::Plugin(_) => None,
        }
    }

    /// Where, as the host application names it.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::User { channel, .. } => channel.as_deref(),
            Self::Plugin(_) => None,
        }
    }

    /// The plugin that wrote it.
    pub fn plugin(&self) -> Option<&PluginName> {
        match self {
            Self::User { .. } => None,
            Self::Plugin(name) => Some(name),
        }
    }
}

/// What is known of a file that was posted. Its content is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedFile {
    /// Its name.
    pub name: String,
    /// Its media type, as whoever posted it says.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// Their hash.
    pub sha256: Digest,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Where it was written.
    pub conversation: ConversationId,
    /// What it says; empty with a file.
    pub text: String,
    /// Who wrote it.
    pub author: Author,
    /// The file that it is.
    pub file: Option<PostedFile>,
    /// When.
    pub at: Timestamp,
}

impl Message {
    /// The message as callers and plugins are shown it.
    pub fn to_json(&self) -> serde_json::Value {
        let file = self.file.as_ref().map(|file| {
            serde_json::json!({
                "name": file.name, "media_type": file.media_type, "size": file.size, "sha256": file.sha256.to_hex(),
            })
        });
        serde_json::json!({
            "id": self.id, "conversation": self.conversation, "text": self.text, "role": self.author.role(),
            "user": self.author.user(), "channel": self.author.channel(), "plugin": self.author.plugin(),
            "file": file, "timestamp": self.at.to_string(),
        })
    }
}
