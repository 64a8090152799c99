//! From a version of a plugin to a session that answers.

use std::sync::Arc;

use super::{Member, Reach};
use crate::domain::{Chain, DataId, Manifest, PluginRef, PluginState, Refusal as _};
use crate::service::{PluginProblem, Service, ServiceError};
use crate::session::{LaunchError, Session, Surroundings, launch};
use crate::store::plugins::VersionRecord;

/// What is started: a version, with what it keeps and what it may do.
#[derive(Clone, Debug)]
pub(in crate::service) struct Subject {
    pub(in crate::service) version: VersionRecord,
    pub(in crate::service) manifest: Arc<Manifest>,
    pub(in crate::service) data: DataId,
    pub(in crate::service) reach: Arc<Reach>,
}

/// Why there is no session.
#[derive(Debug)]
pub(in crate::service) enum StartError {
    /// It must not be started, or not now.
    Refused(ServiceError),
    /// What it keeps is not ready.
    Data(ServiceError),
    /// It was started in vain.
    Launch(LaunchError),
}

impl StartError {
    /// What whoever asked for the start is told.
    pub(in crate::service) fn into_service(self, member: &Member) -> ServiceError {
        match self {
            Self::Refused(error) | Self::Data(error) => error,
            Self::Launch(error) => PluginProblem::of_launch(&member.name, error).into(),
        }
    }

    /// Shows it where failures of the plugin are looked for.
    pub(super) fn note(&self, service: &Service, member: &Member) {
        let (name, now) = (&member.name, service.now());
        match self {
            Self::Refused(_) => {}
            Self::Data(error) => {
                tracing::warn!(plugin.name = %name, error = %Chain(error), "`{name}` did not start");
                member.record.failure(error.code().as_str(), now, &error.to_string(), None);
            }
            Self::Launch(error) => {
                tracing::warn!(plugin.name = %name, error = %Chain(error), "`{name}` did not start");
                if let LaunchError::Plugin(failure) = error {
                    let text = format!("{}: {}", failure.reason, failure.text);
                    member.record.failure("start-failed", now, &text, failure.exit_code);
                }
            }
        }
    }
}

impl Service {
    /// What serves now, whether it may be started or not.
    pub(in crate::service) async fn subject(&self, member: &Member) -> Result<Subject, ServiceError> {
        self.refresh_grants(member).await?;
        let unknown = || ServiceError::PluginUnknown { wanted: member.name.to_string() };
        let installed = self.registry.find_installed(&PluginRef::Id(member.id)).await?.ok_or_else(unknown)?;
        let (version, manifest, data) = (installed.serving().clone(), installed.manifest()?, installed.plugin.data());
        Ok(Subject { version, manifest, data, reach: member.reach() })
    }

    /// Starts a session. Whatever fails, nothing of it is left.
    pub(in crate::service) async fn start_session(
        &self,
        member: &Member,
        subject: &Subject,
        on_state: &(dyn Fn(PluginState) + Send + Sync),
    ) -> Result<Session, StartError> {
        self.check_isolation(member, subject).await.map_err(StartError::Refused)?;
        // Going back may have left it without a secret that was set for another version.
        self.check_complete(&member.name, &subject.version).await.map_err(StartError::Refused)?;
        let order = self.launch_order(member, subject).await.map_err(StartError::Refused)?;
        let data = self.open_volume(member, subject.data, &order.spec).await.map_err(StartError::Data)?;
        let around = Surroundings {
            engine: Arc::clone(&self.fleet.engine),
            log: Arc::clone(&member.log),
            host: self.host(member, subject),
            clock: Arc::clone(&self.clock),
            shutdown: self.shutdown.clone(),
            data: Some(data),
        };
        let id = order.spec.session;
        self.fleet.announce(id);
        launch(order, around, on_state).await.map_err(|error| {
            self.fleet.withdraw(id);
            StartError::Launch(error)
        })
    }
}
