//! How much a request says, in tokens. The backend that counts reads it, so it passes all plugins before.

use std::sync::Arc;
use std::time::Duration;

use plugbay_fleet::{CallRequest, calls};
use plugbay_operations::ServiceError;
use serde_json::{Value, json};

use crate::before;
use crate::course::{Course, Stopped};
use crate::exchange::{self, NewExchange};
use crate::head::Unanswered;
use crate::message;
use crate::models::Candidate;
use crate::record::Ending;
use crate::state::State;

/// How long a backend may count.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a token, about, where the backend does not count.
const BYTES: u64 = 4;

/// The method by which a backend counts.
const METHOD: &str = "count_tokens";

/// What a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Tokens of it.
    pub tokens: u64,
    /// Whether the backend did not count them.
    pub is_estimated: bool,
}

pub(crate) async fn run(
    state: &Arc<State>,
    new: NewExchange,
) -> Result<Result<Counted, Box<Unanswered>>, ServiceError> {
    let mut course = exchange::course(state, new).await?;
    let counted = count(&mut course).await;
    let ending = counted.as_ref().map_or_else(Stopped::ending, |_| Ending::Answered);
    exchange::finish(&course, ending, None);
    Ok(counted.map_err(|stopped| Box::new(Unanswered::of(&course, stopped))))
}

async fn count(course: &mut Course) -> Result<Counted, Stopped> {
    let (state, roster) = (Arc::clone(&course.state), Arc::clone(&course.roster));
    let candidates = state.catalog.resolve(&state.service, &roster, (&course.caller, &course.request.model)).await;
    let candidates = candidates.map_err(|text| Stopped::Model { text })?;
    before::run(course).await?;
    let counted = match candidates.first() {
        Some(candidate) => ask(course, candidate).await,
        None => None,
    };
    let estimate = || {
        let bytes: usize = course.messages.iter().flat_map(|kept| kept.message.content.texts()).map(str::len).sum();
        Counted { tokens: (bytes as u64).div_ceil(BYTES), is_estimated: true }
    };
    Ok(counted.map_or_else(estimate, |tokens| Counted { tokens, is_estimated: false }))
}

/// What the backend counts, if it does.
async fn ask(course: &mut Course, candidate: &Candidate) -> Option<u64> {
    let fleet = course.state.service.fleet();
    let session = fleet.member(candidate.backend.id, &candidate.backend.name).session()?;
    if !session.ready().methods.iter().any(|method| method == METHOD) {
        return None;
    }
    let at = course.at.to_string();
    let shown: Vec<Value> = course.messages.iter().map(|kept| kept.shown(&at, &mut course.parts)).collect();
    let mut context = message::context(&course.request, &shown, &course.metadata);
    context["model"] = candidate.model.as_str().into();
    let params = json!({ "context": context });
    let request = CallRequest::of_service(&candidate.backend.name, METHOD, &params, Some(PATIENCE))
        .with_origin(course.origin())
        .with_trace(course.trace.as_deref())
        .without_blame();
    if request.bytes() > course.state.most_bytes() {
        return None;
    }
    let answered = async { calls::call(course.state.service.fleet(), request).await?.answer().await };
    let answer = answered.await.ok()?.answer;
    let value: Value = serde_json::from_str(answer.result.filter(|_| answer.success)?.get()).ok()?;
    value.as_u64().or_else(|| value.get("input_tokens")?.as_u64())
}
