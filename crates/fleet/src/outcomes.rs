//! What a supervisor found out about a plugin, and what a room above has to write down. Supervisors know no use case:
//! they tell, wait for it, and go on.

use std::sync::{Arc, Mutex, PoisonError};

use plugbay_domain::DataId;
use tokio::sync::{mpsc, oneshot};

use crate::Member;

/// Outcomes that wait to be taken up. A supervisor that finds no room waits, which harms its plugin alone.
const WAITING: usize = 64;

/// What became of a plugin.
#[derive(Debug)]
pub struct Outcome {
    /// The plugin.
    pub member: Arc<Member>,
    /// What it is, with the way to answer. Closed when the supervisor waits no more: then it must not be done.
    pub kind: OutcomeKind,
}

/// What is to be written down, and who waits for it.
#[derive(Debug)]
pub enum OutcomeKind {
    /// It ends again and again. To be held back.
    CrashLoop(oneshot::Sender<()>),
    /// The version that was watched has proved itself.
    Proved(oneshot::Sender<()>),
    /// The version that was watched is bad. To be taken back.
    Bad {
        /// A stable word for what went wrong.
        reason: &'static str,
        /// The same for people.
        text: String,
        /// What that version kept; `None` when there is nothing to go back to.
        answer: oneshot::Sender<Option<DataId>>,
    },
}

/// The way of outcomes from supervisors to the one who takes them up.
#[derive(Debug)]
pub(crate) struct Outcomes {
    sender: mpsc::Sender<Outcome>,
    /// Taken once.
    receiver: Mutex<Option<mpsc::Receiver<Outcome>>>,
}

impl Default for Outcomes {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl Outcomes {
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Outcome>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells an outcome and waits until it is written down; `None` when it was not.
    pub(crate) async fn tell<T>(
        &self,
        member: &Arc<Member>,
        kind: impl FnOnce(oneshot::Sender<T>) -> OutcomeKind,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let outcome = Outcome { member: Arc::clone(member), kind: kind(answer) };
        // The receiver ends with the process.
        self.sender.send(outcome).await.ok()?;
        answered.await.ok()
    }
}
