//! Middleware on the way to the backend: it sees the whole request, and may answer in the place of a backend.

use std::sync::Arc;

use plugbay_dialects::{ChatMessage, ChatRequest};
use plugbay_domain::Effect;
use serde_json::{Value, json};

use super::{Responded, replace_messages};
use crate::ask::{self, Answered};
use crate::course::{Course, Stopped};
use crate::hooks::{blocked, groups};
use crate::member::{Member, Stage};
use crate::message;
use crate::observers;
use crate::record::{Outcome, Step};
use crate::said::{self, Said, kind_of};
use crate::trouble::Trouble;

pub(super) async fn run(course: &mut Course) -> Result<Responded, Stopped> {
    let all = course.members(Stage::ProcessRequest);
    for group in groups(&all) {
        let asked: Vec<Arc<Member>> =
            group.iter().filter(|member| !course.lacks_method(member)).map(Arc::clone).collect();
        if asked.is_empty() {
            continue;
        }
        let request = request_of(course);
        let params = json!({ "request": request });
        if group[0].effect == Effect::Observe {
            for member in asked {
                observers::observe(course, member, params.clone());
            }
            continue;
        }
        for Answered { member, answer, took } in ask::ask(course, &asked, &params).await {
            let read = answer.and_then(|answer| read_request(course, &member, answer, &request));
            match read {
                Ok(Verdict::Pass) => course.steps.push(Step::of(&member, Outcome::Unchanged, took)),
                Ok(Verdict::Changed(parts)) => {
                    course.steps.push(Step::of(&member, Outcome::Changed, took).parts(parts));
                }
                Ok(Verdict::Block(reason)) => return Err(blocked(course, &member, took, reason)),
                Ok(Verdict::Respond(answer)) => {
                    course.steps.push(Step::of(&member, Outcome::Responded, took));
                    course.backend = Some(member.plugin.clone());
                    return Ok(Some(*answer));
                }
                Err(trouble) => ask::fail(course, &member, took, trouble)?,
            }
        }
    }
    Ok(None)
}

/// What came of a question to middleware.
enum Verdict {
    Pass,
    Changed(Vec<String>),
    Block(String),
    Respond(Box<ChatMessage>),
}

/// The request as middleware sees it: no header, no secret.
fn request_of(course: &mut Course) -> Value {
    let at = course.at.to_string();
    let shown: Vec<Value> = course.messages.iter().map(|kept| kept.shown(&at, &mut course.parts)).collect();
    let ChatRequest { model, temperature, max_tokens, stream, tools, user, parameters, .. } = &course.request;
    let mut all = parameters.clone();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            all.insert(name.to_owned(), value);
        }
    };
    put("temperature", json!(temperature));
    put("max_tokens", json!(max_tokens));
    put("tools", tools.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default());
    put("stream", json!(stream));
    json!({
        "id": course.id, "front": course.front, "model": model, "user": user, "token": course.caller.token,
        "conversation": course.conversation, "messages": shown, "parameters": all, "metadata": course.metadata,
        "policy": {},
    })
}

fn read_request(course: &mut Course, member: &Member, answer: Value, shown: &Value) -> Result<Verdict, Trouble> {
    let mut object = match answer {
        Value::Null => return Ok(Verdict::Pass),
        Value::Object(members) => members,
        other => return Err(Trouble::answer(format!("expected the request, found {}", kind_of(&other)))),
    };
    if object.contains_key("action") {
        return match said::read(Value::Object(object), shown, Effect::Decide).map_err(Trouble::answer)? {
            Said::Blocked(reason) => Ok(Verdict::Block(reason)),
            Said::Unchanged => Ok(Verdict::Pass),
            Said::Masked(_) | Said::Changed(_) => {
                Err(Trouble::answer("middleware masks by answering the request with other texts"))
            }
        };
    }
    if let Some(answer) = object.remove("respond") {
        let (message, _) = message::made_by_plugin(answer, &course.parts).map_err(Trouble::answer)?;
        return Ok(Verdict::Respond(Box::new(message)));
    }
    let differs = |name: &str| object.get(name).is_some_and(|value| shown.get(name) != Some(value));
    let changed: Vec<&str> =
        ["messages", "model", "parameters", "metadata"].into_iter().filter(|n| differs(n)).collect();
    if changed.is_empty() {
        return Ok(Verdict::Pass);
    }
    if member.effect == Effect::Decide {
        return Err(Trouble::answer("a member that decides answers an action: allow or block"));
    }
    let mut parts = Vec::new();
    for name in changed {
        let value = object.remove(name).unwrap_or_default();
        match name {
            "messages" => parts.extend(replace_messages(course, value, &member.plugin).map_err(Trouble::answer)?),
            "model" => {
                course.request.model = text(name, value)?;
                parts.push(name.to_owned());
            }
            "parameters" => {
                parts.push(name.to_owned());
                replace_parameters(course, value)?;
            }
            _ => {
                let Value::Object(metadata) = value else { return Err(Trouble::answer("`metadata` is an object")) };
                course.metadata = metadata;
            }
        }
    }
    Ok(if parts.is_empty() { Verdict::Pass } else { Verdict::Changed(parts) })
}

fn text(name: &str, value: Value) -> Result<String, Trouble> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Trouble::answer(format!("`{name}` is a text, not {}", kind_of(&other)))),
    }
}

fn replace_parameters(course: &mut Course, value: Value) -> Result<(), Trouble> {
    let Value::Object(mut members) = value else { return Err(Trouble::answer("`parameters` is an object")) };
    let request = &mut course.request;
    // How the answer travels is between the caller and the front.
    members.remove("stream");
    request.temperature = members.remove("temperature").and_then(|value| value.as_f64());
    request.max_tokens = members.remove("max_tokens").and_then(|value| value.as_u64());
    let tools = members.remove("tools").filter(|tools| !tools.is_null());
    let raw = tools.map(|tools| serde_json::value::to_raw_value(&tools)).transpose();
    request.tools = raw.map_err(|error| Trouble::answer(error.to_string()))?;
    request.parameters = members;
    Ok(())
}
