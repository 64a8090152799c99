//! Conversations and messages, bounded: the oldest messages of a conversation and the conversations that were used least
//! recently make room for new ones.

#[cfg(test)]
mod tests;

use serde::Deserialize;
use sqlx::SqliteConnection;

use super::StoreError;
use plugbay_domain::{
    Author, Conversation, ConversationId, Digest, Message, MessageId, PluginName, PostedFile, Timestamp,
};

/// Conversations that are kept. Stops callers from filling the disk; the least recently used one is dropped.
pub const MAX_CONVERSATIONS: i64 = 1_000;

/// Messages of a conversation that are kept; the oldest ones are dropped.
pub const MAX_MESSAGES: i64 = 1_000;

/// Bytes of text of a conversation that are kept; the oldest messages are dropped.
pub const MAX_CONVERSATION_BYTES: i64 = 1024 * 1024;

/// Whether a message can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// By everybody.
    Shown,
    /// Not yet: a hook may still refuse it.
    Held,
}

/// A conversation or message with its place in the order of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// Its place.
    pub seq: i64,
    /// What is there.
    pub value: T,
}

#[derive(Debug)]
struct ConversationRow {
    seq: i64,
    id: String,
    title: Option<String>,
    created_at: i64,
}

impl TryFrom<ConversationRow> for Placed<Conversation> {
    type Error = StoreError;

    fn try_from(row: ConversationRow) -> Result<Self, StoreError> {
        let id = row.id.parse().map_err(|error| StoreError::bad_row("conversations", &row.id, error))?;
        let created_at = read_time("conversations", &row.id, row.created_at)?;
        Ok(Self { seq: row.seq, value: Conversation { id, title: row.title, created_at } })
    }
}

#[derive(Debug)]
struct MessageRow {
    seq: i64,
    id: String,
    conversation_id: String,
    at: i64,
    text: String,
    user: Option<String>,
    channel: Option<String>,
    plugin: Option<String>,
    file: Option<String>,
}

#[derive(Deserialize)]
struct StoredFile {
    name: String,
    media_type: String,
    size: u64,
    sha256: Digest,
}

impl TryFrom<MessageRow> for Placed<Message> {
    type Error = StoreError;

    fn try_from(row: MessageRow) -> Result<Self, StoreError> {
        let bad = |found: String| StoreError::bad_row("messages", &row.id, found);
        let author = match &row.plugin {
            Some(name) => Author::Plugin(name.parse::<PluginName>().map_err(|error| bad(error.to_string()))?),
            None => Author::User { user: row.user, channel: row.channel },
        };
        let file = row.file.as_deref().map(serde_json::from_str::<StoredFile>).transpose();
        let file = file.map_err(|error| bad(error.to_string()))?.map(|stored| {
            let StoredFile { name, media_type, size, sha256 } = stored;
            PostedFile { name, media_type, size, sha256 }
        });
        let message = Message {
            id: row.id.parse::<MessageId>().map_err(|error| bad(error.to_string()))?,
            conversation: row.conversation_id.parse::<ConversationId>().map_err(|error| bad(error.to_string()))?,
            author,
            file,
            at: read_time("messages", &row.id, row.at)?,
            text: row.text,
        };
        Ok(Self { seq: row.seq, value: message })
    }
}

fn read_time(table: &'static str, row: &str, millis: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millis(millis).ok_or_else(|| StoreError::bad_row(table, row, format!("time {millis}")))
}

