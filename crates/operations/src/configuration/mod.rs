//! Whether a version accepts what is set, for versions that serve, that wait, and that are gone back to.

pub(crate) mod bind;
pub(crate) mod proposal;

use plugbay_domain::{Code, ConfigFindings, FieldError, PendingFor, Plugin, Risk};
use plugbay_fleet::settings::ground::Ground;
use plugbay_fleet::settings::{checks, ground};
use plugbay_fleet::{PluginProblem, settings};
use plugbay_registry::{InstalledPlugin, Target};
use plugbay_store as store;
use plugbay_store::configs::ConfigRecord;
use plugbay_store::plugins::VersionRecord;
use semver::Version;
use serde_json::Value;

use crate::{Service, ServiceError, risks};

/// Tells whether a version that would serve accepts what is set. What the serving version lacks as well does not
/// count: the plugin is still being set up.
pub(crate) async fn accepts_config(
    service: &Service,
    plugin: &Plugin,
    serving: &VersionRecord,
    version: &Ground,
) -> Result<bool, ServiceError> {
    let record = config_record(service, plugin).await?;
    let findings = findings(service, version, &record).await?;
    Ok(findings.invalid.is_empty()
        && (findings.missing.is_empty()
            || !checks::missing_values(&service.fleet, &ground::ground(&service.fleet, serving)?, &record)
                .await?
                .is_empty()))
}

/// Refuses to go back to a version that does not accept what is set. A secret that was set for a version that did less
/// with it counts as not set; a plugin that does not run may go back without it.
pub(crate) async fn check_going_back(
    service: &Service,
    plugin: &Plugin,
    serving: &VersionRecord,
    (version, ground): (&Version, &Ground),
) -> Result<(), ServiceError> {
    let record = config_record(service, plugin).await?;
    let findings = findings(service, ground, &record).await?;
    let name = &plugin.name;
    if !findings.invalid.is_empty() {
        let detail = format!("`{name}` {version} does not accept the configuration that is set");
        let how = format!("plugbay config get {name} shows it; set what {version} accepts first");
        return Err(PluginProblem::new(Code::ConfigInvalid, detail).with_how(how).into());
    }
    let lacks_more = !findings.missing.is_empty()
        && checks::missing_values(&service.fleet, &ground::ground(&service.fleet, serving)?, &record).await?.is_empty();
    if lacks_more && plugin.is_enabled() {
        let missing: Vec<String> = findings.missing.iter().map(|field| format!("`{field}`")).collect();
        let detail = format!("`{name}` {version} needs {}, which is not set for what it does", missing.join(", "));
        let how = format!("plugbay disable {name}, go back, plugbay config set {name} FIELD, plugbay enable {name}");
        return Err(PluginProblem::new(Code::ConfigIncomplete, detail).with_how(how).into());
    }
    Ok(())
}

/// The same for the version that waits.
pub(crate) async fn pending_accepts_config(
    service: &Service,
    installed: &InstalledPlugin,
) -> Result<bool, ServiceError> {
    match installed.pending()? {
        Some((version, _)) => {
            accepts_config(service, &installed.plugin, installed.serving(), &ground::ground(&service.fleet, version)?)
                .await
        }
        None => Ok(true),
    }
}

/// Why the waiting version does not accept what is set, if it does not.
pub(crate) async fn pending_config(
    service: &Service,
    installed: &InstalledPlugin,
    record: &ConfigRecord,
) -> Result<Option<PendingConfig>, ServiceError> {
    let Some((version, _)) = installed.pending()? else { return Ok(None) };
    let ground = ground::ground(&service.fleet, version)?;
    let errors = findings(service, &ground, record).await?.fields();
    if errors.is_empty() && !awaits_config(installed) {
        return Ok(None);
    }
    let schema = ground.schema().map(|schema| schema.to_json_schema().clone());
    Ok(Some(PendingConfig { version: version.version.clone(), schema, errors }))
}

