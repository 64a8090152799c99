//! Whether the ends of an edge fit each other.

use std::collections::BTreeMap;

use plugbay_domain::{Code, Demand, Gap, Offer, PluginName, Unresolved};
use plugbay_fleet::PluginProblem;
use plugbay_registry::{Caller, Roster};
use semver::{Version, VersionReq};

use crate::ServiceError;

/// Refuses the version that stands for `name` if an enabled plugin does not accept it.
pub(crate) fn check_accepted(roster: &Roster, caller: &Caller, name: &PluginName) -> Result<(), ServiceError> {
    let Some(Offer { version, .. }) = roster.offers.find(name) else { return Ok(()) };
    let refusing: Vec<Demand> =
        roster.enabled_demands_on(name).filter(|demand| !demand.range.matches(version)).collect();
    if refusing.is_empty() {
        return Ok(());
    }
    let (seen, unseen): (Vec<_>, Vec<_>) = refusing.into_iter().partition(|demand| caller.may_see(&demand.by));
    let mut wants: Vec<String> = seen.iter().map(|demand| format!("what the enabled plugin {demand}")).collect();
    if !unseen.is_empty() {
        wants.push("what an enabled plugin requires that the token is not for".to_owned());
    }
    let detail = format!("`{name}` {version} does not fit {}", wants.join(" and "));
    let how = if seen.is_empty() {
        "use a token whose `plugins` cover every plugin that requires this one".to_owned()
    } else {
        let by: Vec<&str> = seen.iter().map(|demand| demand.by.as_str()).collect();
        format!(
            "first update {} to accept {version}, or: plugbay disable {}",
            by.join(" and "),
            by.join(", plugbay disable ")
        )
    };
    Err(PluginProblem::new(Code::RequiresConflict, detail).with_how(how).into())
}

/// Refuses a version of `name` that is to run, unless everything that it requires is there and enabled.
pub(crate) fn check_required(
    roster: &Roster,
    caller: &Caller,
    name: &PluginName,
    version: &Version,
    requires: &BTreeMap<PluginName, VersionReq>,
) -> Result<(), ServiceError> {
    for (required, range) in requires {
        let found = roster.offers.find(required).map(|offer| &offer.version);
        let fits = found.is_some_and(|found| range.matches(found));
        if fits && roster.is_enabled(required) {
            continue;
        }
        // Nothing is told of it but what the manifest says.
        caller.require_plugin(required)?;
        let demand = Demand { by: name.clone(), way: Vec::new(), version: version.clone(), range: range.clone() };
        let gap = match found {
            None => Gap::Missing { name: required.clone(), demands: vec![demand] },
            Some(found) if !fits => {
                let (version, refusing) = (found.clone(), vec![demand]);
                Gap::Unfit { name: required.clone(), version, refusing, accepting: Vec::new() }
            }
            Some(_) => {
                let detail = format!("`{required}` is required by `{name}` ({range}) and is not enabled");
                let problem = PluginProblem::new(Code::RequiresMissing, detail);
                return Err(problem.with_how(format!("plugbay enable {required}")).into());
            }
        };
        return Err(Unresolved::Gaps(vec![gap]).into());
    }
    Ok(())
}
