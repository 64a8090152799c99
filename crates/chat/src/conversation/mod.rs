//! Conversations and messages, and which plugins hear of them. A message goes to the hooks of all plugins that may hear it,
//! or, when it is a command, to the one plugin that has the command.

mod hooks;
mod post;
mod split;

use plugbay_domain::{Conversation, ConversationId, Message};
use plugbay_operations::ServiceError;
use plugbay_registry::Caller;
use plugbay_store::chat;
use plugbay_store::chat::Placed;

use crate::{Chat, ChatError};

pub use hooks::{HookAnswer, HookFailure};
pub use post::{NewPost, Posted, Written};
pub(crate) use split::SplitError;

/// Bytes of a file that is posted. Stops a post from holding more memory than a call may.
pub const MAX_FILE_BYTES: usize = 2 * 1024 * 1024;

/// Some elements of a long list.
#[derive(Debug)]
pub struct Part<T> {
    /// The elements.
    pub found: Vec<T>,
    /// Where the next part begins, if there is one.
    pub next: Option<i64>,
}

impl<T> Part<T> {
    /// Takes a list apart of which one element more was asked for than `limit`.
    fn new(mut placed: Vec<Placed<T>>, limit: usize) -> Self {
        let more = placed.len() > limit;
        placed.truncate(limit);
        let next = placed.last().filter(|_| more).map(|last| last.seq);
        Self { found: placed.into_iter().map(|placed| placed.value).collect(), next }
    }
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

impl Chat {
    /// Begins a conversation.
    pub async fn create(&self, title: Option<String>) -> Result<Conversation, ChatError> {
        let conversation = Conversation { id: ConversationId::generate(), title, created_at: self.service.now() };
        let mut tx = self.service.store().begin().await.map_err(ServiceError::from)?;
        chat::insert_conversation(&mut tx, &conversation).await.map_err(ServiceError::from)?;
        tx.commit().await.map_err(ServiceError::from)?;
        Ok(conversation)
    }

    /// Conversations, newest first.
    pub async fn conversations(&self, before: Option<i64>, limit: usize) -> Result<Part<Conversation>, ChatError> {
        let mut reader = self.service.store().reader().await.map_err(ServiceError::from)?;
        let placed = chat::list_conversations(&mut reader, before, one_more(limit)).await;
        Ok(Part::new(placed.map_err(ServiceError::from)?, limit))
    }

    /// Messages of a conversation, oldest first; of plugins only those that the caller may see.
    pub async fn messages(
        &self,
        caller: &Caller,
        wanted: &str,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Part<Message>, ChatError> {
        let conversation = self.find(wanted).await?;
        let mut reader = self.service.store().reader().await.map_err(ServiceError::from)?;
        let placed = chat::list_messages(&mut reader, conversation, after, one_more(limit)).await;
        let mut part = Part::new(placed.map_err(ServiceError::from)?, limit);
        part.found.retain(|message| message.author.plugin().is_none_or(|name| caller.may_see(name)));
        Ok(part)
    }

    /// The conversation of this id.
    pub async fn conversation(&self, wanted: &str) -> Result<ConversationId, ChatError> {
        self.find(wanted).await
    }

    async fn find(&self, wanted: &str) -> Result<ConversationId, ChatError> {
        let unknown = || ChatError::ConversationUnknown { wanted: plugbay_domain::escape(wanted) };
        let id: ConversationId = wanted.parse().map_err(|_not_an_id| unknown())?;
        let mut reader = self.service.store().reader().await.map_err(ServiceError::from)?;
        let is_there = chat::has_conversation(&mut reader, id).await.map_err(ServiceError::from)?;
        if is_there { Ok(id) } else { Err(unknown()) }
    }
}
