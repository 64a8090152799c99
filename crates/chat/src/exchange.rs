//! One request to the chat and its answer, whatever form it came in. It runs in a task of its own, which ends when its
//! caller has gone: everything that it has begun ends with it.

use std::sync::Arc;

use plugbay_dialects::{Answer, ChatRequest, Collector, Event, Finish, UpstreamFailure};
use plugbay_domain::{Code, ConversationId};
use plugbay_operations::ServiceError;
use plugbay_registry::Caller;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::course::{Course, Stopped};
use crate::flow::{Flow, Source};
use crate::head::{Head, Unanswered, head_of};
use crate::member::Stage;
use crate::record::{Ending, Outcome, Step};
use crate::state::State;
use crate::{after, ask, backend, before, history, observers};

/// Batches of events that wait for the caller. Beyond them the backend waits.
const WAITING: usize = 4;

/// A request to the chat.
#[derive(Debug)]
pub struct NewExchange {
    /// The route by which it came.
    pub front: &'static str,
    /// Whose it is.
    pub caller: Caller,
    /// The caller's traceparent.
    pub trace: Option<String>,
    /// The conversation that it belongs to.
    pub conversation: Option<ConversationId>,
    /// What is asked for.
    pub request: ChatRequest,
}

/// What the caller gets of an exchange.
#[derive(Debug)]
pub struct Exchange {
    head: Option<oneshot::Receiver<Result<Head, Box<Unanswered>>>>,
    events: mpsc::Receiver<Vec<Event>>,
}

impl Exchange {
    /// Completes when the first part of the answer is there, or when there will be none. It may be waited for again.
    pub async fn head(&mut self) -> Result<Head, Box<Unanswered>> {
        let Some(head) = &mut self.head else { return Err(Box::new(Unanswered::gone())) };
        let found = head.await.unwrap_or_else(|_gone| Err(Box::new(Unanswered::gone())));
        self.head = None;
        found
    }

    /// What comes next, everything that is there at once; nothing after the end.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        self.events.recv().await
    }

    /// The whole answer, or what went wrong in the middle of it.
    pub async fn answer(mut self, most: usize) -> Result<Answer, UpstreamFailure> {
        let mut collector = Collector::new(most);
        while let Some(events) = self.next().await {
            for event in events {
                if let Event::Failed(failure) = event {
                    return Err(failure);
                }
                collector.push(&event).map_err(|_too_long| too_long(most))?;
            }
        }
        Ok(collector.finish())
    }
}

/// What an exchange begins with.
pub(crate) async fn course(state: &Arc<State>, new: NewExchange) -> Result<Course, ServiceError> {
    let NewExchange { front, caller, trace, conversation, request } = new;
    let roster = state.rosters.now(&state.service).await?;
    let history = match conversation {
        Some(conversation) => history::load(&state.service, &caller, conversation).await?,
        None => Vec::new(),
    };
    let told = (front, caller, trace);
    Ok(Course::begin(Arc::clone(state), roster, told, (conversation, history), request))
}

