//! What is installed, read at one time, and whether the ends of an edge fit each other.

use std::collections::BTreeMap;

use semver::{Version, VersionReq};

use crate::domain::{Code, Demand, Gap, Offer, Offers, Plugin, PluginName, Unresolved};
use crate::registry::Installed;
use crate::service::{Caller, PluginProblem, ServiceError};

/// Every plugin, and the version of each that serves.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) plugins: BTreeMap<PluginName, Plugin>,
    pub(super) offers: Offers,
}

impl Roster {
    pub(super) fn of(installed: Installed) -> Result<Self, ServiceError> {
        let mut roster = Self::default();
        for installed in installed.plugins {
            let (manifest, plugin) = (installed.manifest()?, installed.plugin);
            roster.offers.put(plugin.name.clone(), Offer::from(&*manifest));
            roster.plugins.insert(plugin.name.clone(), plugin);
        }
        Ok(roster)
    }

    /// Enabled plugins that require `name`.
    pub(super) fn enabled_demands_on(&self, name: &PluginName) -> impl Iterator<Item = Demand> {
        self.offers.demands_on(name).into_iter().filter(|demand| self.is_enabled(&demand.by))
    }

    /// Refuses the version that stands for `name` if an enabled plugin does not accept it.
    pub(super) fn check_accepted(&self, caller: &Caller, name: &PluginName) -> Result<(), ServiceError> {
        let Some(Offer { version, .. }) = self.offers.find(name) else { return Ok(()) };
        let refusing: Vec<Demand> =
            self.enabled_demands_on(name).filter(|demand| !demand.range.matches(version)).collect();
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
    pub(super) fn check_required(
        &self,
        caller: &Caller,
        name: &PluginName,
        version: &Version,
        requires: &BTreeMap<PluginName, VersionReq>,
    ) -> Result<(), ServiceError> {
        for (required, range) in requires {
            let found = self.offers.find(required).map(|offer| &offer.version);
            let fits = found.is_some_and(|found| range.matches(found));
            if fits && self.is_enabled(required) {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PluginId, Timestamp};

    fn record(name: &str) -> Plugin {
        let at = Timestamp::from_millis(0).unwrap();
        let mut plugin = Plugin::new(name.parse().unwrap(), Version::new(1, 0, 0), at);
        plugin.enable(at);
        plugin
    }

    #[test]
    fn plugins_start_as_they_come_but_after_what_they_require() {
        let mut roster = Roster::default();
        let mut add = |name: &str, requires: &[&str]| {
            let record = record(name);
            let requires = requires.iter().map(|name| (name.parse().unwrap(), VersionReq::STAR)).collect();
            roster.offers.put(record.name.clone(), Offer { version: Version::new(1, 0, 0), requires });
            let id = record.id;
            roster.plugins.insert(record.name.clone(), record);
            id
        };
        let (a, b, c, other) = (add("a", &["b"]), add("b", &["c"]), add("c", &[]), add("other", &["gone"]));
        // What was called last comes first; what nobody knows is left out.
        let order = roster.required_first(&[other, a, PluginId::generate(), c, b]);
        assert_eq!(order, [other, c, b, a]);
        // What is not to be started is not, though it leads from one to another.
        assert_eq!(roster.required_first(&[a, c]), [c, a]);
    }
}
