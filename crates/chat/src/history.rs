//! What was said before in a conversation: sent along with the next message, and kept as it passed the plugins.

use plugbay_dialects::{Answer, ChatMessage, Content, Role};
use plugbay_domain::{Author, Chain, ConversationId, Message, MessageId, PluginName};
use plugbay_operations::{Service, ServiceError};
use plugbay_registry::Caller;
use plugbay_store::StoreError;
use plugbay_store::chat::{self, Visibility};
use serde_json::Map;

use crate::course::Course;

/// Messages of a conversation that are sent along.
const MAX_SENT: i64 = 200;

/// The latest messages of a conversation, as far as the caller may see who wrote them.
pub(crate) async fn load(
    service: &Service,
    caller: &Caller,
    conversation: ConversationId,
) -> Result<Vec<ChatMessage>, ServiceError> {
    let mut reader = service.store().reader().await?;
    let messages = chat::latest_messages(&mut reader, conversation, MAX_SENT).await?;
    let seen = messages.into_iter().filter(|message| message.author.plugin().is_none_or(|name| caller.may_see(name)));
    Ok(seen.filter(|message| !message.text.is_empty()).map(said).collect())
}

fn said(message: Message) -> ChatMessage {
    let role = if message.author.plugin().is_some() { Role::Assistant } else { Role::User };
    let name = message.author.user().map(ToOwned::to_owned);
    ChatMessage {
        role,
        content: Content::Text(message.text),
        name,
        tool_calls: Vec::new(),
        tool_call_id: None,
        extra: Map::new(),
    }
}

/// Keeps the last message of the user and what was answered. An exchange that was answered stays so if this fails.
pub(crate) async fn keep(course: &Course, answer: &Answer) {
    let (Some(conversation), Some(backend)) = (course.conversation, course.backend.clone()) else { return };
    let asked = course.messages.iter().rev().find(|kept| kept.message.role == Role::User);
    let asked: String = asked.map(|kept| kept.message.content.texts().collect()).unwrap_or_default();
    let answered = answer.choices.first().and_then(|choice| choice.text.clone()).unwrap_or_default();
    if let Err(error) = write(course, conversation, asked, (backend, answered)).await {
        tracing::error!(error = %Chain(&error), "What was said in a conversation was not kept");
    }
}

async fn write(
    course: &Course,
    conversation: ConversationId,
    asked: String,
    (backend, answered): (PluginName, String),
) -> Result<(), StoreError> {
    let service = &course.state.service;
    let message =
        |author, text| Message { id: MessageId::generate(), conversation, text, author, file: None, at: service.now() };
    let user = Author::User { user: course.request.user.clone(), channel: None };
    let mut tx = service.store().begin().await?;
    for message in [message(user, asked), message(Author::Plugin(backend), answered)] {
        // A conversation that was dropped meanwhile keeps nothing.
        if !message.text.is_empty() {
            chat::insert_message(&mut tx, &message, Visibility::Shown).await?;
        }
    }
    tx.commit().await
}
