//! Owns the life and death of one session: asks for health, notices what does not react, stops it in order, finds out
//! how it ended, and removes its sandbox. Calls do not pass through here.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::calls::OwnAnswer;
use super::ended::{SessionEnd, find_reason};
use super::instance_dir::InstanceDir;
use super::life_hooks::LifeHooks;
use super::output::OutputEnd;
use super::pace::Paced;
use super::quota::{QuotaWatch, give_back};
use super::reader::ReaderEnd;
use super::surroundings::Surroundings;
use super::{CALLS_GRACE, Condition, EndCause, HealthReport, Inner, SHUTDOWN_GRACE, SessionLimits, Stop};
use plugbay_domain::Chain;
use plugbay_protocol::{CancelReason, Outgoing, RemoteError};
use plugbay_sandbox::VolumeLease;

/// How long a hook may take that hears of the end of its session.
const HOOK_TIME: Duration = Duration::from_secs(5);

/// How long what a plugin printed last may take.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// How long a cancelled call may go on.
const CANCELLED_GRACE: Duration = Duration::from_secs(10);

/// How long calls may take to end once they were cancelled because the session stops.
const STOPPED_GRACE: Duration = Duration::from_secs(1);

/// How often the actor looks for calls that do not end.
const TICK: Duration = Duration::from_secs(1);

/// Bytes of an answer to `health`: it is kept, and shown with those of all plugins.
const MAX_HEALTH_BYTES: usize = 16 * 1024;

/// Characters of an error as answer to `health`.
const MAX_ERROR_CHARACTERS: usize = 1_000;

/// Unanswered health questions in a row that make a session unresponsive.
const MAX_UNANSWERED: u32 = 3;

pub(super) struct Actor {
    pub(super) inner: Arc<Inner>,
    pub(super) around: Surroundings,
    pub(super) limits: SessionLimits,
    pub(super) hooks: LifeHooks,
    pub(super) output_end: watch::Receiver<OutputEnd>,
    pub(super) dir: InstanceDir,
    /// Held as long as the sandbox may reach others.
    pub(super) way_out: Option<DropGuard>,
}

/// The state of the questions for health.
struct Health {
    asked: Option<(Instant, OwnAnswer)>,
    next: Instant,
    unanswered: u32,
}

impl Actor {
    pub(super) async fn run(mut self, mut reader_end: oneshot::Receiver<ReaderEnd>, mut stops: mpsc::Receiver<Stop>) {
        self.greet();
        let mut ticks = tokio::time::interval(TICK);
        let mut health = Health { asked: None, next: Instant::now(), unanswered: 0 };
        let mut quota = QuotaWatch::new(self.around.data.clone());
        let end = loop {
            tokio::select! {
                end = &mut reader_end => {
                    // At once: the reason can take a while.
                    self.inner.condition.send_replace(Condition::Ending);
                    break self.explain(end).await;
                }
                // The sender lives in `inner`.
                Some(stop) = stops.recv() => break self.stop(stop, &mut reader_end).await,
                answer = answered(&mut health.asked) => self.take_health(&mut health, answer),
                _ = ticks.tick() => self.look(&mut health),
                too_much = quota.exceeded() => break SessionEnd::new(EndCause::QuotaExceeded, too_much),
            }
        };
        self.finish(end).await;
    }

    /// Tells the plugin that its session has begun, beside everything else.
    fn greet(&self) {
        let (hooks, inner, log) = (self.hooks, Arc::clone(&self.inner), Arc::clone(&self.around.log));
        // As long as any call: one that goes on after its time makes the session unresponsive.
        let until = Instant::now() + Duration::from_secs(inner.spec.limits.timeout_seconds);
        self.around.shutdown.spawn("session.greeting", move |stop| async move {
            let told = hooks.started(&inner, &log, until);
            stop.run_until_cancelled(told).await;
        });
    }

    /// Notices what does not react.
    fn look(&self, health: &mut Health) {
        if self.inner.rests.load(Ordering::SeqCst) {
            (health.asked, health.unanswered) = (None, 0);
            return;
        }
        if let Some(call) = self.inner.calls.stuck(CANCELLED_GRACE) {
            self.unresponsive(format!("{call} still runs {} s after it was cancelled", CANCELLED_GRACE.as_secs()));
        }
        let now = Instant::now();
        if health.asked.as_ref().is_some_and(|(at, _)| now.duration_since(*at) >= self.limits.health_interval) {
            health.asked = None;
            health.unanswered += 1;
            if health.unanswered >= MAX_UNANSWERED {
                self.unresponsive(format!("{MAX_UNANSWERED} questions for its health in a row were not answered"));
            }
        }
        if health.asked.is_none() && now >= health.next {
            health.next = now + self.limits.health_interval;
            let Ok((id, answer)) = self.inner.calls.insert_own() else { return };
            health.asked = Some((now, answer));
            // A question that cannot be sent counts as unanswered.
            self.inner.outbound.send(Outgoing::health(id)).ok();
        }
    }

