//! One exchange while it is under way: what is known of it, and what its members have said so far.

use std::sync::Arc;
use std::time::Duration;

use plugbay_dialects::{ChatMessage, ChatRequest, UpstreamFailure};
use plugbay_domain::{ConversationId, ExchangeId, Origin, PluginName, Timestamp};
use plugbay_registry::Caller;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::member::{Member, Stage};
use crate::message::{Kept, Parts};
use crate::record::{Ending, Record, Step};
use crate::roster::Roster;
use crate::state::State;

/// Why an exchange does not go on.
#[derive(Clone, Debug)]
pub(crate) enum Stopped {
    /// A plugin refused what was said.
    Blocked {
        /// Which one.
        plugin: PluginName,
        /// Why.
        reason: String,
    },
    /// A guard failed.
    Guard {
        /// Which one.
        plugin: PluginName,
        /// What was wrong with it.
        code: &'static str,
        /// The same for people.
        text: String,
    },
    /// No backend has the model.
    Model {
        /// What is wrong with it.
        text: String,
    },
    /// A text does not fit a message to a plugin.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most that fit.
        most: usize,
    },
    /// No backend answered.
    Backend {
        /// The last one that was asked.
        plugin: PluginName,
        /// What it said.
        failure: UpstreamFailure,
        /// Whether it said nothing in time.
        timed_out: bool,
        /// When to ask again, as far as it said so.
        retry_after: Option<Duration>,
    },
}

impl Stopped {
    pub(crate) fn ending(&self) -> Ending {
        match self {
            Self::Blocked { .. } => Ending::Blocked,
            Self::Guard { .. } => Ending::Refused,
            Self::Model { .. } | Self::TooLarge { .. } | Self::Backend { .. } => Ending::Failed,
        }
    }
}

/// One exchange.
pub(crate) struct Course {
    pub(crate) state: Arc<State>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) id: ExchangeId,
    pub(crate) at: Timestamp,
    pub(crate) began: Instant,
    pub(crate) front: &'static str,
    pub(crate) caller: Caller,
    pub(crate) trace: Option<String>,
    pub(crate) conversation: Option<ConversationId>,
    /// The request without its messages.
    pub(crate) request: ChatRequest,
    pub(crate) messages: Vec<Kept>,
    pub(crate) parts: Parts,
    /// What plugins have noted about the exchange.
    pub(crate) metadata: Map<String, Value>,
    pub(crate) steps: Vec<Step>,
    pub(crate) backend: Option<PluginName>,
    pub(crate) attempts: u32,
    /// How long the backend was waited for, which is none of ours.
    pub(crate) waited: Duration,
    budget: Budget,
    /// Messages that plugins have added.
    added: u32,
    /// Whether a backend was asked, so that the budget after it counts.
    is_answered: bool,
}

impl Course {
    pub(crate) fn begin(
        state: Arc<State>,
        roster: Arc<Roster>,
        (front, caller, trace): (&'static str, Caller, Option<String>),
        (conversation, history): (Option<ConversationId>, Vec<ChatMessage>),
        mut request: ChatRequest,
    ) -> Self {
        let id = ExchangeId::generate();
        let past = history.len();
        let messages = history.into_iter().chain(std::mem::take(&mut request.messages)).enumerate();
        let messages = messages.map(|(index, message)| Kept {
            id: format!("m{index}"),
            message,
            metadata: Map::new(),
            is_past: index < past,
        });
        let mut metadata = Map::from_iter([("exchange".to_owned(), json!(id)), ("front".to_owned(), front.into())]);
        if let Some(conversation) = conversation {
            metadata.insert("conversation".to_owned(), json!(conversation));
        }
        let most = state.service.config().chat.request_bytes;
        let budget = Budget::new(state.service.config().chat.budget.before);
        Self {
            at: state.service.now(),
            began: Instant::now(),
            messages: messages.collect(),
            parts: Parts::up_to(most),
            steps: Vec::new(),
            backend: None,
            attempts: 0,
            waited: Duration::ZERO,
            is_answered: false,
            added: 0,
            state,
            roster,
            id,
            front,
            caller,
            trace,
            conversation,
            request,
            metadata,
            budget,
        }
    }

    /// The id of a message that a plugin adds.
    pub(crate) fn next_id(&mut self) -> String {
        self.added += 1;
        format!("a{}", self.added)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { conversation: self.conversation, depth: 0 }
    }

    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    pub(crate) fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// From now on members share what there is after a backend.
    pub(crate) fn answered(&mut self) {
        if !std::mem::replace(&mut self.is_answered, true) {
            self.budget = Budget::new(self.state.service.config().chat.budget.after);
        }
    }

    /// What plugbay and its plugins have taken until now, without the backend.
    pub(crate) fn overhead(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.waited)
    }

    /// Whether the plugin runs and lacks the method: a class need not have both of those that its kind may have.
    pub(crate) fn lacks_method(&self, member: &Member) -> bool {
        let session = self.state.service.fleet().member(member.id, &member.plugin).session();
        session.is_some_and(|session| !session.ready().methods.iter().any(|method| method == member.method))
    }

    /// The members of a stage.
    pub(crate) fn members(&self, stage: Stage) -> Vec<Arc<Member>> {
        self.roster.plan.at(stage).to_vec()
    }

    /// What is remembered of it.
    pub(crate) fn record(&self, ending: Ending, usage: Option<(u64, u64)>) -> Record {
        Record {
            id: self.id,
            at: self.at,
            token: self.caller.token,
            front: self.front,
            model: self.request.model.clone(),
            backend: self.backend.clone(),
            attempts: self.attempts,
            ending,
            took: self.began.elapsed(),
            steps: self.steps.clone(),
            usage,
        }
    }
}
