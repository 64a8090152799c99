//! One question to one member, and what its failure does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use plugbay_dialects::FailureClass;
use plugbay_domain::{Chain, Code, Effect, ErrorKind, OnFailure, Origin, Refusal as _};
use plugbay_fleet::{CallRequest, Execution, FleetError, calls};
use serde_json::Value;
use tokio::time::Instant;

use crate::course::{Course, Stopped};
use crate::member::Member;
use crate::record::{Outcome, Step};
use crate::state::State;
use crate::trouble::Trouble;

/// What came of a question.
pub(crate) struct Answered {
    pub(crate) member: Arc<Member>,
    pub(crate) answer: Result<Value, Trouble>,
    pub(crate) took: Duration,
}

/// Asks members at the same time, each within its time, and takes that off the budget.
pub(crate) async fn ask(course: &mut Course, members: &[Arc<Member>], params: &Value) -> Vec<Answered> {
    let (most, budget) = (course.state.service.config().chat.hooks, course.budget());
    let mut answers = Vec::with_capacity(members.len());
    for some in members.chunks(most) {
        if let [member] = some {
            // Nearly always, and without what many at once cost.
            answers.push(one(course, member, params, budget.time_for(member)).await);
            continue;
        }
        let mut asked = FuturesOrdered::new();
        for member in some {
            asked.push_back(one(course, member, params, budget.time_for(member)));
        }
        while let Some(answered) = asked.next().await {
            answers.push(answered);
        }
    }
    let used = answers.iter().map(|answered| (&*answered.member, answered.took));
    let mut budget = course.budget();
    budget.charge(used);
    course.set_budget(budget);
    answers
}

async fn one(course: &Course, member: &Arc<Member>, params: &Value, time: Option<Duration>) -> Answered {
    let began = Instant::now();
    let answer = match (member.off, time) {
        (Some(off), _) => Err(off.trouble(&member.plugin)),
        (None, None) => Err(Trouble::new("over-budget", "the time that members share was used up before")),
        (None, Some(time)) => Asker::of(course, member, time).ask(params).await,
    };
    Answered { member: Arc::clone(member), answer, took: began.elapsed() }
}

/// How a member is asked, apart from what about: it can wait for the answer beside the exchange.
#[derive(Clone)]
pub(crate) struct Asker {
    state: Arc<State>,
    member: Arc<Member>,
    origin: Origin,
    trace: Option<String>,
    time: Duration,
}

impl Asker {
    pub(crate) fn of(course: &Course, member: &Arc<Member>, time: Duration) -> Self {
        let (origin, trace) = (course.origin(), course.trace.clone());
        Self { state: Arc::clone(&course.state), member: Arc::clone(member), origin, trace, time }
    }

    /// What the member answers.
    pub(crate) async fn ask(self, params: &Value) -> Result<Value, Trouble> {
        let Self { state, member, origin, trace, time } = self;
        let request = CallRequest::of_service(&member.plugin, member.method, params, Some(time))
            .with_origin(origin)
            .with_trace(trace.as_deref())
            .without_blame();
        fits(&state, &request)?;
        let answered = async { calls::call(state.service.fleet(), request).await?.answer().await };
        read(&member, answered.await)
    }
}

/// Refuses to ask about more than a message holds.
pub(crate) fn fits(state: &State, request: &CallRequest<'_>) -> Result<(), Trouble> {
    if request.bytes() <= state.most_bytes() {
        return Ok(());
    }
    let text = format!("what it is to be shown has {} bytes, which do not fit a message", request.bytes());
    Err(Trouble::new("too-large", text))
}

/// What came of a call.
pub(crate) fn read(member: &Member, answered: Result<Execution, FleetError>) -> Result<Value, Trouble> {
    match answered {
        Ok(execution) if execution.answer.success => {
            let result = execution.answer.result;
            let read = result.map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get()));
            read.map_err(|error| Trouble::answer(error.to_string()))
        }
        Ok(execution) => {
            let code = if execution.answer.error_kind.is_some() { "raised" } else { "failed" };
            let text = execution.answer.error.or(execution.answer.message);
            Err(Trouble::new(code, text.unwrap_or_else(|| "it did not say why".to_owned())))
        }
        Err(error) => Err(trouble_of(member, &error)),
    }
}

/// Why a call was not made, or not answered.
pub(crate) fn trouble_of(member: &Member, error: &FleetError) -> Trouble {
    let code = error.code();
    if code.kind() == ErrorKind::Internal {
        tracing::error!(plugin.name = %member.plugin, error = %Chain(error), "A member of the chat was not asked");
        return Trouble::new(code.as_str(), "the cause is in the service's log");
    }
    Trouble::new(code.as_str(), Chain(error).to_string())
}

/// Does what the member's rule says about a failure: the original goes on, or nothing does.
pub(crate) fn fail(course: &mut Course, member: &Member, took: Duration, trouble: Trouble) -> Result<(), Stopped> {
    let blocks = member.on_failure == OnFailure::Block && member.effect != Effect::Observe;
    let Trouble { code, text } = trouble;
    course
        .steps
        .push(Step::of(member, if blocks { Outcome::Refused } else { Outcome::Skipped }, took).why(code, &text));
    if blocks {
        return Err(Stopped::Guard { plugin: member.plugin.clone(), code, text });
    }
    crate::observers::raised(course, member, code, &text);
    Ok(())
}

/// The code that is told of an answer that the chat did not give.
pub(crate) fn code_of(stopped: &Stopped) -> Code {
    match stopped {
        Stopped::Blocked { .. } => Code::ContentBlocked,
        Stopped::Guard { .. } => Code::GuardUnavailable,
        Stopped::Model { .. } => Code::ModelUnknown,
        Stopped::TooLarge { .. } => Code::BodyTooLarge,
        Stopped::Backend { timed_out: true, .. } => Code::BackendTimeout,
        Stopped::Backend { failure, .. } => match failure.class {
            FailureClass::Invalid => Code::BackendRefused,
            FailureClass::Overloaded => Code::BackendBusy,
            FailureClass::Denied | FailureClass::NotFound | FailureClass::Other => Code::BackendFailed,
        },
    }
}
