//! The engines there are: the one that runs plugins, and for whoever asks what is missing, all of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use plugbay_config::{Config, EngineChoice};
use plugbay_domain::{Chain, Isolation, Refusal as _};
use plugbay_sandbox::{AutoEngine, DockerEngine, EngineInfo, Place, ProcessEngine, Sandbox};
use tokio::time::timeout;
use tracing::warn;

use crate::{Service, ServiceError};

/// How long what was found is shown again: looking starts programs.
const AGE: Duration = Duration::from_secs(10);

/// How long one engine is waited for: nobody who looks is to hang with it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Every engine.
#[derive(Debug)]
pub(crate) struct Engines {
    all: [(Isolation, Arc<dyn Sandbox>); 2],
    seen: Mutex<Option<(Instant, Vec<EngineReport>)>>,
}

/// What one engine can do here.
#[derive(Clone, Debug)]
pub struct EngineReport {
    /// What it would be.
    pub isolation: Isolation,
    /// Who it is; else what is missing and how to get it.
    pub found: Result<EngineInfo, (String, String)>,
}

impl Engines {
    /// All of them, and the operator's choice.
    pub(crate) fn open(
        instance: &str,
        config: &Config,
        place: Place<'_>,
    ) -> Result<(Self, Arc<dyn Sandbox>), ServiceError> {
        let docker: Arc<dyn Sandbox> = Arc::new(DockerEngine::new(instance, &config.sandbox, config.calls));
        let process = ProcessEngine::new(instance, &config.sandbox, config.calls, place);
        let process: Arc<dyn Sandbox> = Arc::new(
            process.map_err(|source| ServiceError::File { action: "start the process engine".to_owned(), source })?,
        );
        let chosen: Arc<dyn Sandbox> = match config.sandbox.engine {
            EngineChoice::Docker => Arc::clone(&docker),
            EngineChoice::Process => Arc::clone(&process),
            EngineChoice::Auto => Arc::new(AutoEngine::new(Arc::clone(&docker), Arc::clone(&process))),
        };
        let all = [(Isolation::Docker, docker), (Isolation::Process, process)];
        Ok((Self { all, seen: Mutex::default() }, chosen))
    }

    /// Removes every sandbox that there is. An engine that is not there has none.
    pub(crate) async fn remove_all(&self) {
        for (isolation, engine) in &self.all {
            for found in engine.list().await.unwrap_or_default() {
                if let Err(error) = engine.remove(&found.id).await {
                    warn!(%isolation, sandbox = %found.id, error = %Chain(&error), "A sandbox could not be removed");
                }
            }
        }
    }
}

/// What each engine can do here, also those that run nothing.
pub async fn examine_engines(service: &Service) -> Vec<EngineReport> {
    let seen = service.engines.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((_, reports)) = seen.filter(|(at, _)| at.elapsed() < AGE) {
        return reports;
    }
    let look = async |(isolation, engine): &(Isolation, Arc<dyn Sandbox>)| {
        let found = match timeout(PATIENCE, engine.probe()).await {
            Ok(found) => found.map_err(|error| {
                let how = error.how().unwrap_or_else(|| error.code().how().to_owned());
                (Chain(&error).to_string(), how)
            }),
            Err(_elapsed) => {
                let detail = format!("no answer within {} ms", PATIENCE.as_millis());
                Err((detail, "ask again; restart it if that stays so".to_owned()))
            }
        };
        EngineReport { isolation: *isolation, found }
    };
    let reports = join_all(service.engines.all.iter().map(look)).await;
    let seen = Some((Instant::now(), reports.clone()));
    *service.engines.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    reports
}
