//! What follows from a change for a plugin that runs: it gets the new configuration by `configure`, or a fresh sandbox
//! that starts with it. Calls that were admitted are answered either way.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::domain::PluginConfig;
use crate::registry::PluginChange;
use crate::service::fleet::{FirstStart, Member, Reach};
use crate::service::{Service, ServiceError};
use crate::session::Session;
use crate::store;
use crate::store::plugins::VersionRecord;

/// How long a plugin may take to answer `configure`; after that it is started anew.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);

async fn read_config(
    service: &Service,
    member: &Member,
    version: &VersionRecord,
) -> Result<(i64, PluginConfig), ServiceError> {
    let record = store::configs::find(&mut *service.store.reader().await?, member.id).await?;
    let config = service.ground(version)?.plugin_config(&record, service.open_secrets(&record)?);
    Ok((record.revision, config))
}

impl Service {
    /// Reads the configuration of a plugin's version, and makes it known to everything that has to do with its secrets.
    /// The revision is given back with it.
    pub(in crate::service) async fn load_config(
        &self,
        member: &Member,
        reach: &Reach,
        version: &VersionRecord,
    ) -> Result<(i64, PluginConfig), ServiceError> {
        let (revision, config) = read_config(self, member, version).await?;
        member.hold(reach, &config, revision);
        Ok((revision, config))
    }

    /// Lets a version that has just taken over have what it may have since then; `known` is what it was started with. What a
    /// plugin cannot take brings the next look, which starts it anew.
    pub(in crate::service) async fn complete_config(
        &self,
        (member, reach): (&Member, &Reach),
        version: &VersionRecord,
        session: &Session,
        known: &PluginConfig,
    ) -> Result<(), ServiceError> {
        let (revision, config) = read_config(self, member, version).await?;
        member.hold_secrets(reach, &config);
        if config.is_shown_like(known) || session.configure(&config, CONFIGURE_TIMEOUT).await {
            // The member keeps the revision that it asks of sessions: the take-over alone has raised it, and the version
            // before must be able to come back as it is.
            session.has_config(revision);
        } else {
            member.hold(reach, &config, revision);
        }
        Ok(())
    }

    /// Brings a change to what runs.
    pub(super) async fn apply_config(
        self: &Arc<Self>,
        change: &PluginChange<'_>,
        is_seen: bool,
    ) -> Result<(), ServiceError> {
        let plugin = &change.plugin;
        let member = self.member(plugin.id, &plugin.name);
        if !member.is_supervised() {
            let is_wanted = plugin.should_run();
            if is_wanted && self.is_verified() && self.refresh_grants(&member).await?.is_complete() {
                self.supervise(&member, FirstStart::Resumed);
            }
            return Ok(());
        }
        let installed = change.installed().await?;
        let (revision, config) = self.load_config(&member, &member.reach(), installed.serving()).await?;
        if let Some(session) = member.session() {
            if !is_seen || session.configure(&config, CONFIGURE_TIMEOUT).await {
                session.has_config(revision);
                return Ok(());
            }
            info!(plugin.name = %plugin.name, "`{}` is started anew with its new configuration", plugin.name);
        }
        member.renew(|session| self.is_outdated(&member, session));
        Ok(())
    }
}
