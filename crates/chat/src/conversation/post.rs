//! A message that somebody outside writes: kept, told to plugins, answered. While a hook may refuse it, nobody sees it.

use plugbay_domain::{Author, ConversationId, Digest, Message, MessageId, PostedFile};
use plugbay_operations as operations;
use plugbay_operations::ServiceError;
use plugbay_registry::Caller;
use plugbay_store::chat::Visibility;
use plugbay_store::{StoreError, chat};
use sha2::{Digest as _, Sha256};

use super::hooks::{Outcome, Round};
use super::{HookAnswer, HookFailure};
use crate::{Chat, ChatError};

/// What was written.
#[derive(Debug)]
pub enum Written {
    /// A text.
    Text(String),
    /// A file. Plugins learn what it is; its content is not kept.
    File {
        /// Its name.
        name: String,
        /// Its media type.
        media_type: String,
        /// Its content.
        content: Vec<u8>,
    },
}

/// A message on its way in.
#[derive(Debug)]
pub struct NewPost {
    /// What was written.
    pub written: Written,
    /// Who wrote it, as the host application names them.
    pub user: Option<String>,
    /// Where, as the host application names it.
    pub channel: Option<String>,
    /// The caller's traceparent.
    pub trace: Option<String>,
}

/// A message that was posted, and what plugins had to say about it.
#[derive(Debug)]
pub struct Posted {
    /// The message.
    pub message: Message,
    /// What plugins answered, in order.
    pub answers: Vec<HookAnswer>,
    /// What went wrong, in the same order.
    pub errors: Vec<HookFailure>,
}

impl Chat {
    /// Posts a message, tells the plugins it is for, and waits for their answers. It is done to its end, also when
    /// whoever posted it goes away.
    pub async fn post(&self, caller: Caller, wanted: &str, post: NewPost) -> Result<Posted, ChatError> {
        let conversation = self.find(wanted).await?;
        let chat = self.clone();
        let posting = async move { Ok(chat.post_to(&caller, conversation, post).await) };
        self.service.to_the_end("chat.post", posting).await?
    }

    async fn post_to(&self, caller: &Caller, conversation: ConversationId, post: NewPost) -> Result<Posted, ChatError> {
        let NewPost { written, user, channel, trace } = post;
        let (text, file) = match written {
            Written::Text(text) => (text, None),
            Written::File { name, media_type, content } => {
                let sha256 = Digest::from_bytes(Sha256::digest(&content).into());
                (String::new(), Some(PostedFile { name, media_type, size: content.len() as u64, sha256 }))
            }
        };
        let author = Author::User { user, channel };
        let message = Message { id: MessageId::generate(), conversation, text, author, file, at: self.service.now() };
        let round = Round::new(operations::listeners(&self.service).await?, caller, &message)?;
        let visibility = if round.may_block() { Visibility::Held } else { Visibility::Shown };
        if !self.keep(&message, visibility).await.map_err(ServiceError::from)? {
            return Err(ChatError::ConversationUnknown { wanted: conversation.to_string() });
        }
        let Outcome { answers, failures } = round.run(&self.service, &message, trace.as_deref()).await;
        let blocked = failures.iter().find(|failure| failure.blocks);
        if visibility == Visibility::Held {
            self.settle(&message, blocked.is_some()).await.map_err(ServiceError::from)?;
        }
        if let Some(blocked) = blocked {
            let (by, text) = if caller.may_see(&blocked.plugin) {
                (format!("`{}`", blocked.plugin), blocked.text.clone())
            } else {
                ("a plugin".to_owned(), "the token is not for it".to_owned())
            };
            return Err(ChatError::Blocked { by, text });
        }
        Ok(Posted {
            message,
            answers: answers.into_iter().filter(|answer| caller.may_see(&answer.plugin)).collect(),
            errors: failures.into_iter().filter(|failure| caller.may_see(&failure.plugin)).collect(),
        })
    }

    async fn keep(&self, message: &Message, visibility: Visibility) -> Result<bool, StoreError> {
        let mut tx = self.service.store().begin().await?;
        let is_kept = chat::insert_message(&mut tx, message, visibility).await?;
        tx.commit().await?;
        Ok(is_kept)
    }

    /// Lets a message be seen that was held, or forgets it.
    async fn settle(&self, message: &Message, is_blocked: bool) -> Result<(), StoreError> {
        let mut tx = self.service.store().begin().await?;
        if is_blocked {
            chat::delete_message(&mut tx, message.id).await?;
        } else {
            chat::show_message(&mut tx, message.id).await?;
        }
        tx.commit().await
    }
}
