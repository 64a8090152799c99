//! An answer on its way to the caller while it comes: one filter after the other sees it, each takes from the one before.
//! Nothing is buffered between them but what a filter holds back, so a slow one holds up the backend.

mod fed;
mod joined;
mod strands;
mod watch;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use plugbay_dialects::{Answer, Event, FailureClass, UpstreamFailure};
use plugbay_domain::{Effect, PluginName, Sees};
use serde_json::{Value, json};

use crate::ask;
use crate::backend::Upstream;
use crate::course::{Course, Stopped};
use crate::member::{Member, Off, Stage};
use crate::message;
use crate::observers::{members, raised, told};
use crate::record::Step;
use crate::trouble::Trouble;
use fed::Fed;
use watch::Watch;
use window::Windowed;

/// The next events of an answer, nothing after its end.
type Taken = Result<Option<Vec<Event>>, Stopped>;

/// Where an answer comes from.
pub(crate) enum Source {
    /// A backend that is giving it.
    Backend(Upstream),
    /// It is there already.
    There(VecDeque<Event>),
}

impl Source {
    /// An answer that is there as a whole.
    pub(crate) fn of(answer: &Answer) -> Self {
        Self::There(answer.events().into())
    }

    async fn next(&mut self) -> Option<Vec<Event>> {
        match self {
            Self::Backend(upstream) => upstream.next().await,
            Self::There(events) if events.is_empty() => None,
            Self::There(events) => Some(events.drain(..).collect()),
        }
    }
}

/// One that an answer passes.
enum Filter {
    Fed(Fed),
    Windowed(Windowed),
    Watch(Watch),
}

/// What is to be noted of a filter.
#[derive(Default)]
struct Note {
    step: Option<Step>,
    /// What was raised in it, for those who want to know of that.
    raised: Option<(&'static str, String)>,
}

/// An answer and all that it passes while it comes.
pub(crate) struct Flow {
    filters: Vec<Filter>,
}

/// Response processors that see an answer while it comes: all before the first one that needs the whole.
pub(crate) fn streamed(processors: &[Arc<Member>]) -> impl Iterator<Item = &Arc<Member>> {
    let needs_whole = |member: &&Arc<Member>| member.effect != Effect::Observe && member.sees == Sees::Complete;
    let before = processors.iter().take_while(move |member| !needs_whole(member));
    before.filter(|member| match member.sees {
        Sees::Deltas => true,
        Sees::Window => member.effect != Effect::Observe,
        Sees::Complete | Sees::None => false,
    })
}

impl Flow {
    /// Asks everyone who is to see the answer while it comes to be ready for it. A guard that is not refuses it.
    pub(crate) async fn open(course: &mut Course) -> Result<Self, Stopped> {
        let hooks = course.members(Stage::StreamChunk);
        let processors = course.members(Stage::Response);
        let mut filters = Vec::new();
        if hooks.is_empty() && streamed(&processors).next().is_none() {
            return Ok(Self { filters });
        }
        let shown = about(course);
        for member in hooks.iter().chain(streamed(&processors)) {
            let params = params_of(course, member, &shown);
            if member.effect == Effect::Observe {
                filters.extend(Watch::begin(course, member, params).map(Filter::Watch));
                continue;
            }
            let opened = match (member.off, member.sees) {
                (Some(off), _) => Err(is_off(member, off)),
                (None, Sees::Window) => Ok(Filter::Windowed(Windowed::new(course, member, params))),
                (None, _) => Fed::open(course, member, &params).await.map(Filter::Fed),
            };
            match opened {
                Ok(filter) => filters.push(filter),
                Err(trouble) => ask::fail(course, member, std::time::Duration::ZERO, trouble)?,
            }
        }
        Ok(Self { filters })
    }

    /// What leaves next; nothing after the end.
    pub(crate) async fn next(&mut self, source: &mut Source) -> Taken {
        pull(source, &mut self.filters).await
    }

    /// Takes note of what the filters have done, once each has ended.
    pub(crate) fn note(&mut self, course: &mut Course) {
        for filter in &mut self.filters {
            let (member, note) = match filter {
                Filter::Fed(fed) => (fed.member(), fed.note()),
                Filter::Windowed(windowed) => (windowed.member(), windowed.note()),
                Filter::Watch(_) => continue,
            };
            if let Some((code, text)) = note.raised {
                raised(course, &member, code, &text);
            }
            course.steps.extend(note.step);
        }
    }
}

/// What the last of these filters lets go next.
fn pull<'a>(source: &'a mut Source, filters: &'a mut [Filter]) -> BoxFuture<'a, Taken> {
    async move {
        let Some((last, before)) = filters.split_last_mut() else { return Ok(source.next().await) };
        match last {
            Filter::Fed(fed) => fed.next(source, before).await,
            Filter::Windowed(windowed) => windowed.next(source, before).await,
            Filter::Watch(watch) => {
                let events = pull(source, before).await?;
                watch.see(events.as_deref().unwrap_or_default());
                Ok(events)
            }
        }
    }
    .boxed()
}

/// What all of them are shown of the request.
fn about(course: &mut Course) -> Value {
    let at = course.at.to_string();
    let history: Vec<Value> = course.messages.iter().map(|kept| kept.shown(&at, &mut course.parts)).collect();
    message::context(&course.request, &history, &course.metadata)
}

fn params_of(course: &Course, member: &Member, context: &Value) -> Value {
    let metadata = json!({ "max_hold": member.max_hold });
    let message = json!({
        "id": "r0", "role": "assistant", "content": "", "timestamp": course.at.to_string(), "metadata": metadata,
    });
    if member.stage == Stage::StreamChunk {
        return told(course, Stage::StreamChunk, members(json!({ "message": message })));
    }
    json!({ "message": message, "context": context })
}

fn is_off(member: &Member, off: Off) -> Trouble {
    off.trouble(&member.plugin)
}

/// Why an answer does not go on that is longer than any may be.
fn too_long(plugin: &PluginName, most: usize) -> Stopped {
    let message = format!("a part of the answer is longer than {most} bytes");
    let failure = UpstreamFailure { status: None, class: FailureClass::Other, message, code: None };
    Stopped::Backend { plugin: plugin.clone(), failure, timed_out: false, retry_after: None }
}
