//! Plugins that others require: not stopped or removed under them, unless these are to stop as well.

use plugbay_domain::{Code, Demand, Offers, Plugin, PluginName};
use plugbay_fleet::PluginProblem;
use plugbay_registry::{Caller, Roster};
use plugbay_store::WriteTransaction;

use crate::{Service, ServiceError, requires};

/// What becomes of enabled plugins that require one that is to be disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// They keep it from being disabled.
    Refuse,
    /// They are disabled before it.
    Cascade,
}

/// Refuses to take a plugin away from enabled ones that require it, in the transaction that would do so.
pub(crate) async fn check_unneeded_in(
    service: &Service,
    tx: &mut WriteTransaction,
    caller: &Caller,
    name: &PluginName,
) -> Result<(), ServiceError> {
    refuse_needed(&requires::roster_in(service, tx).await?, caller, name)
}

/// The same before anything is touched.
pub(crate) async fn check_unneeded(service: &Service, caller: &Caller, name: &PluginName) -> Result<(), ServiceError> {
    refuse_needed(&requires::roster(service).await?, caller, name)
}

/// Every enabled plugin that requires this one, be it by way of others, each before what it requires.
pub(crate) async fn list_dependents(
    service: &Service,
    caller: &Caller,
    name: &PluginName,
) -> Result<Vec<Plugin>, ServiceError> {
    let roster = requires::roster(service).await?;
    let enabled: Offers = roster
        .plugins
        .keys()
        .filter(|other| *other == name || roster.is_enabled(other))
        .filter_map(|other| Some((other.clone(), roster.offers.find(other)?.clone())))
        .collect();
    let dependents = enabled.dependents_first(name);
    if dependents.iter().any(|dependent| !caller.may_see(dependent)) {
        return Err(unseen_problem(name).into());
    }
    Ok(dependents.iter().filter_map(|dependent| roster.find(dependent).cloned()).collect())
}

fn refuse_needed(roster: &Roster, caller: &Caller, name: &PluginName) -> Result<(), ServiceError> {
    if !roster.is_enabled(name) {
        return Ok(());
    }
    let (seen, unseen): (Vec<Demand>, Vec<Demand>) =
        roster.enabled_demands_on(name).partition(|demand| caller.may_see(&demand.by));
    let by: Vec<String> = seen.iter().map(|demand| format!("`{}`", demand.by)).collect();
    match (by.as_slice(), unseen.is_empty()) {
        ([], true) => Ok(()),
        (_, false) => Err(unseen_problem(name).into()),
        (by, true) => {
            let plugins = if by.len() == 1 { "plugin" } else { "plugins" };
            let detail = format!("`{name}` is required by the enabled {plugins} {}", by.join(" and "));
            let how = format!("disable what requires it first: plugbay disable {name} --cascade");
            Err(PluginProblem::new(Code::DependentsRunning, detail).with_how(how).into())
        }
    }
}

/// Of plugins that the token is not for, no names are told.
fn unseen_problem(name: &PluginName) -> PluginProblem {
    let detail = format!("`{name}` is required by an enabled plugin that the token is not for");
    PluginProblem::new(Code::DependentsRunning, detail)
        .with_how("use a token whose `plugins` cover every plugin that requires this one")
}