    fn take_health(&self, health: &mut Health, answer: Option<Result<Box<RawValue>, RemoteError>>) {
        health.asked = None;
        let Some(answer) = answer else { return };
        health.unanswered = 0;
        let unhealthy = |text: String| {
            let fields = [("status".to_owned(), "unhealthy".into()), ("error".to_owned(), text.into())];
            fields.into_iter().collect()
        };
        let said = match answer {
            Ok(raw) if raw.get().len() > MAX_HEALTH_BYTES => {
                unhealthy(format!("the answer to `health` is longer than {MAX_HEALTH_BYTES} bytes"))
            }
            Ok(raw) => serde_json::from_str(raw.get())
                .unwrap_or_else(|_other| unhealthy("the answer to `health` is not an object".to_owned())),
            Err(error) => {
                // Masked before it is cut.
                unhealthy(self.around.log.mask(&error.message).chars().take(MAX_ERROR_CHARACTERS).collect())
            }
        };
        let said = self.around.log.mask_fields(said);
        let report = HealthReport { at: self.around.clock.now(), health: said };
        *self.inner.health.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }

    /// Says once that the session should be replaced.
    fn unresponsive(&self, text: String) {
        self.inner.condition.send_if_modified(|condition| {
            let is_news = matches!(condition, Condition::Running);
            if is_news {
                *condition = Condition::Unresponsive(text);
            }
            is_news
        });
    }

    async fn explain(&mut self, end: Result<ReaderEnd, oneshot::error::RecvError>) -> SessionEnd {
        match end {
            Ok(ReaderEnd::Broken(violation)) => {
                SessionEnd::new(EndCause::Protocol, self.around.log.mask_quoted(&violation.to_string()))
            }
            Ok(ReaderEnd::Closed) | Err(_) => {
                let engine = self.around.engine.as_ref();
                let memory_mb = self.inner.spec.limits.memory_mb;
                let end = find_reason(engine, &self.inner.sandbox.id, memory_mb, &mut self.output_end).await;
                end.with_data(|| self.around.data.as_ref().is_some_and(VolumeLease::is_full))
            }
        }
    }

    /// Lets calls end, cancels those that do not, asks for `shutdown`. Nothing here waits longer than it may.
    async fn stop(&mut self, stop: Stop, reader_end: &mut oneshot::Receiver<ReaderEnd>) -> SessionEnd {
        let inner = Arc::clone(&self.inner);
        let end = Arc::new(match &*inner.condition.borrow() {
            Condition::Unresponsive(text) => SessionEnd::new(EndCause::Unresponsive, text.clone()),
            Condition::Running | Condition::Ending | Condition::Ended(_) => SessionEnd::stopped(),
        });
        let at_most = |grace: Duration| stop.until.min(Instant::now() + grace);
        tokio::select! {
            broken = &mut *reader_end => return self.explain(broken).await,
            _ = tokio::time::timeout_at(at_most(CALLS_GRACE), inner.calls.unwanted()) => {}
        }
        let cancelled = inner.calls.abandon_all(&end);
        for call in &cancelled {
            inner.cancel(*call, CancelReason::Shutdown);
        }
        // Also those that were given up before: one that does not end then does not end at all.
        tokio::time::timeout_at(at_most(STOPPED_GRACE), inner.calls.idle()).await.ok();
        self.hooks.ends(&inner, &self.around.log, at_most(HOOK_TIME)).await;
        if let Ok((id, _answer)) = inner.calls.insert_own()
            && inner.outbound.send(Outgoing::shutdown(id)).is_ok()
        {
            let _hurried = self.around.host.hurry();
            // The plugin ends once it has cleaned up, and its connection with it.
            let paced = Paced { engine: self.around.engine.as_ref(), sandbox: &inner.sandbox.id, spec: &inner.spec };
            paced.while_it_ends(tokio::time::timeout_at(at_most(SHUTDOWN_GRACE), reader_end)).await.ok();
        }
        SessionEnd::clone(&end)
    }

    /// Tells everybody, then removes what is left.
    async fn finish(self, end: SessionEnd) {
        let Self { inner, around, dir, way_out, mut output_end, .. } = self;
        let _hurried = around.host.hurry();
        let end = Arc::new(end);
        inner.outbound.close();
        inner.calls.end(&end);
        drop(way_out);
        if end.cause != EndCause::Stopped {
            around.log.note("ERROR", &format!("the plugin ended: {}: {}", end.cause.as_str(), end.text));
        }
        inner.condition.send_replace(Condition::Ended(end));
        if let Err(error) = around.engine.remove(&inner.sandbox.id).await {
            // The next look at the engine's list finds it.
            tracing::warn!(sandbox = %inner.sandbox.id, error = %Chain(&error), "A sandbox could not be removed");
        }
        // Whoever stopped it finds in the log what it printed last. The other end is gone with its sandbox, so this takes
        // as long as reading what is left on the way: the limit is for a sandbox that could not be removed.
        tokio::time::timeout(LAST_OUTPUT, output_end.wait_for(|end| end.closed)).await.ok();
        drop(dir);
        give_back(around.data).await;
        inner.removed.send_replace(true);
    }
}

/// The answer to the question that is out; never completes when none is.
async fn answered(asked: &mut Option<(Instant, OwnAnswer)>) -> Option<Result<Box<RawValue>, RemoteError>> {
    match asked {
        Some((_, answer)) => answer.await.ok(),
        None => std::future::pending().await,
    }
}
