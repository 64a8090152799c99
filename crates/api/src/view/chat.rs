//! The chat, as it is shown.

use plugbay_chat::{HookAnswer, HookFailure, Posted};
use plugbay_domain::{Conversation, Message};
use plugbay_wire as wire;

pub(crate) fn conversation(conversation: &Conversation) -> wire::ConversationView {
    wire::ConversationView {
        id: conversation.id.to_string(),
        title: conversation.title.clone(),
        created_at: conversation.created_at.to_string(),
    }
}

pub(crate) fn message(message: &Message) -> wire::MessageView {
    wire::MessageView {
        id: message.id.to_string(),
        conversation: message.conversation.to_string(),
        text: message.text.clone(),
        role: message.author.role().to_string(),
        user: message.author.user().map(str::to_owned),
        channel: message.author.channel().map(str::to_owned),
        plugin: message.author.plugin().map(ToString::to_string),
        file: message.file.as_ref().map(|file| wire::FileView {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: file.size,
            sha256: file.sha256.to_hex(),
        }),
        timestamp: message.at.to_string(),
    }
}

pub(crate) fn posted(posted: Posted) -> wire::MessagePosted {
    let answer = |answer: HookAnswer| wire::AnswerView {
        plugin: answer.plugin.to_string(),
        hook: answer.hook.to_string(),
        result: answer.result,
        message: answer.message,
    };
    let error = |failure: HookFailure| wire::HookErrorView {
        plugin: failure.plugin.to_string(),
        hook: failure.hook.to_string(),
        code: failure.code.to_owned(),
        error: failure.text,
        error_kind: failure.kind,
    };
    wire::MessagePosted {
        message: message(&posted.message),
        answers: posted.answers.into_iter().map(answer).collect(),
        errors: posted.errors.into_iter().map(error).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::{Author, ConversationId, Digest, MessageId, PostedFile, Timestamp};

    #[test]
    fn callers_and_plugins_are_shown_the_same() {
        let file = PostedFile {
            name: "a.txt".to_owned(),
            media_type: "text/plain".to_owned(),
            size: 3,
            sha256: Digest::from_bytes([7; 32]),
        };
        let user = Author::User { user: Some("u".to_owned()), channel: Some("#c".to_owned()) };
        for (author, file) in [(user, Some(file)), (Author::Plugin("echo".parse().unwrap()), None)] {
            let shown = Message {
                id: MessageId::generate(),
                conversation: ConversationId::generate(),
                text: "t".to_owned(),
                author,
                file,
                at: Timestamp::from_millis(1_800_000_000_123).unwrap(),
            };
            assert_eq!(serde_json::to_value(message(&shown)).unwrap(), shown.to_json());
        }
    }
}
