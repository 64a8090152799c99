//! Whether the engine is there. Its events are hints to look; a look is what counts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::domain::{Chain, Code, Refusal};
use crate::sandbox::EngineInfo;
use crate::service::Service;

/// How often an engine that is away is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of the engine.
#[derive(Clone, Debug)]
pub enum EngineState {
    /// Nothing yet.
    Unknown,
    /// It is there and fit.
    Up(EngineInfo),
    /// It is not, and this is why and what to do.
    Away {
        /// The code for callers.
        code: Code,
        /// What is wrong.
        text: String,
        /// What helps.
        how: String,
    },
}

impl Service {
    /// Whether the engine is there.
    pub fn engine_state(&self) -> EngineState {
        self.fleet.engine_state.borrow().clone()
    }

    /// Asks the engine and remembers the answer.
    pub(in crate::service) async fn probe_engine(&self) -> EngineState {
        let found = match self.fleet.engine.probe().await {
            Ok(info) => EngineState::Up(info),
            Err(error) => EngineState::Away {
                code: error.code(),
                how: error.how().unwrap_or_else(|| error.code().how().to_owned()),
                text: Chain(&error).to_string(),
            },
        };
        let was = self.fleet.engine_state.send_replace(found.clone());
        match (&was, &found) {
            (EngineState::Up(_), EngineState::Up(_))
            | (EngineState::Away { .. }, EngineState::Away { .. })
            | (_, EngineState::Unknown) => {}
            (_, EngineState::Up(info)) => info!(engine = %info.name, "{} is ready to run plugins", info.name),
            (_, EngineState::Away { text, how, .. }) => warn!("Plugins cannot run: {text}; {how}"),
        }
        found
    }

    pub(in crate::service) async fn watch_engine(self: Arc<Self>, token: CancellationToken) {
        let watching = async {
            loop {
                if matches!(self.probe_engine().await, EngineState::Up(_))
                    && let Ok(mut events) = self.fleet.engine.events().await
                {
                    self.fleet.look.notify_one();
                    while events.next().await.is_some() {
                        self.fleet.look.notify_one();
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        token.run_until_cancelled(watching).await;
    }
}
