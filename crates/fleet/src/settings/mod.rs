//! What a plugin that is started is configured with: what its version accepts, and what is set for it, opened.

pub mod checks;
pub mod ground;

use std::time::Duration;

use plugbay_domain::{ConfigFindings, PluginConfig, PluginName};
use plugbay_session::Session;
use plugbay_store as store;
use plugbay_store::configs::{ConfigRecord, SealedSecret};
use plugbay_store::plugins::VersionRecord;

use crate::{Fleet, FleetError, Member, Reach};

pub use self::checks::{Checked, Checks, checking};
pub use self::ground::{Ground, Held, HeldSecret};

/// How long a plugin may take to answer `configure`; after that it is started anew.
pub(crate) const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);

async fn read_config(
    fleet: &Fleet,
    member: &Member,
    version: &VersionRecord,
) -> Result<(i64, PluginConfig), FleetError> {
    let record = store::configs::find(&mut *fleet.store.reader().await?, member.id).await?;
    let config = ground::ground(fleet, version)?.plugin_config(&record, open_secrets(fleet, &record)?);
    Ok((record.revision, config))
}

/// Reads the configuration of a plugin's version, and makes it known to everything that has to do with its secrets.
/// The revision is given back with it.
pub async fn load_config(
    fleet: &Fleet,
    member: &Member,
    reach: &Reach,
    version: &VersionRecord,
) -> Result<(i64, PluginConfig), FleetError> {
    let (revision, config) = read_config(fleet, member, version).await?;
    member.hold(reach, &config, revision);
    Ok((revision, config))
}

/// Lets a version that has just taken over have what it may have since then; `known` is what it was started with. What a
/// plugin cannot take brings the next look, which starts it anew.
pub async fn complete_config(
    fleet: &Fleet,
    (member, reach): (&Member, &Reach),
    version: &VersionRecord,
    session: &Session,
    known: &PluginConfig,
) -> Result<(), FleetError> {
    let (revision, config) = read_config(fleet, member, version).await?;
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

/// The secrets that are set, opened.
pub fn open_secrets(fleet: &Fleet, record: &ConfigRecord) -> Result<ground::Held, FleetError> {
    let open = |secret: &SealedSecret| {
        let (value, policies) = (secret.open(&fleet.sealing_key)?, secret.policies()?);
        Ok((secret.field.clone(), HeldSecret { value, policies }))
    };
    record.secrets.iter().map(open).collect()
}

/// Refuses to start a version without values that it needs.
pub(crate) async fn check_complete(
    fleet: &Fleet,
    name: &PluginName,
    version: &VersionRecord,
) -> Result<(), FleetError> {
    let record = store::configs::find(&mut *fleet.store.reader().await?, version.plugin_id).await?;
    let missing = checks::missing_values(fleet, &ground::ground(fleet, version)?, &record).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let fields = ConfigFindings { invalid: Vec::new(), missing: missing.clone() }.missing_fields();
    Err(FleetError::ConfigIncomplete { name: name.clone(), missing, fields })
}