/// Keeps a conversation, in place of those that were used least recently.
pub async fn insert_conversation(
    connection: &mut SqliteConnection,
    conversation: &Conversation,
) -> Result<(), StoreError> {
    let (id, created_at) = (conversation.id.to_string(), conversation.created_at.as_millis());
    sqlx::query!(
        "INSERT INTO conversations (id, title, created_at, used_at) VALUES (?1, ?2, ?3, ?3)",
        id,
        conversation.title,
        created_at,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM conversations
         WHERE seq IN (SELECT seq FROM conversations WHERE id <> ? ORDER BY used_at DESC, seq DESC LIMIT -1 OFFSET ?)",
        id,
        MAX_CONVERSATIONS - 1,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells whether there is this conversation.
pub async fn has_conversation(connection: &mut SqliteConnection, id: ConversationId) -> Result<bool, StoreError> {
    let id = id.to_string();
    let found = sqlx::query_scalar!("SELECT seq FROM conversations WHERE id = ?", id);
    Ok(found.fetch_optional(connection).await?.is_some())
}

/// Conversations, newest first.
pub async fn list_conversations(
    connection: &mut SqliteConnection,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Placed<Conversation>>, StoreError> {
    let rows = sqlx::query_as!(
        ConversationRow,
        "SELECT seq, id, title, created_at
         FROM conversations
         WHERE ?1 IS NULL OR seq < ?1
         ORDER BY seq DESC
         LIMIT ?2",
        before,
        limit,
    );
    rows.fetch_all(connection).await?.into_iter().map(TryFrom::try_from).collect()
}

/// Keeps a message of a conversation that is there, in place of the oldest ones. False if the conversation is not.
pub async fn insert_message(
    connection: &mut SqliteConnection,
    message: &Message,
    visibility: Visibility,
) -> Result<bool, StoreError> {
    let (id, conversation) = (message.id.to_string(), message.conversation.to_string());
    let (at, is_held) = (message.at.as_millis(), visibility == Visibility::Held);
    let used = sqlx::query!("UPDATE conversations SET used_at = ? WHERE id = ?", at, conversation);
    if used.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    let file = message.file.as_ref().map(|file| {
        let PostedFile { name, media_type, size, sha256 } = file;
        serde_json::json!({"name": name, "media_type": media_type, "size": size, "sha256": sha256}).to_string()
    });
    let (user, channel) = (message.author.user(), message.author.channel());
    let plugin = message.author.plugin().map(PluginName::as_str);
    sqlx::query!(
        "INSERT INTO messages (id, conversation_id, held, at, text, user, channel, plugin, file)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        conversation,
        is_held,
        at,
        message.text,
        user,
        channel,
        plugin,
        file,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "DELETE FROM messages
         WHERE seq IN (
             SELECT seq
             FROM (SELECT seq, ROW_NUMBER() OVER newer AS place, SUM(OCTET_LENGTH(text)) OVER newer AS bytes
                   FROM messages
                   WHERE conversation_id = ?1
                   WINDOW newer AS (ORDER BY seq DESC))
             WHERE place > ?2 OR bytes > ?3)",
        conversation,
        MAX_MESSAGES,
        MAX_CONVERSATION_BYTES,
    )
    .execute(connection)
    .await?;
    Ok(true)
}

/// Lets everybody see a message that was held.
pub async fn show_message(connection: &mut SqliteConnection, id: MessageId) -> Result<(), StoreError> {
    let id = id.to_string();
    sqlx::query!("UPDATE messages SET held = 0 WHERE id = ?", id).execute(connection).await?;
    Ok(())
}

/// Removes a message that was refused.
pub async fn delete_message(connection: &mut SqliteConnection, id: MessageId) -> Result<(), StoreError> {
    let id = id.to_string();
    sqlx::query!("DELETE FROM messages WHERE id = ?", id).execute(connection).await?;
    Ok(())
}

/// Removes what was held when the service ended: nobody was told that it was posted.
pub async fn remove_held(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM messages WHERE held = 1").execute(connection).await?;
    Ok(())
}

/// Messages of a conversation, oldest first.
pub async fn list_messages(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<Placed<Message>>, StoreError> {
    let conversation = conversation.to_string();
    let rows = sqlx::query_as!(
        MessageRow,
        "SELECT seq, id, conversation_id, at, text, user, channel, plugin, file
         FROM messages
         WHERE conversation_id = ?1 AND held = 0 AND (?2 IS NULL OR seq > ?2)
         ORDER BY seq
         LIMIT ?3",
        conversation,
        after,
        limit,
    );
    rows.fetch_all(connection).await?.into_iter().map(TryFrom::try_from).collect()
}

/// The latest messages of a conversation, oldest first.
pub async fn latest_messages(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    limit: i64,
) -> Result<Vec<Message>, StoreError> {
    let conversation = conversation.to_string();
    let rows = sqlx::query_as!(
        MessageRow,
        "SELECT seq, id, conversation_id, at, text, user, channel, plugin, file
         FROM messages
         WHERE conversation_id = ? AND held = 0
         ORDER BY seq DESC
         LIMIT ?",
        conversation,
        limit,
    );
    let rows = rows.fetch_all(connection).await?;
    rows.into_iter().rev().map(|row| Ok(Placed::<Message>::try_from(row)?.value)).collect()
}
