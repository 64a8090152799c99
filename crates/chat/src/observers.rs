//! Hooks and members that only look: they get a copy, beside the flow, and nobody waits for them.

use std::sync::Arc;

use plugbay_domain::{Effect, Origin};
use plugbay_fleet::{CallRequest, calls};
use serde_json::{Map, Value, json};

use crate::course::Course;
use crate::member::{Member, Stage};
use crate::state::State;

/// What every hook is told.
pub(crate) fn told(course: &Course, stage: Stage, more: Map<String, Value>) -> Value {
    let mut told = json!({
        "hook": stage, "exchange": course.id, "front": course.front, "model": course.request.model,
        "user": course.request.user, "conversation": course.conversation, "timestamp": course.at.to_string(),
        "metadata": course.metadata,
    });
    if let Some(members) = told.as_object_mut() {
        members.extend(more);
    }
    told
}

/// Tells those that only look, and waits for none of them.
pub(crate) fn tell(course: &Course, stage: Stage, more: impl FnOnce() -> Map<String, Value>) {
    let members: Vec<_> =
        course.roster.plan.at(stage).iter().filter(|member| member.effect == Effect::Observe).cloned().collect();
    if !members.is_empty() {
        let params = told(course, stage, more());
        for member in members {
            observe(course, member, params.clone());
        }
    }
}

/// The same with what they are told and nothing beside it. Here they all only look.
pub(crate) fn tell_plainly(course: &Course, stage: Stage, told: &Value) {
    for member in course.members(stage) {
        observe(course, member, told.clone());
    }
}

/// Asks a member that only looks, beside the flow. Of too many at once, the latest are left out.
pub(crate) fn observe(course: &Course, member: Arc<Member>, params: Value) {
    if !course.lacks_method(&member) {
        observe_for(&course.state, member, params, (course.origin(), course.trace.clone()));
    }
}

/// The same outside of any exchange.
pub(crate) fn observe_beside(state: &Arc<State>, member: Arc<Member>, params: Value) {
    observe_for(state, member, params, (Origin::default(), None));
}

fn observe_for(state: &Arc<State>, member: Arc<Member>, params: Value, (origin, trace): (Origin, Option<String>)) {
    let Ok(place) = Arc::clone(&state.observers).try_acquire_owned() else {
        tracing::debug!(plugin.name = %member.plugin, "Too many observers at once; one was not told");
        return;
    };
    if member.off.is_some() {
        return;
    }
    let state = Arc::clone(state);
    state.service.shutdown().clone().spawn("chat.observe", move |stop| async move {
        let request = CallRequest::of_service(&member.plugin, member.method, &params, member.timeout)
            .with_origin(origin)
            .with_trace(trace.as_deref())
            .without_blame();
        if request.bytes() > state.most_bytes() {
            tracing::debug!(plugin.name = %member.plugin, "What an observer was to be told does not fit a message");
            return;
        }
        let told = async { calls::call(state.service.fleet(), request).await?.answer().await };
        if let Some(Err(error)) = stop.run_until_cancelled(told).await {
            tracing::debug!(plugin.name = %member.plugin, %error, "An observer failed");
        }
        drop(place);
    });
}

/// Tells of what was raised in a plugin. What a hook raises in its turn is told to nobody.
pub(crate) fn raised(course: &Course, member: &Member, code: &str, text: &str) {
    if member.stage != Stage::Error {
        let (plugin, stage) = (&member.plugin, member.stage);
        tell(course, Stage::Error, || members(json!({"plugin": plugin, "stage": stage, "code": code, "error": text})));
    }
}

/// The members of an object.
pub(crate) fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
