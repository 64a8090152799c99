//! One that looks at an answer while it comes, beside the flow: it costs the caller nothing, and sees what it can keep up
//! with.

use std::sync::Arc;

use plugbay_dialects::Event;
use plugbay_fleet::{CallRequest, Executing, calls};
use serde_json::Value;
use tokio::sync::mpsc;

use super::fed::IDLE;
use super::strands::Strands;
use crate::course::Course;
use crate::member::Member;

/// Batches of events that wait for one who looks. With more it has seen enough.
const WAITING: usize = 256;

/// Bytes of text that it may be behind.
const MOST_BEHIND: usize = 256 * 1024;

/// The way to one who looks, as long as it keeps up.
pub(super) struct Watch {
    events: Option<mpsc::Sender<Vec<Event>>>,
}

impl Watch {
    /// Begins to show the answer. Nothing where there is no place for one more who looks.
    pub(super) fn begin(course: &Course, member: &Arc<Member>, params: Value) -> Option<Self> {
        let place = Arc::clone(&course.state.watchers).try_acquire_owned().ok()?;
        if member.off.is_some() {
            return None;
        }
        let (state, origin, trace) = (Arc::clone(&course.state), course.origin(), course.trace.clone());
        let (events, receiver) = mpsc::channel(WAITING);
        let member = Arc::clone(member);
        state.service.shutdown().spawn("chat.watch", move |stop| async move {
            let request = CallRequest::of_service(&member.plugin, member.stream_method(), &params, None)
                .with_origin(origin)
                .with_trace(trace.as_deref())
                .without_blame()
                .fed(member.timeout.unwrap_or(IDLE));
            let shown = async {
                match calls::call(state.service.fleet(), request).await {
                    Ok(executing) => show(&member, executing, receiver).await,
                    Err(error) => tracing::debug!(plugin.name = %member.plugin, %error, "An observer was not shown"),
                }
            };
            stop.run_until_cancelled(shown).await;
            drop(place);
        });
        Some(Self { events: Some(events) })
    }

    /// Shows what leaves. One that does not keep up is shown no more.
    pub(super) fn see(&mut self, events: &[Event]) {
        let is_over = |events: &mpsc::Sender<Vec<Event>>, seen: &[Event]| {
            seen.is_empty() || events.try_send(seen.to_vec()).is_err()
        };
        if self.events.as_ref().is_some_and(|sender| is_over(sender, events)) {
            self.events = None;
        }
    }
}

async fn show(member: &Member, mut executing: Executing, mut events: mpsc::Receiver<Vec<Event>>) {
    let mut strands = Strands::new(usize::MAX);
    let mut has_ended = false;
    loop {
        while let Some(line) = strands.line() {
            let Some(number) = executing.feed(&line.json) else { break };
            strands.sent(line, number);
        }
        if has_ended && !strands.has_unsent() {
            executing.end_feed();
        }
        let room = executing.room();
        tokio::select! {
            biased;
            event = executing.next_event() => match event {
                // What it says is not used, but it has read.
                Some(plugbay_operations::StreamEvent::Chunk { read, .. }) => strands.forget(read),
                Some(plugbay_operations::StreamEvent::Progress(_)) => {}
                None => break,
            },
            () = room, if strands.has_unsent() => {}
            some = events.recv(), if !has_ended => {
                let some = some.unwrap_or_else(|| vec![Event::End]);
                for event in some {
                    if let Event::Finish { .. } | Event::End | Event::Failed(_) = event {
                        strands.end_calls(None);
                    }
                    has_ended |= matches!(event, Event::End | Event::Failed(_));
                    strands.take(event, |kind| member.is_shown(kind));
                }
                if strands.bytes() + strands.bytes_of_calls() > MOST_BEHIND || strands.is_too_many() {
                    tracing::debug!(plugin.name = %member.plugin, "An observer does not keep up with an answer");
                    return;
                }
            }
        }
    }
    if let Err(error) = executing.last().await {
        tracing::debug!(plugin.name = %member.plugin, %error, "An observer failed");
    }
}
