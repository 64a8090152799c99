//! Whether the engine is there. Its events are hints to look; a look is what counts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use plugbay_domain::{Chain, Code, Refusal};
use plugbay_sandbox::EngineInfo;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Fleet, PluginProblem};

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

/// Asks the engine and remembers the answer.
pub(crate) async fn probe_engine(fleet: &Fleet) -> EngineState {
    let found = match fleet.engine.probe().await {
        Ok(info) => EngineState::Up(info),
        Err(error) => EngineState::Away {
            code: error.code(),
            how: error.how().unwrap_or_else(|| error.code().how().to_owned()),
            text: Chain(&error).to_string(),
        },
    };
    let was = fleet.engine_state.send_replace(found.clone());
    match (&was, &found) {
        (EngineState::Up(_), EngineState::Up(_))
        | (EngineState::Away { .. }, EngineState::Away { .. })
        | (_, EngineState::Unknown) => {}
        (_, EngineState::Up(info)) => info!(engine = %info.name, "{} is ready to run plugins", info.name),
        (_, EngineState::Away { text, how, .. }) => warn!("Plugins cannot run: {text}; {how}"),
    }
    found
}

/// Asks the engine again and again until it answers, and then listens to what it tells.
pub async fn watch_engine(fleet: Arc<Fleet>, token: CancellationToken) {
    let watching = async {
        loop {
            if matches!(probe_engine(&fleet).await, EngineState::Up(_))
                && let Ok(mut events) = fleet.engine.events().await
            {
                fleet.look.notify_one();
                while events.next().await.is_some() {
                    fleet.look.notify_one();
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    token.run_until_cancelled(watching).await;
}

impl Fleet {
    /// Whether the engine is there.
    pub fn engine_state(&self) -> EngineState {
        self.engine_state.borrow().clone()
    }
}

/// The engine does not answer.
pub fn engine_problem(fleet: &Fleet) -> PluginProblem {
    match fleet.engine_state() {
        EngineState::Away { code, text, how } => PluginProblem::new(code, text).with_how(how),
        EngineState::Unknown | EngineState::Up(_) => {
            PluginProblem::new(Code::EngineUnavailable, "the engine does not answer at the moment")
        }
    }
}
