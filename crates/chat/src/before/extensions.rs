//! Extensions add to what a backend is asked: what was said before, texts from somewhere, tools.

use plugbay_dialects::ChatRequest;
use serde_json::{Value, json};

use super::{added, processors, replace_messages};
use crate::ask::{self, Answered};
use crate::course::{Course, Stopped};
use crate::member::{Member, Stage};
use crate::message;
use crate::record::{Outcome, Step};
use crate::said::kind_of;
use crate::trouble::Trouble;

/// Lets extensions add to the request. What they add passes the processors, too: texts that were fetched from somewhere
/// are what tells a model what to do.
pub(super) async fn run(course: &mut Course) -> Result<(), Stopped> {
    let all = course.members(Stage::Extend);
    for member in &all {
        let at = course.at.to_string();
        let shown: Vec<Value> = course.messages.iter().map(|kept| kept.shown(&at, &mut course.parts)).collect();
        let context = message::context(&course.request, &shown, &course.metadata);
        let params = json!({ "context": context });
        let Some(Answered { answer, took, .. }) = ask::ask(course, std::slice::from_ref(member), &params).await.pop()
        else {
            continue;
        };
        let before: Vec<String> = course.messages.iter().map(|kept| kept.id.clone()).collect();
        let read = answer.and_then(|answer| extend(course, member, answer, &context).map_err(Trouble::answer));
        match read {
            Ok(parts) => {
                let outcome = if parts.is_empty() { Outcome::Unchanged } else { Outcome::Changed };
                course.steps.push(Step::of(member, outcome, took).parts(parts));
            }
            Err(trouble) => {
                ask::fail(course, member, took, trouble)?;
                continue;
            }
        }
        processors::run(course, Some(&before)).await?;
    }
    Ok(())
}

fn extend(course: &mut Course, member: &Member, answer: Value, shown: &Value) -> Result<Vec<String>, String> {
    let mut object = match answer {
        Value::Null => return Ok(Vec::new()),
        Value::Object(object) => object,
        other => return Err(format!("expected a context or a patch, found {}", kind_of(&other))),
    };
    let mut parts = Vec::new();
    if let Some(Value::Array(messages)) = object.remove("add_messages") {
        for message in messages {
            let added = added(course, message, &member.plugin)?;
            // Before the last message of the user, which stays the last word.
            let last = course.messages.len().saturating_sub(1);
            parts.push(format!("messages/{last}"));
            course.messages.insert(last, added);
        }
    }
    if let Some(Value::Object(set)) = object.remove("set") {
        for (name, value) in set {
            parts.push(format!("parameters/{name}"));
            set_parameter(&mut course.request, &name, value)?;
        }
    }
    if let Some(tools) = object.remove("tools").filter(|tools| !tools.is_null() && shown.get("tools") != Some(tools)) {
        course.request.tools = Some(serde_json::value::to_raw_value(&tools).map_err(|error| error.to_string())?);
        parts.push("tools".to_owned());
    }
    if let Some(messages) = object.remove("messages").filter(|messages| shown.get("messages") != Some(messages)) {
        parts.extend(replace_messages(course, messages, &member.plugin)?);
    }
    if let Some(Value::Object(metadata)) = object.remove("metadata") {
        course.metadata.extend(metadata);
    }
    Ok(parts)
}

fn set_parameter(request: &mut ChatRequest, name: &str, value: Value) -> Result<(), String> {
    match name {
        "model" => value.as_str().ok_or("`model` is a text")?.clone_into(&mut request.model),
        "temperature" => request.temperature = value.as_f64(),
        "max_tokens" => request.max_tokens = value.as_u64(),
        "stream" | "messages" => return Err(format!("`{name}` cannot be set")),
        _ => {
            request.parameters.insert(name.to_owned(), value);
        }
    }
    Ok(())
}