/// What the waiting version finds wrong with what is set.
pub(crate) async fn pending_config_errors(
    service: &Service,
    installed: &InstalledPlugin,
) -> Result<Vec<FieldError>, ServiceError> {
    let record = config_record(service, &installed.plugin).await?;
    Ok(pending_config(service, installed, &record).await?.map(|pending| pending.errors).unwrap_or_default())
}

/// The version that waits for nothing but a configuration. What was decided about it may have ended meanwhile.
pub(crate) async fn ready_pending<'a>(
    service: &Service,
    installed: &'a InstalledPlugin,
) -> Result<Option<&'a VersionRecord>, ServiceError> {
    if !awaits_config(installed) {
        return Ok(None);
    }
    let Some((version, carries)) = installed.pending()? else { return Ok(None) };
    let manifest = service.registry.manifest(version)?;
    let target = Target { version, manifest: &manifest, carries };
    let standing = target.standing(&installed.decisions, service.now());
    let mut risks = risks::risks_of(service, version, &manifest, &standing.grants()).await?;
    risks.extend(installed.plugin.signer_changed().then_some(Risk::SignerChanged));
    let accepted = service.registry.accepted_risks(installed.plugin.id).await?;
    let is_decided = standing.is_complete() && risks.iter().all(|risk| target.has_accepted(&accepted, *risk));
    Ok(is_decided.then_some(version))
}

fn awaits_config(installed: &InstalledPlugin) -> bool {
    installed.plugin.pending.as_ref().is_some_and(|pending| pending.waits_for == PendingFor::Config)
}

/// What is set for a plugin.
pub(crate) async fn config_record(service: &Service, plugin: &Plugin) -> Result<ConfigRecord, ServiceError> {
    Ok(store::configs::find(&mut *service.store.reader().await?, plugin.id).await?)
}

/// Required fields of the serving version without a value.
pub(crate) async fn missing_config(
    service: &Service,
    installed: &InstalledPlugin,
) -> Result<Vec<String>, ServiceError> {
    Ok(checks::missing_values(
        &service.fleet,
        &ground::ground(&service.fleet, installed.serving())?,
        &config_record(service, &installed.plugin).await?,
    )
    .await?)
}

/// Refuses to start a plugin that lacks required values, or whose stored ones do not fit.
pub(crate) async fn check_config(service: &Service, installed: &InstalledPlugin) -> Result<(), ServiceError> {
    let version = installed.serving();
    let findings =
        findings(service, &ground::ground(&service.fleet, version)?, &config_record(service, &installed.plugin).await?)
            .await?;
    if findings.is_fit() {
        Ok(())
    } else if findings.invalid.is_empty() {
        Err(incomplete(installed, &findings))
    } else {
        let (name, version) = (installed.plugin.name.clone(), version.version.clone());
        Err(ServiceError::ConfigInvalid { name, version, fields: findings.fields() })
    }
}

/// What a version finds wrong with what is stored.
async fn findings(service: &Service, ground: &Ground, record: &ConfigRecord) -> Result<ConfigFindings, ServiceError> {
    Ok(checks::check_values(&service.fleet, ground, &record.values, settings::open_secrets(&service.fleet, record)?)
        .await?)
}

/// A plugin that cannot run for lack of values.
pub(crate) fn incomplete(installed: &InstalledPlugin, findings: &ConfigFindings) -> ServiceError {
    let (name, missing) = (installed.plugin.name.clone(), findings.missing.clone());
    ServiceError::ConfigIncomplete { name, missing, fields: findings.missing_fields() }
}

/// Why a version waits.
#[derive(Debug)]
pub struct PendingConfig {
    /// The version.
    pub version: Version,
    /// What may be set for it.
    pub schema: Option<Value>,
    /// What it does not accept, and what it lacks.
    pub errors: Vec<FieldError>,
}
