//! What only the service can do: requests travel up over a bounded channel, so that nothing here knows what is above.

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::HostError;
use plugbay_domain::{Code, Origin, PluginName};
use plugbay_store::{PluginReader, PluginStore};

/// Calls of plugins one inside the other. Stops plugins that call each other in a circle.
pub const MAX_DEPTH: u8 = 4;

/// Requests that wait to be taken up.
const WAITING: usize = 256;

/// Where requests are sent.
pub type UplinkSender = mpsc::Sender<Uplink>;

/// Where an answer is waited for. Whoever asked has gone when it is closed.
pub type Asking = oneshot::Sender<Result<Box<RawValue>, Refused>>;

/// Why the service did not do as asked.
#[derive(Debug)]
pub struct Refused {
    /// For programs.
    pub code: Code,
    /// For people.
    pub text: String,
}

/// A request to the service.
#[derive(Debug)]
pub enum Uplink {
    /// Call a plugin.
    Execute {
        /// What to call.
        call: PluginCall,
        /// Where the answer goes.
        answer: Asking,
    },
    /// List the plugins.
    List {
        /// What is read from, in the turn of the plugin that asks.
        reader: PluginReader,
        /// Where the answer goes.
        answer: Asking,
    },
}

/// A call of a plugin by another one.
#[derive(Debug)]
pub struct PluginCall {
    /// Whom to call.
    pub plugin: PluginName,
    /// The method; `execute` when absent.
    pub method: Option<String>,
    /// What it is given.
    pub context: Option<Box<RawValue>>,
    /// Where the call comes from.
    pub origin: Origin,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    /// Our database as the plugin that asks gets it.
    pub store: PluginStore,
}

impl Uplink {
    /// Both ends of the channel.
    pub fn channel() -> (UplinkSender, mpsc::Receiver<Self>) {
        mpsc::channel(WAITING)
    }

    /// With nobody at the other end.
    #[cfg(test)]
    pub(crate) fn nowhere() -> UplinkSender {
        Self::channel().0
    }
}

/// Sends a request and waits for its answer.
pub(super) async fn ask(
    uplink: &UplinkSender,
    request: impl FnOnce(Asking) -> Uplink,
) -> Result<Box<RawValue>, HostError> {
    let refused = |code, rule: &str| HostError::Refused { code, rule: rule.to_owned() };
    let (answer, answered) = oneshot::channel();
    uplink.try_send(request(answer)).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => refused(Code::PluginBusy, "too many plugins ask the service at once"),
        mpsc::error::TrySendError::Closed(_) => refused(Code::Unavailable, "the service is stopping"),
    })?;
    let answered = answered.await.map_err(|_gone| refused(Code::Unavailable, "the service is stopping"))?;
    answered.map_err(|Refused { code, text }| HostError::Refused { code, rule: text })
}
