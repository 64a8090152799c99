//! `chat.send` and `chat.history`: the conversation of the message, file or command that a call serves, and no other one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;

use super::need::{Granted, Params};
use super::{Host, HostError};
use plugbay_domain::{Author, Code, ConversationId, MAX_MESSAGE_BYTES, Message, MessageId, Origin, Timestamp};
use plugbay_store::chat::Visibility;

/// Messages of one plugin in a minute. Stops one that would push everything else out of its conversation.
const MOST_IN_A_MINUTE: u32 = 60;

/// How long messages are counted together.
const MINUTE: Duration = Duration::from_mins(1);

/// Messages of the history that a plugin gets at once.
const MOST_MESSAGES: i64 = 100;

/// What a session has written in the present minute.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<Option<(Timestamp, u32)>>);

impl Written {
    /// Counts one more message, if it may be written.
    fn count(&self, now: Timestamp) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = written.filter(|(since, _)| now.since(*since) < MINUTE).unwrap_or((now, 0));
        *written = Some((since, count.saturating_add(1)));
        count < MOST_IN_A_MINUTE
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    text: String,
    #[serde(default)]
    conversation: Option<ConversationId>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    conversation: Option<ConversationId>,
    #[serde(rename = "call", default)]
    _call: Option<IgnoredAny>,
}

impl Params<'_> for Send {}

impl Params<'_> for History {}

pub(super) async fn send(host: &Host, send: Granted<Send>, origin: Origin) -> Result<Box<RawValue>, HostError> {
    let send = send.params();
    let conversation = the_conversation(origin, send.conversation)?;
    if send.text.is_empty() || send.text.len() > MAX_MESSAGE_BYTES {
        let found = send.text.len();
        let rule = format!("`text` has 1 to {MAX_MESSAGE_BYTES} bytes, found {found}");
        return Err(HostError::Invalid { rule });
    }
    let at = host.parts.clock.now();
    if !host.written.count(at) {
        let rule = format!("a plugin writes at most {MOST_IN_A_MINUTE} messages in a minute");
        return Err(HostError::Refused { code: Code::RateLimited, rule });
    }
    let mut tx = host.store.begin().await?;
    let author = Author::Plugin(host.asker.name.clone());
    let message = Message { id: MessageId::generate(), conversation, text: send.text, author, file: None, at };
    if !plugbay_store::chat::insert_message(&mut tx, &message, Visibility::Shown).await? {
        let rule = format!("{conversation} was dropped: too many others were used since");
        return Err(HostError::Refused { code: Code::ConversationUnknown, rule });
    }
    tx.commit().await?;
    Ok(super::json(&message.to_json()))
}

pub(super) async fn history(
    host: &Host,
    history: Granted<History>,
    origin: Origin,
) -> Result<Box<RawValue>, HostError> {
    let history = history.params();
    let conversation = the_conversation(origin, history.conversation)?;
    let limit = history.limit.unwrap_or(MOST_MESSAGES);
    if !(1..=MOST_MESSAGES).contains(&limit) {
        let rule = format!("`limit` is 1 to {MOST_MESSAGES}, found {limit}");
        return Err(HostError::Invalid { rule });
    }
    let mut reader = host.store.reader().await?;
    let messages = plugbay_store::chat::latest_messages(&mut reader, conversation, limit).await?;
    let messages: Vec<_> = messages.iter().map(Message::to_json).collect();
    Ok(super::json(&json!({ "messages": messages })))
}

/// The one conversation that may be used.
fn the_conversation(origin: Origin, wanted: Option<ConversationId>) -> Result<ConversationId, HostError> {
    let refused = |rule| Err(HostError::Refused { code: Code::ConversationOutOfReach, rule });
    match (origin.conversation, wanted) {
        (None, _) => refused("the call does not come from the chat, so there is no conversation".to_owned()),
        (Some(own), Some(wanted)) if own != wanted => {
            refused(format!("the call is of {own}, and only that conversation may be used; found {wanted}"))
        }
        (Some(own), _) => Ok(own),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::time::Instant;

    use super::*;
    use crate::host::Asked;
    use plugbay_domain::{Conversation, Permission, PermissionUnit};

    async fn bench() -> (tempfile::TempDir, Host, Conversation) {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::for_testing(folder.path()).await;
        let chat = [PermissionUnit::whole(Permission::ChatAccess)];
        host.asker.grants.store(std::sync::Arc::new(plugbay_domain::Grants::of(&chat)));
        let created_at = host.parts.clock.now();
        let conversation = Conversation { id: ConversationId::generate(), title: None, created_at };
        let mut tx = host.parts.store.begin().await.unwrap();
        plugbay_store::chat::insert_conversation(&mut tx, &conversation).await.unwrap();
        tx.commit().await.unwrap();
        (folder, host, conversation)
    }

    async fn ask(host: &Host, of: ConversationId, function: &str, params: Value) -> Result<Value, HostError> {
        let (params, deadline) = (params.to_string(), Instant::now() + MINUTE);
        let origin = Origin { conversation: Some(of), depth: 0 };
        let answer = host.answer(Asked { function, params: &params, call: None, deadline, origin, over: None }).await?;
        Ok(serde_json::from_str(answer.get()).unwrap())
    }

    #[tokio::test]
    async fn a_text_has_at_most_as_many_bytes_as_a_message() {
        let (_folder, host, conversation) = bench().await;
        let most = "é".repeat(MAX_MESSAGE_BYTES / 2);
        ask(&host, conversation.id, "chat.send", json!({ "text": most })).await.unwrap();
        for text in [format!("{most}x"), String::new()] {
            let refused = ask(&host, conversation.id, "chat.send", json!({ "text": text })).await;
            assert!(matches!(refused, Err(HostError::Invalid { .. })), "{refused:?}");
        }
        let history = ask(&host, conversation.id, "chat.history", json!({})).await.unwrap();
        assert_eq!(history["messages"].as_array().unwrap().len(), 1);
        assert_eq!(history["messages"][0]["text"], most);
    }

    #[tokio::test]
    async fn a_conversation_that_was_dropped_takes_nothing() {
        let (_folder, host, _) = bench().await;
        let gone = ConversationId::generate();
        let refused = ask(&host, gone, "chat.send", json!({"text": "x"})).await.unwrap_err();
        assert_eq!(refused.data(), Some(json!({"code": "conversation-unknown"})));
    }
}
