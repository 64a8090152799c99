//! What happened to a plugin since this process began: calls, figures, failures. In memory only, without payloads.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use plugbay_domain::{CallId, Timestamp, chat_method, words};
use plugbay_runtime::metrics::{Counters, Histogram};

/// Calls that are remembered.
const CALLS_KEPT: usize = 1_000;

/// Bytes of a failure's text.
const TEXT_BYTES: usize = 512;

words! {
    /// How a call ended.
    Outcome {
        /// With an answer.
        Ok = "ok",
        /// With an answer that says that it did not work.
        Failed = "failed",
        /// The plugin's code raised.
        Raised = "raised",
        /// Too late.
        Timeout = "timeout",
        /// Whoever asked has gone.
        Cancelled = "cancelled",
        /// The session ended first.
        Ended = "ended",
        /// It never reached the plugin, or its answer never reached the caller.
        Refused = "refused",
    }
}

impl Outcome {
    /// Whether the plugin failed. A caller that left, and what the service refused, say nothing about it.
    const fn is_bad(self) -> bool {
        matches!(self, Self::Raised | Self::Timeout | Self::Ended)
    }

    /// Whether the plugin did its work.
    const fn is_good(self) -> bool {
        matches!(self, Self::Ok | Self::Failed)
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// Its id.
    pub call: CallId,
    /// The method.
    pub method: Cow<'static, str>,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// Failures of one kind.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Such as `raised` or `crash`.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// What the last one said.
    pub text: String,
}

/// The last failure of all.
#[derive(Clone, Debug)]
pub struct LastFailure {
    /// Such as `crash`.
    pub kind: &'static str,
    /// When.
    pub at: Timestamp,
    /// What it said.
    pub text: String,
    /// The exit code, if a process ended.
    pub exit_code: Option<i64>,
}

/// Figures about calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics {
    /// Calls that have ended.
    pub invocations: u64,
    /// With an answer.
    pub successes: u64,
    /// Without one.
    pub failures: u64,
    /// All durations together.
    pub total: Duration,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// The last one's beginning.
    pub last: Option<Timestamp>,
}

impl Metrics {
    fn add(&mut self, call: &CallRecord) {
        self.min = if self.invocations == 0 { call.duration } else { self.min.min(call.duration) };
        self.max = self.max.max(call.duration);
        self.invocations += 1;
        self.total += call.duration;
        self.last = Some(call.started_at);
        *(if call.outcome.is_good() { &mut self.successes } else { &mut self.failures }) += 1;
    }
}

/// Everything that is remembered of one plugin.
#[derive(Debug)]
pub struct Record {
    inner: Mutex<Inner>,
    /// Calls by how they ended.
    pub outcomes: Counters<Outcome>,
    /// How long calls took.
    pub durations: Histogram,
}

impl Default for Record {
    fn default() -> Self {
        Self { inner: Mutex::default(), outcomes: Counters::default(), durations: Histogram::for_calls() }
    }
}

#[derive(Debug, Default)]
struct Inner {
    calls: VecDeque<CallRecord>,
    metrics: Metrics,
    /// The same of each method that the chat calls: there are few of these.
    of_chat: BTreeMap<&'static str, Metrics>,
    failures: Vec<Failure>,
    last_failure: Option<LastFailure>,
    good_calls: u64,
    bad_calls: u64,
    restarts: u64,
    /// When the last call began, if that is not yet in the database.
    unnoted: Option<Timestamp>,
}

impl Record {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call that has ended.
    pub fn call(&self, call: CallRecord) {
        self.outcomes.of(call.outcome).add_one();
        self.durations.observe(call.duration);
        let mut inner = self.inner();
        inner.metrics.add(&call);
        if let Some(method) = chat_method(&call.method) {
            inner.of_chat.entry(method).or_default().add(&call);
        }
        inner.good_calls += u64::from(call.outcome.is_good());
        inner.bad_calls += u64::from(call.outcome.is_bad());
        inner.unnoted = Some(call.started_at);
        if inner.calls.len() == CALLS_KEPT {
            inner.calls.pop_front();
        }
        inner.calls.push_back(call);
    }

    /// Adds a failure.
    pub fn failure(&self, kind: &'static str, at: Timestamp, text: &str, exit_code: Option<i64>) {
        let text = text[..text.floor_char_boundary(TEXT_BYTES)].to_owned();
        let mut inner = self.inner();
        if let Some(known) = inner.failures.iter_mut().find(|failure| failure.kind == kind) {
            known.count += 1;
            known.last = at;
            known.text.clone_from(&text);
        } else {
            inner.failures.push(Failure { kind, count: 1, first: at, last: at, text: text.clone() });
        }
        inner.last_failure = Some(LastFailure { kind, at, text, exit_code });
    }

    pub(crate) fn restarted(&self) {
        self.inner().restarts += 1;
    }

    /// How often it was started again in this process.
    pub fn restarts(&self) -> u64 {
        self.inner().restarts
    }

    pub(crate) fn good_calls(&self) -> u64 {
        self.inner().good_calls
    }

    pub(crate) fn bad_calls(&self) -> u64 {
        self.inner().bad_calls
    }

    /// The calls, latest first.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.inner().calls.iter().rev().cloned().collect()
    }

    /// Figures about its calls.
    pub fn metrics(&self) -> Metrics {
        self.inner().metrics
    }

    /// The same of each method that the chat has called.
    pub fn metrics_of_chat(&self) -> Vec<(&'static str, Metrics)> {
        self.inner().of_chat.iter().map(|(method, metrics)| (*method, *metrics)).collect()
    }

    /// The last failures, latest first.
    pub fn failures(&self) -> Vec<Failure> {
        self.inner().failures.clone()
    }

    /// The last failure, if there was one.
    pub fn last_failure(&self) -> Option<LastFailure> {
        self.inner().last_failure.clone()
    }

    /// When the last call began, once.
    pub(crate) fn take_unnoted(&self) -> Option<Timestamp> {
        self.inner().unnoted.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_the_oldest_forgotten() {
        let record = Record::default();
        for number in 1..=CALLS_KEPT as u64 + 5 {
            let outcome = if number % 2 == 0 { Outcome::Raised } else { Outcome::Ok };
            record.call(CallRecord {
                call: CallId::generate(),
                method: "execute".into(),
                started_at: Timestamp::from_millis(0).unwrap(),
                duration: Duration::from_millis(number),
                outcome,
            });
        }
        let metrics = record.metrics();
        assert_eq!((metrics.invocations, metrics.successes, metrics.failures), (1_005, 503, 502));
        assert_eq!((metrics.min, metrics.max), (Duration::from_millis(1), Duration::from_millis(1_005)));
        assert_eq!(record.calls().len(), CALLS_KEPT);
        assert_eq!(record.calls()[0].duration, Duration::from_millis(1_005));
        assert_eq!((record.good_calls(), record.bad_calls()), (503, 502));
    }

    #[test]
    fn failures_are_kept_by_kind_and_cut_at_a_character() {
        let record = Record::default();
        let at = Timestamp::from_millis(0).unwrap();
        record.failure("raised", at, "one", None);
        record.failure("crash", at, &"é".repeat(TEXT_BYTES), Some(3));
        record.failure("raised", at, "two", None);
        let failures = record.failures();
        assert_eq!((failures[0].kind, failures[0].count, failures[0].text.as_str()), ("raised", 2, "two"));
        assert!(failures[1].text.len() <= TEXT_BYTES);
        assert_eq!(record.last_failure().unwrap().kind, "raised");
    }
}
