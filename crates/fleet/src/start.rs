//! From a version of a plugin to a session that answers.

use std::sync::Arc;

use plugbay_domain::{Chain, DataId, Manifest, PluginRef, PluginState, Refusal as _};
use plugbay_session::{LaunchError, Session, Surroundings, launch};
use plugbay_store::plugins::VersionRecord;

use crate::{Fleet, FleetError, Member, PluginProblem, Reach, authority, isolation, order, settings, volumes};

/// What is started: a version, with what it keeps and what it may do.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The version.
    pub version: VersionRecord,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// What it keeps.
    pub data: DataId,
    /// What it may do to others.
    pub reach: Arc<Reach>,
}

/// Why there is no session.
#[derive(Debug)]
pub enum StartError {
    /// It must not be started, or not now.
    Refused(FleetError),
    /// What it keeps is not ready.
    Data(FleetError),
    /// It was started in vain.
    Launch(LaunchError),
}

impl StartError {
    /// What whoever asked for the start is told.
    pub fn into_service(self, member: &Member) -> FleetError {
        match self {
            Self::Refused(error) | Self::Data(error) => error,
            Self::Launch(error) => PluginProblem::of_launch(&member.name, error).into(),
        }
    }

    /// Shows it where failures of the plugin are looked for.
    pub(crate) fn note(&self, fleet: &Fleet, member: &Member) {
        let (name, now) = (&member.name, fleet.now());
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

/// What serves now, whether it may be started or not.
pub async fn subject(fleet: &Fleet, member: &Member) -> Result<Subject, FleetError> {
    authority::refresh_grants(fleet, member).await?;
    let unknown = || FleetError::PluginUnknown { wanted: member.name.to_string() };
    let installed = fleet.registry.find_installed(&PluginRef::Id(member.id)).await?.ok_or_else(unknown)?;
    let (version, manifest, data) = (installed.serving().clone(), installed.manifest()?, installed.plugin.data());
    Ok(Subject { version, manifest, data, reach: member.reach() })
}

/// Starts a session. Whatever fails, nothing of it is left.
pub async fn start_session(
    fleet: &Fleet,
    member: &Member,
    subject: &Subject,
    on_state: &(dyn Fn(PluginState) + Send + Sync),
) -> Result<Session, StartError> {
    isolation::check_isolation(fleet, member, subject).await.map_err(StartError::Refused)?;
    // Going back may have left it without a secret that was set for another version.
    settings::check_complete(fleet, &member.name, &subject.version).await.map_err(StartError::Refused)?;
    let order = order::launch_order(fleet, member, subject).await.map_err(StartError::Refused)?;
    let data = volumes::open_volume(fleet, member, subject.data, &order.spec).await.map_err(StartError::Data)?;
    let around = Surroundings {
        engine: Arc::clone(&fleet.engine),
        log: Arc::clone(&member.log),
        host: order::host(fleet, member, subject),
        clock: Arc::clone(&fleet.clock),
        shutdown: fleet.shutdown.clone(),
        data: Some(data),
    };
    let id = order.spec.session;
    fleet.announce(id);
    launch(order, around, on_state).await.map_err(|error| {
        fleet.withdraw(id);
        StartError::Launch(error)
    })
}

/// Starts something that an operator waits for when it has its turn. What takes too long goes on without the turn.
pub async fn asked<T>(fleet: &Fleet, starting: impl Future<Output = T>) -> T {
    fleet.launches.asked(starting).await
}
