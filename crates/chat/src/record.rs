//! What is remembered of an exchange: who took part, what came of it, how long it took.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plugbay_domain::{ExchangeId, PluginName, Timestamp, TokenId, words};

use crate::member::{Member, Stage};

words! {
    /// What came of asking a member.
    Outcome {
        /// It changed nothing.
        Unchanged = "unchanged",
        /// It changed something.
        Changed = "changed",
        /// It masked something.
        Masked = "masked",
        /// It refused what was said.
        Blocked = "blocked",
        /// It answered in the place of a backend.
        Responded = "responded",
        /// A backend answered.
        Answered = "answered",
        /// It failed, and the exchange went on without it.
        Skipped = "skipped",
        /// It failed, and the exchange was refused for that.
        Refused = "refused",
    }
}

words! {
    /// How an exchange ended.
    Ending {
        /// With an answer.
        Answered = "answered",
        /// A plugin refused it.
        Blocked = "blocked",
        /// A guard was not there.
        Refused = "refused",
        /// No backend answered.
        Failed = "failed",
        /// Part of an answer was sent, and then it ended.
        Partial = "partial",
        /// Its caller went away.
        Cancelled = "cancelled",
    }
}

/// One member, asked once.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which plugin.
    pub plugin: PluginName,
    /// At which place.
    pub stage: Stage,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// Which parts it changed, such as `messages/2/content`.
    pub parts: Vec<String>,
    /// A code and a text for what went wrong or why it refused.
    pub why: Option<(String, String)>,
    /// The text before and after, where that is recorded.
    pub texts: Option<(String, String)>,
}

impl Step {
    pub(crate) fn of(member: &Member, outcome: Outcome, took: Duration) -> Self {
        Self::new(member.plugin.clone(), member.stage, outcome, took)
    }

    pub(crate) fn new(plugin: PluginName, stage: Stage, outcome: Outcome, took: Duration) -> Self {
        Self { plugin, stage, outcome, took, parts: Vec::new(), why: None, texts: None }
    }

    pub(crate) fn why(self, code: impl Into<String>, text: &str) -> Self {
        Self { why: Some((code.into(), text.to_owned())), ..self }
    }

    pub(crate) fn parts(self, parts: Vec<String>) -> Self {
        Self { parts, ..self }
    }
}

/// One exchange, as it is remembered.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its id.
    pub id: ExchangeId,
    /// When it began.
    pub at: Timestamp,
    /// Whose it was.
    pub token: TokenId,
    /// The route by which it came.
    pub front: &'static str,
    /// The model that was asked for.
    pub model: String,
    /// The backend that answered.
    pub backend: Option<PluginName>,
    /// How often a backend was asked.
    pub attempts: u32,
    /// How it ended.
    pub ending: Ending,
    /// How long it took in all.
    pub took: Duration,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Tokens of the question and of the answer.
    pub usage: Option<(u64, u64)>,
}

/// The last exchanges.
#[derive(Debug)]
pub(crate) struct Ring {
    most: usize,
    kept: Mutex<VecDeque<Arc<Record>>>,
}

impl Ring {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Record>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, record: Record) {
        if self.most == 0 {
            return;
        }
        let mut kept = self.kept();
        while kept.len() >= self.most {
            kept.pop_front();
        }
        kept.push_back(Arc::new(record));
    }

    pub(crate) fn find(&self, id: ExchangeId) -> Option<Arc<Record>> {
        self.kept().iter().rev().find(|record| record.id == id).cloned()
    }

    /// The newest first.
    pub(crate) fn list(&self, wanted: impl Fn(&Record) -> bool, limit: usize) -> Vec<Arc<Record>> {
        self.kept().iter().rev().filter(|record| wanted(record)).take(limit).cloned().collect()
    }
}
