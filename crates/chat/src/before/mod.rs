//! The way of an exchange to its backend: middleware, hooks, processors, extensions.

mod extensions;
mod middleware;
mod processors;

use std::sync::Arc;

use plugbay_dialects::{ChatMessage, Role};
use plugbay_domain::{Effect, PluginName};
use serde_json::{Map, Value, json};

use crate::course::{Course, Stopped};
use crate::hooks;
use crate::member::{Member, Stage};
use crate::message::{self, Kept};
use crate::observers;
use crate::said;

/// An answer that a plugin gave in the place of a backend.
pub(crate) type Responded = Option<ChatMessage>;

/// Everything before a backend is asked.
pub(crate) async fn run(course: &mut Course) -> Result<Responded, Stopped> {
    if let Some(answer) = middleware::run(course).await? {
        return Ok(Some(answer));
    }
    observers::tell(course, Stage::RequestStart, Map::new);
    for stage in [Stage::RequestStart, Stage::BeforeMessage] {
        about_last(course, stage).await?;
    }
    processors::run(course, None).await?;
    extensions::run(course).await?;
    tell_of_message(course);
    Ok(None)
}

/// Tells the hooks that hear what people say, when it is a person who has the last word.
fn tell_of_message(course: &Course) {
    let Some(last) = course.messages.last().filter(|kept| kept.message.role == Role::User) else { return };
    let text: String = last.message.content.texts().collect();
    let told = json!({
        "id": last.id, "text": text, "content": text, "role": "user", "user": course.request.user, "channel": null,
        "conversation": course.conversation, "timestamp": course.at.to_string(),
    });
    observers::tell_plainly(course, Stage::Message, &told);
}

/// Hooks that get the last message of the user.
async fn about_last(course: &mut Course, stage: Stage) -> Result<(), Stopped> {
    let is_only_told = |member: &Arc<Member>| stage == Stage::RequestStart && member.effect == Effect::Observe;
    if course.roster.plan.at(stage).iter().all(is_only_told) {
        return Ok(());
    }
    let of_user = |kept: &Kept| kept.message.role == Role::User;
    let Some(index) = course.messages.iter().rposition(of_user) else { return Ok(()) };
    let mut message = course.messages[index].clone();
    hooks::about(course, stage, &mut message).await?;
    course.messages[index] = message;
    Ok(())
}

/// Puts the messages that a plugin answered in the place of those there are. Those with an id that is known are the same
/// ones; the others are the plugin's own, and say so.
fn replace_messages(course: &mut Course, value: Value, by: &PluginName) -> Result<Vec<String>, String> {
    let Value::Array(answered) = value else { return Err("`messages` is a list".to_owned()) };
    let at = course.at.to_string();
    let mut next = Vec::with_capacity(answered.len());
    let mut parts = Vec::new();
    for value in answered {
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = course.messages.iter().find(|kept| kept.id == id).cloned();
        if let Some(mut kept) = known {
            let shown = kept.shown(&at, &mut course.parts);
            let said = said::read(value, &shown, Effect::Transform)?;
            if kept.put(said, &course.parts)? {
                parts.push(format!("messages/{}", next.len()));
            }
            next.push(kept);
        } else {
            parts.push(format!("messages/{}", next.len()));
            next.push(added(course, value, by)?);
        }
    }
    if next.len() != course.messages.len() && parts.is_empty() {
        parts.push("messages".to_owned());
    }
    course.messages = next;
    Ok(parts)
}

fn added(course: &mut Course, value: Value, by: &PluginName) -> Result<Kept, String> {
    let (message, mut metadata) = message::made_by_plugin(value, &course.parts)?;
    metadata.insert("origin".to_owned(), json!(by));
    Ok(Kept { id: course.next_id(), message, metadata, is_past: false })
}
