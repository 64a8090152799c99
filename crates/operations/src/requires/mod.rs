//! Plugins that require other plugins: what is told of it, and what must not happen to those that others require.
//!
//! An enabled plugin has everything it requires installed, in a version that it accepts, and enabled. Whoever changes one
//! end of an edge looks at the other one in the transaction of the change, so that two changes at once cannot break that.

pub(crate) mod dependents;
pub(crate) mod fits;

use std::collections::BTreeMap;

use plugbay_domain::{Code, Manifest, Offer, Offers, PluginName, Unresolved};
use plugbay_fleet::PluginProblem;
use plugbay_registry::{Caller, Roster};
use plugbay_store::WriteTransaction;
use semver::{Version, VersionReq};

use crate::{Service, ServiceError};

/// One entry of `requires`, and what is there for it.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// The plugin that is required.
    pub name: PluginName,
    /// Versions that are accepted.
    pub range: VersionReq,
    /// The version that serves; also absent where the caller may not know.
    pub installed: Option<Version>,
    /// Whether it is accepted; absent where the caller may not know.
    pub satisfied: Option<bool>,
}

pub(crate) async fn roster(service: &Service) -> Result<Roster, ServiceError> {
    Ok(Roster::of(service.registry.snapshot().await?)?)
}

pub(crate) async fn roster_in(service: &Service, tx: &mut WriteTransaction) -> Result<Roster, ServiceError> {
    Ok(Roster::of(service.registry.snapshot_in(tx).await?)?)
}

/// Refuses a manifest that would close a circle. Says what it requires and is not there yet.
pub(crate) async fn requirement_warnings(
    service: &Service,
    caller: &Caller,
    manifest: &Manifest,
) -> Result<Vec<String>, ServiceError> {
    if manifest.requires.is_empty() {
        return Ok(Vec::new());
    }
    let mut roster = roster(service).await?;
    roster.offers.put(manifest.name.clone(), Offer::from(manifest));
    refuse_circle(caller, &roster.offers, &manifest.name)?;
    Ok(requirements(&roster, caller, &manifest.requires).into_iter().filter_map(warning).collect())
}

/// Refuses a version with which a plugin that is enabled would not fit to the enabled plugins around it: to those that
/// require it, and to those that it requires. What it requires in addition is looked at when it starts to serve.
pub(crate) async fn check_dependents(
    service: &Service,
    caller: &Caller,
    name: &PluginName,
    version: &Version,
    requires: &BTreeMap<PluginName, VersionReq>,
) -> Result<(), ServiceError> {
    let mut roster = roster(service).await?;
    let mut kept = requires.clone();
    kept.retain(|required, _| roster.offers.find(name).is_some_and(|before| before.requires.contains_key(required)));
    let candidate = Offer { version: version.clone(), requires: requires.clone() };
    roster.offers.put(name.clone(), candidate);
    refuse_circle(caller, &roster.offers, name)?;
    if roster.is_enabled(name) {
        fits::check_accepted(&roster, caller, name)?;
        fits::check_required(&roster, caller, name, version, &kept)?;
    }
    Ok(())
}

/// The same in the transaction in which a version that waited starts to serve, for everything it requires.
pub(crate) async fn check_dependents_in(
    service: &Service,
    tx: &mut WriteTransaction,
    caller: &Caller,
    manifest: &Manifest,
) -> Result<(), ServiceError> {
    let mut roster = roster_in(service, tx).await?;
    let Manifest { name, version, requires, .. } = manifest;
    roster.offers.put(name.clone(), Offer::from(manifest));
    refuse_circle(caller, &roster.offers, name)?;
    if roster.is_enabled(name) {
        fits::check_accepted(&roster, caller, name)?;
        fits::check_required(&roster, caller, name, version, requires)?;
    }
    Ok(())
}

/// Refuses to enable a plugin while something it requires is not enabled, in the transaction that enables it.
pub(crate) async fn check_required_in(
    service: &Service,
    tx: &mut WriteTransaction,
    caller: &Caller,
    manifest: &Manifest,
) -> Result<(), ServiceError> {
    let Manifest { name, version, requires, .. } = manifest;
    if requires.is_empty() {
        return Ok(());
    }
    fits::check_required(&roster_in(service, tx).await?, caller, name, version, requires)
}

/// What a plugin requires, and who requires it; of the latter those that the caller may see.
pub(crate) async fn edges_of(
    service: &Service,
    caller: &Caller,
    manifest: &Manifest,
) -> Result<(Vec<Requirement>, Vec<PluginName>), ServiceError> {
    let roster = roster(service).await?;
    let by = roster.offers.demands_on(&manifest.name).into_iter().map(|demand| demand.by);
    Ok((requirements(&roster, caller, &manifest.requires), by.filter(|name| caller.may_see(name)).collect()))
}

fn requirements(roster: &Roster, caller: &Caller, requires: &BTreeMap<PluginName, VersionReq>) -> Vec<Requirement> {
    let look = |(name, range): (&PluginName, &VersionReq)| {
        let (name, range) = (name.clone(), range.clone());
        if !caller.may_see(&name) {
            return Requirement { name, range, installed: None, satisfied: None };
        }
        let installed = roster.offers.find(&name).map(|offer| offer.version.clone());
        let satisfied = Some(installed.as_ref().is_some_and(|version| range.matches(version)));
        Requirement { name, range, installed, satisfied }
    };
    requires.iter().map(look).collect()
}

/// Plugins that require each other could only start all at once, or never.
fn refuse_circle(caller: &Caller, offers: &Offers, name: &PluginName) -> Result<(), ServiceError> {
    let Some(circle) = offers.find_cycle(name) else { return Ok(()) };
    if circle.iter().all(|name| caller.may_see(name)) {
        return Err(Unresolved::Cycle(circle).into());
    }
    let detail =
        format!("`{name}` requires plugins that require each other in a circle; the token is not for all of them");
    Err(PluginProblem::new(Code::RequiresCycle, detail).into())
}

/// What to say about a requirement at the install, which it does not hinder.
fn warning(requirement: Requirement) -> Option<String> {
    let Requirement { name, range, installed, satisfied } = requirement;
    match (satisfied, installed) {
        (Some(true), _) => None,
        (None, _) => {
            Some(format!("`{name}` ({range}) is required; the token is not for it, so nothing is told about it"))
        }
        (Some(false), Some(version)) => {
            Some(format!("`{name}` ({range}) is required to enable it, and `{name}` {version} is installed"))
        }
        (Some(false), None) => Some(format!("`{name}` ({range}) is required to enable it, and is not installed")),
    }
}
