//! Conversations and their messages, which plugins hear of.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use data_encoding::BASE64;
use plugbay_chat::{ChatError, MAX_FILE_BYTES, NewPost, Written};
use plugbay_domain::{Code, FieldError, MAX_MESSAGE_BYTES, Refusal as _};
use plugbay_wire::{
    ConversationList, ConversationView, MessageList, MessagePosted, NewConversation, NewFile, NewMessage,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::keys::Fields;
use super::openapi::{LookProblems, RunProblems, SendProblems};
use super::paging::{Page, invalid, query};
use super::permit::{Execute, NoBody, Permit};
use super::problem::Problem;
use super::{App, body, request, view};

/// Longest name of a file, in bytes: what file systems take.
const MAX_FILE_NAME_BYTES: usize = 255;

/// Longest media type, in bytes.
const MAX_MEDIA_TYPE_BYTES: usize = 127;

/// Room for everything but the content of a file: a text may be written in six times its bytes.
const ROOM: usize = 8 * MAX_MESSAGE_BYTES;

/// Which part of a list to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChatQuery {
    /// Elements on a page, 1 to 1000; 100 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ChatQuery {
    fn page(self) -> Result<(usize, Option<i64>), Problem> {
        let page = Page::parse(self.limit, self.cursor.as_deref())?;
        let place = page.after.map(|seq| seq.parse::<i64>()).transpose();
        Ok((page.limit, place.map_err(|error| invalid("cursor", error.to_string()))?))
    }
}

impl From<ChatError> for Problem {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Service(error) => error.into(),
            other => Self::new(other.code(), other.to_string()),
        }
    }
}

/// Lists conversations, newest first.
#[utoipa::path(get, path = "/api/chat/conversations", operation_id = "listConversations", tag = "chat", params(ChatQuery),
    responses((status = 200, description = "The conversations", body = ConversationList), LookProblems))]
pub(super) async fn conversations(
    _permit: Permit<Execute>,
    _body: NoBody,
    app: Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (limit, before) = query::<ChatQuery>(&request)?.page()?;
    let part = app.chat.conversations(before, limit).await?;
    Ok(HttpResponse::Ok().json(ConversationList {
        conversations: part.found.iter().map(view::conversation).collect(),
        next_cursor: part.next.map(|seq| Page::cursor(&seq.to_string())),
    }))
}

/// Begins a conversation. Of many, the one that was used least recently is dropped.
#[utoipa::path(post, path = "/api/chat/conversations", operation_id = "createConversation", tag = "chat", request_body = NewConversation,
    responses((status = 201, description = "The conversation", body = ConversationView), SendProblems))]
pub(super) async fn begin(
    _permit: Permit<Execute>,
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let NewConversation { title } =
        body::optional_json(&request, payload, app.service.config(), body::MAX_JSON_BYTES).await?;
    let mut fields = Fields::default();
    let title = title.map(|title| fields.label("/title", title));
    fields.finish()?;
    let conversation = app.chat.create(title).await?;
    Ok(HttpResponse::Created().json(view::conversation(&conversation)))
}

/// Lists messages of a conversation, oldest first; of plugins only those the token is for.
#[utoipa::path(get, path = "/api/chat/conversations/{id}/messages", operation_id = "listMessages", tag = "chat",
    params(("id" = String, Path, description = "Id of the conversation"), ChatQuery),
    responses((status = 200, description = "The messages", body = MessageList), LookProblems))]
pub(super) async fn messages(
    permit: Permit<Execute>,
    _body: NoBody,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (limit, after) = query::<ChatQuery>(&request)?.page()?;
    let part = app.chat.messages(&permit.0, &id, after, limit).await?;
    Ok(HttpResponse::Ok().json(MessageList {
        messages: part.found.iter().map(view::message).collect(),
        next_cursor: part.next.map(|seq| Page::cursor(&seq.to_string())),
    }))
}

/// Posts a message and waits for what plugins have to say about it.
#[utoipa::path(post, path = "/api/chat/conversations/{id}/messages", operation_id = "postMessage", tag = "chat", request_body = NewMessage,
    params(("id" = String, Path, description = "Id of the conversation")),
    responses((status = 200, description = "It was posted; of plugins only those the token is for are told", body = MessagePosted),
        RunProblems))]
pub(super) async fn post(
    permit: Permit<Execute>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let most = (MAX_FILE_BYTES / 3 * 4 + ROOM) as u64;
    let message: NewMessage = body::json_up_to(&request, payload, app.service.config(), most).await?;
    let post = checked(message, request::traceparent(&request))?;
    let posted = app.chat.post(permit.0, &id, post).await?;
    Ok(HttpResponse::Ok().json(view::posted(posted)))
}

fn checked(message: NewMessage, trace: Option<String>) -> Result<NewPost, Problem> {
    let NewMessage { text, file, user, channel } = message;
    let mut fields = Fields::default();
    let user = user.map(|user| fields.label("/user", user));
    let channel = channel.map(|channel| fields.label("/channel", channel));
    let written = match (text, file) {
        (Some(text), None) => {
            if text.trim().is_empty() || text.len() > MAX_MESSAGE_BYTES {
                let message = format!("expected 1 to {MAX_MESSAGE_BYTES} bytes, found {}", text.len());
                fields.0.push(FieldError::at("/text", message));
            }
            Written::Text(text)
        }
        (None, Some(file)) => checked_file(file, &mut fields)?,
        _ => {
            fields.0.push(FieldError::at("", "expected `text` or `file`, and not both"));
            Written::Text(String::new())
        }
    };
    fields.finish()?;
    Ok(NewPost { written, user, channel, trace })
}

fn checked_file(file: NewFile, fields: &mut Fields) -> Result<Written, Problem> {
    let NewFile { name, media_type, content_base64 } = file;
    // Plugins may write it somewhere under this name.
    let is_name = !name.contains(|character: char| matches!(character, '/' | '\\') || character.is_control())
        && !matches!(name.trim(), "" | "." | "..");
    if !is_name || name.len() > MAX_FILE_NAME_BYTES {
        let message = format!("expected 1 to {MAX_FILE_NAME_BYTES} bytes without folders and control characters");
        fields.0.push(FieldError::at("/file/name", message));
    }
    let is_part = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.bytes().all(fits)
    };
    let is_type = media_type.split_once('/').is_some_and(|(kind, sort)| is_part(kind) && is_part(sort));
    if !is_type || media_type.len() > MAX_MEDIA_TYPE_BYTES {
        fields.0.push(FieldError::at("/file/media_type", "expected a media type such as text/plain"));
    }
    let content = BASE64.decode(content_base64.as_bytes()).unwrap_or_else(|error| {
        fields.0.push(FieldError::at("/file/content_base64", format!("expected base64 with padding: {error}")));
        Vec::new()
    });
    if content.len() > MAX_FILE_BYTES {
        let detail = format!("the file has {} bytes; at most {MAX_FILE_BYTES} are accepted", content.len());
        return Err(Problem::new(Code::BodyTooLarge, detail));
    }
    Ok(Written::File { name, media_type, content })
}
