//! Which risks a plugin is, alone and together with the plugins it calls and that call it.

use std::collections::BTreeMap;

use plugbay_domain::{Code, Egress, Grants, Manifest, Plugin, PluginId, PluginName, Reach, Risk, leaks};
use plugbay_fleet::PluginProblem;
use plugbay_registry::{Caller, InstalledPlugin, Target};
use plugbay_store as store;
use plugbay_store::grants::GrantRecord;
use plugbay_store::plugins::VersionRecord;

use crate::{Service, ServiceError, scan};

/// The risks of what a plugin asks for, as they are shown before anybody decides.
pub(crate) async fn asked_risks(
    service: &Service,
    version: &VersionRecord,
    manifest: &Manifest,
) -> Result<Vec<Risk>, ServiceError> {
    let reach = manifest.asked_reach();
    let leaks = reach.reaches_out_with_data() || leaks_with(service, version.plugin_id, &manifest.name, reach).await?;
    Ok(leaks.then_some(Risk::DataEgress).into_iter().chain(scan::risk_of(service, version)).collect())
}

/// What has to be accepted by name before a version runs under these grants.
pub(crate) async fn risks_of(
    service: &Service,
    version: &VersionRecord,
    manifest: &Manifest,
    grants: &Grants,
) -> Result<Vec<Risk>, ServiceError> {
    let mut risks = granted_risks(service, version.plugin_id, manifest, grants).await?;
    risks.extend(scan::risk_of(service, version));
    Ok(risks)
}

/// The risks that these grants are, each of which has to be accepted by name.
async fn granted_risks(
    service: &Service,
    id: PluginId,
    manifest: &Manifest,
    grants: &Grants,
) -> Result<Vec<Risk>, ServiceError> {
    let reach = Reach::of(manifest, grants);
    let leaks = leaks_with(service, id, &manifest.name, reach).await?;
    Ok(leaks.then_some(Risk::DataEgress).into_iter().collect())
}

/// Refuses to run what became a risk by a change to another plugin, until somebody accepts it.
pub(crate) async fn check_open_risks(
    service: &Service,
    installed: &InstalledPlugin,
    manifest: &Manifest,
    grants: &Grants,
) -> Result<(), ServiceError> {
    let target = installed.target(manifest);
    scan::check_policy(service, target.version, manifest)?;
    let mut risks = risks_of(service, target.version, manifest, grants).await?;
    let accepted = service.registry.accepted_risks(installed.plugin.id).await?;
    risks.retain(|risk| !target.has_accepted(&accepted, *risk));
    if risks.is_empty() {
        return Ok(());
    }
    Err(risk_problem(Code::PermissionsPending, &manifest.name, &risks).into())
}

/// Whether what is left of the grants is a risk still; else whoever gives them back has to accept it again.
pub(crate) async fn is_risk_left(
    service: &Service,
    installed: &InstalledPlugin,
    rows: &[GrantRecord],
) -> Result<bool, ServiceError> {
    let manifest = installed.manifest()?;
    let left = installed.target(&manifest).standing(rows, service.now());
    Ok(!granted_risks(service, installed.plugin.id, &manifest, &left.grants()).await?.is_empty())
}

async fn leaks_with(service: &Service, id: PluginId, name: &PluginName, reach: Reach) -> Result<bool, ServiceError> {
    let is_harmless = !reach.holds_data && reach.egress != Egress::Open;
    // What neither holds nor sends anything and calls nobody adds nothing to what others do.
    if is_harmless && reach.calls.is_empty() && !reach.calls_all {
        return Ok(false);
    }
    let mut plugins = reach_of_others(service, id).await?;
    plugins.insert(name.clone(), reach);
    Ok(leaks(name, &plugins))
}

/// What every other plugin can do under its grants.
async fn reach_of_others(service: &Service, own: PluginId) -> Result<BTreeMap<PluginName, Reach>, ServiceError> {
    let mut found = BTreeMap::new();
    for other in service.registry.snapshot().await?.plugins.iter().filter(|other| other.plugin.id != own) {
        let (manifest, grants) = (other.manifest()?, other.standing(service.now())?.grants());
        found.insert(other.plugin.name.clone(), Reach::of(&manifest, &grants));
    }
    Ok(found)
}

/// Why a version that would serve at once has to wait although it asks for nothing more: risks that were not accepted
/// for the one before.
pub(crate) async fn new_risks(
    service: &Service,
    caller: &Caller,
    plugin: &Plugin,
    target: &Target<'_>,
) -> Result<Vec<String>, ServiceError> {
    let (rows, accepted) = {
        let mut reader = service.store.reader().await?;
        let rows = store::grants::list_open(&mut reader, Some(plugin.id)).await?;
        (rows, store::grants::list_accepted(&mut reader, plugin.id).await?)
    };
    let grants = target.standing(&rows, service.now()).grants();
    let mut risks = risks_of(service, target.version, target.manifest, &grants).await?;
    risks.retain(|risk| !target.has_accepted(&accepted, *risk));
    let mut found: Vec<String> = risks.iter().map(|risk| format!("risk {risk}")).collect();
    // Its sender would decide what new bytes do to plugins that are out of the sender's reach.
    found.extend(caller.require_reach(&grants).is_err().then(|| "reach beyond the token of the sender".to_owned()));
    Ok(found)
}

/// Risks that somebody has to accept.
pub(crate) fn risk_problem(code: Code, name: &PluginName, risks: &[Risk]) -> PluginProblem {
    let words: Vec<&str> = risks.iter().map(|risk| risk.as_str()).collect();
    let flags: Vec<String> = words.iter().map(|word| format!("--accept-risk {word}")).collect();
    let detail = format!("`{name}` is a risk that has to be accepted by name: {}", words.join(", "));
    PluginProblem::new(code, detail).with_how(format!("plugbay approve {name} {}", flags.join(" ")))
}
