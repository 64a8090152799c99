//! Why the chat did not do as asked.

use plugbay_domain::{Code, Refusal};
use plugbay_operations::ServiceError;

use crate::conversation::SplitError;

/// Why the chat did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The service did not do as asked.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// No conversation has this id, or it was dropped.
    #[error("there is no conversation `{wanted}`")]
    ConversationUnknown {
        /// What was asked for, escaped.
        wanted: String,
    },
    /// A hook that may refuse messages failed.
    #[error("{by} refused the message: {text}")]
    Blocked {
        /// The plugin, as far as the caller may know.
        by: String,
        /// What it said, or why it said nothing.
        text: String,
    },
    /// The words of a command cannot be told apart.
    #[error("the arguments of `{command}`: {source}")]
    Command {
        /// The command.
        command: String,
        /// What is wrong.
        source: SplitError,
    },
}

impl Refusal for ChatError {
    fn code(&self) -> Code {
        match self {
            Self::Service(error) => error.code(),
            Self::ConversationUnknown { .. } => Code::ConversationUnknown,
            Self::Blocked { .. } => Code::HookBlocked,
            Self::Command { .. } => Code::CommandInvalid,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Service(error) => error.how(),
            Self::ConversationUnknown { .. } | Self::Blocked { .. } | Self::Command { .. } => None,
        }
    }
}