/// Begins an exchange.
pub(crate) async fn begin(state: &Arc<State>, new: NewExchange) -> Result<Exchange, ServiceError> {
    let mut course = course(state, new).await?;
    let (head, heads) = oneshot::channel();
    let (events, receiver) = mpsc::channel(WAITING);
    state.service.shutdown().spawn("chat.exchange", |stop| async move {
        let mut outlet = Outlet { head: Some(head), events, usage: None, has_sent: false, last: Vec::new() };
        let gone = outlet.events.clone();
        let ending = tokio::select! {
            ending = run(&mut course, &mut outlet) => ending,
            () = gone.closed() => Ending::Cancelled,
            () = stop.cancelled() => Ending::Cancelled,
        };
        // Before its last word: a caller that has heard that may ask what became of it.
        finish(&course, ending, outlet.usage);
        tokio::select! {
            () = outlet.say_the_last(&course) => {}
            () = gone.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(Exchange { head: Some(heads), events: receiver })
}

/// Where the answer goes.
struct Outlet {
    head: Option<oneshot::Sender<Result<Head, Box<Unanswered>>>>,
    events: mpsc::Sender<Vec<Event>>,
    usage: Option<(u64, u64)>,
    has_sent: bool,
    /// The end, which waits until the exchange is remembered.
    last: Vec<Event>,
}

impl Outlet {
    /// Sends a part of the answer, and what is known of the exchange before the first one.
    async fn send(&mut self, course: &Course, events: Vec<Event>) {
        for event in &events {
            if let Event::Usage(usage) = event {
                self.usage = Some((usage.prompt, usage.completion));
            }
        }
        if events.iter().any(|event| matches!(event, Event::End | Event::Failed(_))) {
            self.last = events;
            return;
        }
        self.begin(course);
        // A caller that has gone is noticed where the task waits for it.
        self.events.send(events).await.ok();
    }

    fn begin(&mut self, course: &Course) {
        if let Some(head) = self.head.take() {
            head.send(Ok(head_of(course))).ok();
        }
        self.has_sent = true;
    }

    async fn say_the_last(&mut self, course: &Course) {
        if !self.last.is_empty() {
            self.begin(course);
            self.events.send(std::mem::take(&mut self.last)).await.ok();
        }
    }
}

async fn run(course: &mut Course, outlet: &mut Outlet) -> Ending {
    match answer(course, outlet).await {
        Ok(ending) => ending,
        Err(stopped) => {
            let ending = stopped.ending();
            if let Some(head) = outlet.head.take() {
                head.send(Err(Box::new(Unanswered::of(course, stopped)))).ok();
                ending
            } else {
                outlet.send(course, last_words(&stopped)).await;
                Ending::Partial
            }
        }
    }
}

/// How an answer ends of which a part was sent.
fn last_words(stopped: &Stopped) -> Vec<Event> {
    match stopped {
        Stopped::Blocked { .. } => vec![Event::Finish { choice: 0, reason: Finish::ContentFilter }, Event::End],
        other => {
            let code = ask::code_of(other);
            let message = match other {
                Stopped::Guard { plugin, .. } => format!("`{plugin}` must look at every message, and could not"),
                _ => code.title().to_owned(),
            };
            let class = plugbay_dialects::FailureClass::Other;
            vec![Event::Failed(UpstreamFailure { status: None, class, message, code: Some(code.as_str().to_owned()) })]
        }
    }
}

async fn answer(course: &mut Course, outlet: &mut Outlet) -> Result<Ending, Stopped> {
    let said = before::run(course).await?;
    // Before a model is asked: a guard that cannot look refuses what has cost nothing yet.
    let mut flow = Flow::open(course).await?;
    let mut source = match said {
        Some(message) => Source::of(&Answer::of_message(course.request.model.clone(), message)),
        None => Source::Backend(backend::ask(course).await?),
    };
    let most = course.state.service.config().chat.answer_bytes;
    // Who wants no stream is shown nothing before it is known how it ends.
    let ended = if !course.request.stream || after::needs_whole(course) {
        whole(course, &mut flow, &mut source, most).await
    } else {
        live(course, outlet, (&mut flow, &mut source), most).await.map(Err)
    };
    flow.note(course);
    match ended? {
        Ok(mut answer) => deliver(course, outlet, &mut answer).await,
        Err(Live::Ended(ending)) => Ok(ending),
        Err(Live::Seen(mut answer, held)) => {
            after::run(course, &mut answer, outlet.has_sent).await?;
            history::keep(course, &answer).await;
            outlet.send(course, held).await;
            Ok(Ending::Answered)
        }
    }
}

/// What there is still to do about an answer that was shown as it came.
enum Live {
    /// Nothing.
    Ended(Ending),
    /// Those have to see it who see answers as a whole, and then its last part is sent.
    Seen(Answer, Vec<Event>),
}

/// Lets a whole answer pass, and sends what is left of it.
async fn deliver(course: &mut Course, outlet: &mut Outlet, answer: &mut Answer) -> Result<Ending, Stopped> {
    after::run(course, answer, false).await?;
    history::keep(course, answer).await;
    outlet.send(course, answer.events()).await;
    Ok(Ending::Answered)
}

/// An answer that nothing may be shown of before its end.
async fn whole(
    course: &Course,
    flow: &mut Flow,
    source: &mut Source,
    most: usize,
) -> Result<Result<Answer, Live>, Stopped> {
    let mut collector = Collector::new(most);
    while let Some(events) = flow.next(source).await? {
        for event in events {
            if let Event::Failed(failure) = event {
                return Err(failed(course, failure));
            }
            collector.push(&event).map_err(|_too_long| failed(course, too_long(most)))?;
        }
    }
    Ok(Ok(collector.finish()))
}

fn failed(course: &Course, failure: UpstreamFailure) -> Stopped {
    match &course.backend {
        Some(plugin) => Stopped::Backend { plugin: plugin.clone(), failure, timed_out: false, retry_after: None },
        None => Stopped::Model { text: failure.message },
    }
}

fn too_long(most: usize) -> UpstreamFailure {
    UpstreamFailure {
        status: None,
        class: plugbay_dialects::FailureClass::Other,
        message: format!("the answer is longer than {most} bytes, which is `chat.answer_mb`"),
        code: None,
    }
}

/// An answer that is shown as it comes. Its last part waits until those have seen it who see answers as a whole.
async fn live(
    course: &mut Course,
    outlet: &mut Outlet,
    (flow, source): (&mut Flow, &mut Source),
    most: usize,
) -> Result<Live, Stopped> {
    let mut copy = after::needs_copy(course).then(|| Collector::new(most));
    let mut held = Vec::new();
    while let Some(events) = flow.next(source).await? {
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            if let Some(collector) = &mut copy
                && collector.push(&event).is_err()
            {
                return Err(failed(course, too_long(most)));
            }
            match event {
                Event::Failed(failure) => {
                    let mut failure = failure;
                    failure.code.get_or_insert_with(|| Code::BackendFailed.as_str().to_owned());
                    if let (Some(backend), Source::Backend(upstream)) = (course.backend.clone(), &*source) {
                        let step = Step::new(backend, Stage::Backend, Outcome::Skipped, upstream.took());
                        course.steps.push(step.why("backend-failed", &failure.message));
                    }
                    shown.push(Event::Failed(failure));
                    outlet.send(course, shown).await;
                    return Ok(Live::Ended(Ending::Partial));
                }
                Event::Finish { .. } | Event::Usage(_) | Event::End if copy.is_some() => held.push(event),
                event => shown.push(event),
            }
        }
        if !shown.is_empty() {
            outlet.send(course, shown).await;
        }
    }
    Ok(match copy {
        Some(collector) => Live::Seen(collector.finish(), held),
        None => Live::Ended(Ending::Answered),
    })
}

/// Remembers how it ended, and tells the hooks that want to know.
pub(crate) fn finish(course: &Course, ending: Ending, usage: Option<(u64, u64)>) {
    let told = || {
        let took = u64::try_from(course.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let usage = usage.map(|(prompt, completion)| json!({"prompt_tokens": prompt, "completion_tokens": completion}));
        observers::members(json!({
            "ending": ending, "backend": course.backend, "attempts": course.attempts, "took_ms": took, "usage": usage,
        }))
    };
    match ending {
        Ending::Answered => observers::tell(course, Stage::RequestComplete, told),
        Ending::Blocked | Ending::Refused | Ending::Failed | Ending::Partial | Ending::Cancelled => {
            observers::tell(course, Stage::RequestError, told);
        }
    }
    course.state.meters.count(course.front, ending, &course.steps, usage);
    course.state.ring.keep(course.record(ending, usage));
}
