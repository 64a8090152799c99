//! Asks backends for an answer, one after the other until one has begun to give one.

mod call;
mod relay;

use std::collections::VecDeque;
use std::time::Duration;

use plugbay_dialects::{Event, FailureClass, UpstreamFailure};
use plugbay_domain::PluginName;
use serde_json::{Map, json};
use tokio::time::{Instant, timeout_at};

use crate::course::{Course, Stopped};
use crate::member::Stage;
use crate::models::Candidate;
use crate::observers;
use crate::record::{Outcome, Step};

/// Backends that are asked for one answer.
const MAX_TRIES: usize = 3;

/// Why a backend gave no answer.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: UpstreamFailure,
    pub(crate) timed_out: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl Failed {
    fn new(class: FailureClass, message: impl Into<String>) -> Self {
        let failure = UpstreamFailure { status: None, class, message: message.into(), code: None };
        Self { failure, timed_out: false, retry_after: None }
    }

    fn silent(seconds: Duration) -> Self {
        let text = format!("it said nothing for {} s", seconds.as_secs());
        Self { timed_out: true, ..Self::new(FailureClass::Other, text) }
    }

    /// Whether another backend may do better: what is wrong with the request is wrong everywhere.
    fn may_be_repeated(&self) -> bool {
        match self.failure.status {
            Some(status @ 400..=499) => matches!(status, 408 | 409 | 425 | 429),
            _ => true,
        }
    }
}

/// An answer that has begun.
pub(crate) struct Upstream {
    source: call::Source,
    /// What has come and was not taken yet.
    queue: VecDeque<Event>,
    idle: Duration,
    /// Since when something is waited for, also by one who has left and come back.
    waits: Option<Instant>,
    began: Instant,
    has_ended: bool,
}

impl Upstream {
    /// How long it has answered until now.
    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    /// What comes next, everything that is there at once. Nothing after the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<Event>> {
        if !self.queue.is_empty() {
            return Some(self.queue.drain(..).collect());
        }
        if self.has_ended {
            return None;
        }
        let since = *self.waits.get_or_insert_with(Instant::now);
        let events = match timeout_at(since + self.idle, self.source.next()).await {
            Ok(events) => events,
            Err(_silent) => vec![Event::Failed(Failed::silent(self.idle).failure)],
        };
        self.waits = None;
        self.has_ended = events.iter().any(|event| matches!(event, Event::End | Event::Failed(_)));
        Some(events)
    }

    /// Waits until there is something to show; until then nothing has been promised to the caller.
    async fn gate(&mut self, longest: Duration) -> Result<(), Failed> {
        let deadline = Instant::now() + longest;
        loop {
            let Ok(events) = timeout_at(deadline, self.source.next()).await else {
                return Err(Failed::silent(longest));
            };
            let has_begun = events.iter().any(begins);
            let mut failed = None;
            for event in events {
                match event {
                    // What comes after the first word is told as it comes.
                    Event::Failed(failure) if !has_begun => failed = Some(failure),
                    event => {
                        self.has_ended |= matches!(event, Event::End | Event::Failed(_));
                        self.queue.push_back(event);
                    }
                }
            }
            if let Some(failure) = failed {
                return Err(Failed { failure, timed_out: false, retry_after: None });
            }
            if has_begun {
                return Ok(());
            }
            if self.has_ended {
                return Err(Failed::new(FailureClass::Other, "it ended without an answer"));
            }
        }
    }
}

/// Whether the caller gets to see something by this.
fn begins(event: &Event) -> bool {
    match event {
        Event::Text { text, .. } => !text.is_empty(),
        Event::ToolBegin { .. } | Event::ToolArguments { .. } | Event::Finish { .. } => true,
        Event::Model(_) | Event::Logprobs { .. } | Event::Usage(_) | Event::Failed(_) | Event::End => false,
    }
}

/// An answer of the first backend that begins to give one.
pub(crate) async fn ask(course: &mut Course) -> Result<Upstream, Stopped> {
    let (state, roster) = (std::sync::Arc::clone(&course.state), std::sync::Arc::clone(&course.roster));
    let candidates = state.catalog.resolve(&state.service, &roster, (&course.caller, &course.request.model)).await;
    let candidates = candidates.map_err(|text| Stopped::Model { text })?;
    let most = candidates.len().min(MAX_TRIES);
    let mut last: Option<(PluginName, Failed)> = None;
    for candidate in candidates.into_iter().take(most) {
        if let Some((from, failed)) = &last {
            let told = json!({ "from": from, "to": candidate.backend.name, "reason": failed.failure.message });
            observers::tell(course, Stage::ModelSwitch, || observers::members(told.clone()));
            observers::tell(course, Stage::Retry, || observers::members(told));
        }
        match try_one(course, &candidate).await {
            Ok(upstream) => return Ok(upstream),
            Err(failed) => {
                let again = failed.may_be_repeated();
                last = Some((candidate.backend.name, failed));
                if !again {
                    break;
                }
            }
        }
    }
    let (plugin, failed) = last.unwrap_or_else(|| unreachable!("there is at least one candidate"));
    let Failed { failure, timed_out, retry_after } = failed;
    Err(Stopped::Backend { plugin, failure, timed_out, retry_after })
}

async fn try_one(course: &mut Course, candidate: &Candidate) -> Result<Upstream, Failed> {
    course.attempts += 1;
    let name = candidate.backend.name.clone();
    observers::tell(course, Stage::BeforeModelLoad, || model_told(candidate));
    let began = Instant::now();
    let config = &course.state.service.config().chat;
    let (first, idle) = (config.first_token, config.idle);
    let opened = async {
        let source = match timeout_at(began + first, call::open(course, candidate)).await {
            Ok(source) => source?,
            Err(_silent) => return Err(Failed::silent(first)),
        };
        let mut upstream = Upstream { source, queue: VecDeque::new(), idle, waits: None, began, has_ended: false };
        upstream.gate(first.saturating_sub(began.elapsed())).await?;
        Ok(upstream)
    };
    let outcome = opened.await;
    let took = began.elapsed();
    course.waited += took;
    match outcome {
        Ok(upstream) => {
            course.backend = Some(name.clone());
            course.answered();
            course.steps.push(Step::new(name, Stage::Backend, Outcome::Answered, took));
            observers::tell(course, Stage::AfterModelLoad, || model_told(candidate));
            Ok(upstream)
        }
        Err(failed) => {
            let step = Step::new(name, Stage::Backend, Outcome::Skipped, took);
            course.steps.push(step.why("backend-failed", &failed.failure.message));
            Err(failed)
        }
    }
}

fn model_told(candidate: &Candidate) -> Map<String, serde_json::Value> {
    observers::members(json!({ "backend": candidate.backend.name, "model": candidate.model }))
}
